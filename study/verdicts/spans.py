"""Levels of one choice on one or more data sets -> how many points the choice moves, with bounds.

A choice is a setting (base, size ...), tuned against untuned, or the optimizer; its levels were
tried on the same splits, so they are paired by repeat. What it moves is the *span* from its worst
to its best level in truth, theta = max_ij delta_ij. As measured it is the largest of many
differences and so too high, the more levels there are; the bounds allow for that:

    low   max_ij (D_ij - c se_ij), or 0;  c: Student's quantile at 1 - (alpha/2) / (L (L-1) - 1)
    high  max_ij (D_ij + c se_ij);        c: Student's quantile at 1 - alpha/2

`high` is too small only if the bound of one pair fails, that of the truly worst and best level, so
one pair's error rate is enough for it. `low` is too high only if one of the other L (L - 1) - 1
ordered pairs fails (union bound). With two levels both are the usual interval of a paired
difference. Differences and errors are those of `bounds`, moderated there from three levels on, and
of `set_means` over several data sets.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from study.common.aliases import Numbers
from study.verdicts.bounds import Bounds, bounds_of
from study.verdicts.set_means import SetResults, on_these_sets


class Span(NamedTuple):
    """From the worst level to the best one. Fractions; bounds NaN where nothing can be claimed."""

    worst: int  # level, as measured
    best: int
    moves: float  # as measured, mean over the sets; NaN without two levels that have a result
    low: float  # on these images
    high: float
    new_low: float  # on new images of the same kind
    new_high: float
    repeats: int  # that worst and best share; the fewest of a set
    by_set: tuple[float, ...]  # from the same worst to the same best on each set
    behind: tuple[float, ...]  # (L,) the best, as measured; NaN for a level without a result


def span_of(sets: Sequence[SetResults], alpha: float) -> Span:
    """The span of L levels, tried on one or more data sets.

    Where something may be claimed of some levels, those with too few results are left out.

    Args:
        sets: results of the same levels.
        alpha: the error rate of both bounds together.
    """
    here, new = on_these_sets(sets, alpha), on_these_sets(sets, alpha, new=True)
    apart = ~np.eye(len(here.difference), dtype=bool) & np.isfinite(here.difference)
    judged = apart & np.isfinite(here.error)
    apart = judged if judged.any() else apart
    if not apart.any():
        nan = math.nan
        return Span(0, 0, nan, nan, nan, nan, nan, 0, (nan,) * len(sets), ())
    measured = np.where(apart, here.difference, -math.inf)
    best, worst = map(int, np.unravel_index(measured.argmax(), measured.shape))
    each = [bounds_of(one.table, alpha, step=one.step).difference for one in sets]
    return Span(
        worst,
        best,
        float(here.difference[best, worst]),
        *_reach(here, alpha),
        *_reach(new, alpha),
        repeats=int(here.repeats[best, worst]),
        by_set=tuple(float(one[best, worst]) for one in each),
        behind=tuple(map(float, here.difference[best])),
    )


def _reach(bounds: Bounds, alpha: float) -> tuple[float, float]:
    """Low and high, over the levels of which something may be claimed."""
    levels = np.isfinite(bounds.error.diagonal())
    pairs = levels[:, None] & levels & ~np.eye(len(levels), dtype=bool)
    if not pairs.any() or np.isnan(bounds.error[pairs]).any():
        return math.nan, math.nan
    count = int(levels.sum())
    one: Numbers = stdtrit(bounds.freedom, 1 - alpha / 2)
    others: Numbers = stdtrit(bounds.freedom, 1 - alpha / 2 / (count * (count - 1) - 1))
    low = float((bounds.difference - others * bounds.error)[pairs].max())
    return max(low, 0.0), float((bounds.difference + one * bounds.error)[pairs].max())
