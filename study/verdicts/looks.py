"""The planned looks (interim analyses) of a study, and what share of the error rate each may spend.

Every further look is a further chance of a false claim. Therefore the looks are fixed when a study
begins, are kept in `study.json` and share `ALPHA`; a study that is read between two looks shows the
verdicts of the last one. This is the union bound behind repeated confidence intervals (Jennison and
Turnbull 1989), which hold however a study is stopped. A study of a fixed number of repeats has one
look, and another each time it is continued: the k-th spends ALPHA / 2^k, so that all of them
together never spend more than ALPHA.
"""

import math
from collections.abc import Sequence

from study.common.errors import UserError
from study.records.study_meta import Look

ALPHA = 0.05
FIRST_ALPHA = ALPHA / 2  # for the first look of a study with a fixed number of repeats
AUTO = "auto"
DEFAULT_MARGIN = 2.0  # percentage points
MARGIN_RULE = "points of the metric, above 0 to 100"
FEWEST_REPEATS = 5  # fewest repeats for a claim: at 3 repeats 6.8 % of claims were false
FIRST_LOOKS = (5, 8, 12, 18, 27, 40, 60)  # repeats; each later look is at 1.5 times as many


def margin_points(text: str) -> float:
    """Return the margin that a user typed.

    Raises:
        ValueError: the text does not follow `MARGIN_RULE`.
    """
    value = float(text)
    if not 0 < value <= 100:
        raise ValueError(text)
    return value


def planned_looks(repeats: int | str, most: int) -> tuple[Look, ...]:
    """Return the looks of a new study; the last one of an "auto" study is at `most` repeats."""
    if isinstance(repeats, int):
        return (Look(repeats, FIRST_ALPHA),)
    numbers = _numbers(0, most)
    return tuple(Look(number, ALPHA / len(numbers)) for number in numbers)


def continued_looks(
    old: Sequence[Look], repeats: int | str, most: int, *, fixed: bool, again: bool = False
) -> tuple[Look, ...]:
    """Return the looks of a study that is continued with other `repeats` and `most`.

    Args:
        old: its looks so far; at least one.
        repeats: a number, or "auto".
        most: the last look of an "auto" study.
        fixed: whether it had a fixed number of repeats so far.
        again: whether its repeats get more confirmation runs or trials, which takes another look.

    Raises:
        UserError: the looks of an "auto" study would change, or repeats would be removed.
    """
    done = old[-1].repeats
    if not fixed:
        if again or repeats != AUTO or most != done:
            raise UserError(
                "the planned looks (interim analyses) of this study were fixed at "
                f"{', '.join(str(look.repeats) for look in old)} repeats when it began, and others "
                "would break its error rate; continue with `repeats` auto and the same "
                "`most_repeats` and `confirm`, or choose a new `name`"
            )
        return tuple(old)
    if isinstance(repeats, int) and repeats < done:
        raise UserError(
            f"`repeats` {done} -> {repeats}: repeats cannot be removed; "
            "choose a new `name`, or start again with `overwrite`"
        )
    if repeats == AUTO and most < done:
        raise UserError(
            f"`most_repeats` {most}: this study has {done} repeats already; allow {done} or more"
        )
    old = [look for look in old if look.repeats >= FEWEST_REPEATS]
    if not old:  # nothing was claimed, so nothing is spent
        return planned_looks(repeats, most)
    if isinstance(repeats, int):
        more = [repeats] if repeats > done or again else []
    else:
        more = [done] * again + _numbers(done, most)
    return (*old, *(Look(n, ALPHA / 2**k) for k, n in enumerate(more, start=len(old) + 1)))


def looks_of_longer_searches(old: Sequence[Look], looked: int) -> tuple[Look, ...]:
    """Return the looks of an "auto" study whose searches get more trials: a new procedure.

    They are at the same repeats and share what the `looked` first ones have not spent.

    Raises:
        UserError: nothing is left to spend.
    """
    left = sum(look.alpha for look in old[looked:])
    if not left:
        raise UserError(
            "`trials`: this study has used all its looks, so longer searches could not be judged; "
            "choose a new `name`"
        )
    return tuple(Look(look.repeats, left / len(old)) for look in old)


def _numbers(above: int, most: int) -> list[int]:
    """Return the repeats of the looks after `above`, with `most` as the last one."""
    numbers = list(FIRST_LOOKS)
    while numbers[-1] < most:
        numbers.append(math.floor(numbers[-1] * 1.5))
    return sorted({n for n in (*numbers, most) if above < n <= most})
