"""Who runs on: the leader and those that may still be ahead of it by more than the margin.

An optimizer of the user's runs on, with those that may be ahead of it, until its own verdict is
known, too.

Excluded optimizers and those that cannot be ahead by more than the margin cost nothing more; one
that waits returns when a new leader makes it a contender, first up to the leader's repeats. The
race is a function of results at looks, so a study that was killed runs it again from its records
and stands where it stood.
"""

from collections.abc import Iterable, Mapping, Sequence

from study.records.study_meta import Look
from study.verdicts.answer import Answer


def first_round(optimizers: Iterable[str], looks: Sequence[Look], *, race: bool) -> dict[str, int]:
    """How many repeats everybody has at first: up to the first look, without a race to the last."""
    return dict.fromkeys(optimizers, looks[0 if race else -1].repeats)


def next_round(
    answer: Answer, ran: Mapping[str, int], looks: Sequence[Look]
) -> dict[str, int] | None:
    """How many repeats each optimizer has after the next round; None: the study has ended.

    Args:
        answer: after the last round.
        ran: repeats of each optimizer until now.
        looks: of the study.
    """
    racing = answer.racing
    if not racing:
        return None
    now = max(ran[name] for name in racing)
    behind = [name for name in racing if ran[name] < now]
    if behind:
        return {**ran, **dict.fromkeys(behind, now)}
    further = [look.repeats for look in looks if look.repeats > now]
    return {**ran, **dict.fromkeys(racing, further[0])} if further else None
