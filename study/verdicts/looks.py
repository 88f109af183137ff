"""When a study is looked at, and what share of the error rate each look may spend.

Looking again is a further chance to be wrong. So the looks are fixed when a study begins, stand in
`study.json`, and share `ALPHA` among them; whoever reads the study in between sees the verdict of
the last look. That is the union bound behind repeated confidence intervals (Jennison and Turnbull
1989), which hold however a study is stopped.

A study of a fixed number of repeats has one look, and the next one each time it is given more: the
k-th of them spends ALPHA / 2^k, so that all of them together never spend more than ALPHA.
"""

import math
from collections.abc import Sequence

from study.common.errors import UserError
from study.records.study_meta import Look

ALPHA = 0.05
FIRST_ALPHA = ALPHA / 2  # that a study of a fixed number of repeats spends at its first look
AUTO = "auto"
DEFAULT_MARGIN = 2.0  # points
MARGIN_RULE = "points of the metric, above 0 to 100"
FEWEST_REPEATS = 5  # nothing is claimed below: at 3 repeats 6.8 % of claims were false
FIRST_LOOKS = (5, 8, 12, 18, 27, 40, 60)  # then each half as many again


def margin_points(text: str) -> float:
    """A margin as it is typed.

    Raises:
        ValueError: it is not what `MARGIN_RULE` says.
    """
    value = float(text)
    if not 0 < value <= 100:
        raise ValueError(text)
    return value


def planned_looks(repeats: int | str, most: int) -> tuple[Look, ...]:
    """The looks of a study that begins.

    Args:
        repeats: a fixed number of them, or "auto".
        most: the largest number of an "auto" study, its last look; at least `FEWEST_REPEATS`.
    """
    if isinstance(repeats, int):
        return (Look(repeats, FIRST_ALPHA),)
    numbers = _numbers(0, most)
    return tuple(Look(number, ALPHA / len(numbers)) for number in numbers)


def continued_looks(
    old: Sequence[Look], repeats: int | str, most: int, *, fixed: bool, again: bool = False
) -> tuple[Look, ...]:
    """The looks of a study that is continued.

    Args:
        old: that it had; at least one.
        repeats: now asked for.
        most: now asked for.
        fixed: whether it had a fixed number of repeats until now.
        again: whether its repeats get more reruns or trials, which is another look at them.

    Raises:
        UserError: the looks of an "auto" study would change, or repeats be taken away.
    """
    if not fixed:
        if again or repeats != AUTO or most != old[-1].repeats:
            raise UserError(
                f"this study looks at {', '.join(str(look.repeats) for look in old)} repeats, "
                "which was fixed when it began, because looking otherwise would break its error "
                "rate; go on with `repeats` auto and the same `most_repeats` and `confirm`, or "
                "give a new study a `name`"
            )
        return tuple(old)
    done = old[-1].repeats
    if isinstance(repeats, int) and repeats < done:
        raise UserError(
            f"`repeats` {done} -> {repeats}: repeats cannot be taken away; "
            "give the new one a `name`, or start anew with `overwrite`"
        )
    if repeats == AUTO and most < done:
        raise UserError(
            f"`most_repeats` {most}: this study has {done} repeats already; give {done} or more"
        )
    old = [look for look in old if look.repeats >= FEWEST_REPEATS]
    if not old:  # nothing was claimed, so nothing is spent
        return planned_looks(repeats, most)
    if isinstance(repeats, int):
        more = [repeats] if repeats > done or again else []
    else:
        more = [done] * again + _numbers(done, most)
    spent = len(old)
    return (*old, *(Look(n, ALPHA / 2 ** (spent + k)) for k, n in enumerate(more, start=1)))


def looks_of_longer_searches(old: Sequence[Look], looked: int) -> tuple[Look, ...]:
    """The looks of an "auto" study whose searches get more trials, which is another procedure.

    What the looks before have not spent is shared by those after, which are at the same repeats.

    Args:
        old: its looks.
        looked: how many of them were used.

    Raises:
        UserError: nothing is left.
    """
    left = sum(look.alpha for look in old[looked:])
    if not left:
        raise UserError(
            "`trials`: all looks of this study are spent, so longer searches could not be judged; "
            "give the new one a `name`"
        )
    return tuple(Look(look.repeats, left / len(old)) for look in old)


def _numbers(above: int, most: int) -> list[int]:
    """Repeats of the looks between, with `most` as the last one."""
    numbers = list(FIRST_LOOKS)
    while numbers[-1] < most:
        numbers.append(math.floor(numbers[-1] * 1.5))
    return sorted({n for n in numbers if above < n < most} | ({most} if most > above else set()))
