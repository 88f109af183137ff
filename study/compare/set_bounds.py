"""Results on one or several data sets -> how far levels lie apart, with bounds.

Levels are optimizers, or values of a setting. All bounds start from those of `verdicts.bounds` on
each data set.

*On these data sets*: the mean of the sets' differences. Over M sets its error is sqrt(sum of the
sets' squares) / M, with degrees of freedom after Welch and Satterthwaite.

*The span* of a choice is the distance theta = max_ij delta_ij from its worst to its best level. The
largest of many measured differences D_ij is too high, the more so the more levels (L) there are,
and the bounds allow for that:

    low   max_ij (D_ij - c se_ij), or 0;  c: Student's quantile at 1 - (alpha/2) / (L (L-1) - 1)
    high  max_ij (D_ij + c se_ij);        c: Student's quantile at 1 - alpha/2

`high` is too small only if the bound of the truly worst and best level fails, so the error rate of
one pair is enough. `low` is too high only if one of the other L (L - 1) - 1 ordered pairs fails
(union bound). With two levels both are the usual interval of a paired difference.

Studies of one seed draw the same search configurations on all data sets. What tuned winners owe to
them is hardly shared (residuals of optimizers and repeats correlate by 0.03 on average between
ten real sets), but what a schedule, a width or a budget owes to them is (0.75 to 0.85). So such
choices are first averaged over the sets, repeat by repeat (`merged`): then the repeats are what is
independent, and nothing is claimed in general.

*In general*, on data sets of which these are a sample, an optimizer is judged by how many points it
loses, averaged over data sets, against the one that is best on average: "at most U behind the best"
(Hsu 1984, as in one study); it is excluded if another one is ahead by a bound that holds for all
ordered pairs simultaneously. The data sets are what is independent, so a pair is judged by
Student's t on M differences and their own standard deviation, with M - 1 degrees of freedom. Sets
differ in spread: everything ends near 100 % on an easy one, and chance is large on a small one. The
t statistic of estimates with unequal variances stays conservative at these error rates (Ibragimov
and Mueller 2010, after Bakirov and Szekely 2005); a variance pooled over optimizers or sets would
not.

Mean ranks with Friedman's test and Nemenyi's critical difference (Demsar 2006) are not judged:
the distance of two mean ranks depends on the other optimizers in the table (Benavoli,
Corani and Mangili 2016), ranks treat a lead of 0.1 points like one of 10, and the critical
difference fails for few sets: two equal optimizers are separated in 6 % of cases at five sets, in
7 % at eight, and in 22 % if sets are added and tested again. Signed ranks cannot reach 5 % with
five sets.

Adding data sets is a further chance to be wrong, so M sets may spend 7 ALPHA / (M (M - 1)), 0.0175
at the first five; below five nothing is claimed in general. Over all numbers from 5 to 30, at most
4.2 % of simulated collections of equal optimizers exclude any: measured, not proven
(`tests/benchmarks/calibration.py`). No method protects a mean against rare data sets of a sort that
none of these shows; that is why the sentences say "of this sort".

Hsu, Annals of Statistics 12 (1984). Ibragimov and Mueller, Journal of Business & Economic
Statistics 28 (2010). Bakirov and Szekely, Zapiski POMI 328 (2005), in English Journal of
Mathematical Sciences 139 (2006). Demsar, JMLR 7 (2006). Benavoli, Corani and Mangili, JMLR 17
(2016).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from study.records.study_meta import Look
from study.verdicts.bounds import Bounds, bounds_of, enough
from study.verdicts.looks import ALPHA, FEWEST_REPEATS

FEWEST_SETS = 5
MOST_SETS = 200  # a larger number of data sets is no useful advice
BEST_GUESS = 3  # data sets from which on their spread allows a forecast


class SetResults(NamedTuple):
    """Results of L levels on one data set, all on the same splits."""

    table: Float[np.ndarray, "L R"]  # NaN where there is no result
    step: float  # deviation of rounding a result to whole images


def merged(sets: Sequence[SetResults]) -> SetResults:
    """Return the mean over sets of each repeat that all of them have."""
    repeats = min(one.table.shape[1] for one in sets)
    mean = np.mean([one.table[:, :repeats] for one in sets], axis=0)
    return SetResults(mean, max(one.step for one in sets))


def on_these_sets(sets: Sequence[SetResults], alpha: float) -> Bounds:
    """Return how far column is behind row on average over these sets, one or more.

    The error is NaN where too few repeats of some set allow no claim.
    """
    found = [bounds_of(one.table, alpha, step=one.step) for one in sets]
    errors = np.stack(
        [
            np.where(_enough_shared(bounds, one.table.shape[1]), bounds.error, math.nan)
            for one, bounds in zip(sets, found, strict=True)
        ]
    )  # (M, L, L)
    freedoms = np.stack([one.freedom for one in found])
    squares = errors**2
    known = [np.where(one.repeats > 0, one.difference, math.nan) for one in found]
    return Bounds(
        difference=np.mean(known, axis=0),
        variance=squares.mean(axis=0),
        error=np.sqrt(squares.sum(axis=0)) / len(sets),
        freedom=squares.sum(axis=0) ** 2 / (squares**2 / freedoms).sum(axis=0),
        alpha=np.full(errors.shape[1:], alpha),
        repeats=np.min([one.repeats for one in found], axis=0),
    )


def _enough_shared(bounds: Bounds, repeats: int) -> Bool[np.ndarray, "L L"]:
    """Return which pairs have enough results for a claim.

    As in a study: five repeats, of which one may have been lost to runs that diverged.
    """
    least = enough(Look(FEWEST_REPEATS, 0.0))
    known: np.ndarray = (bounds.repeats >= least) & (repeats >= FEWEST_REPEATS)
    return known


class Span(NamedTuple):
    """From the worst level to the best one. Fractions; bounds are NaN where none is known."""

    worst: int  # level, as measured
    best: int
    moves: float  # as measured, mean over the sets; NaN without two levels that have a result
    low: float  # on these images
    high: float
    repeats: int  # that worst and best share; the smallest number of a set
    by_set: tuple[float, ...]  # from the same worst to the same best on each set
    behind: tuple[float, ...]  # of each level, the best, as measured; NaN without a result


def span_of(sets: Sequence[SetResults], alpha: float, *, same_draws: bool = False) -> Span:
    """Return the span of the levels of one choice.

    If some levels have enough results for a claim, those with too few are left out.

    Args:
        sets: results of the same levels on one or more data sets.
        alpha: the error rate of both bounds together.
        same_draws: whether the sets may share the draws that decide a repeat.
    """
    here = on_these_sets([merged(sets)] if same_draws else sets, alpha)
    apart = ~np.eye(len(here.difference), dtype=bool) & np.isfinite(here.difference)
    judged = apart & np.isfinite(here.error)
    apart = judged if judged.any() else apart
    if not apart.any():
        nan = math.nan
        return Span(0, 0, nan, nan, nan, 0, (nan,) * len(sets), ())
    measured = np.where(apart, here.difference, -math.inf)
    best, worst = map(int, np.unravel_index(measured.argmax(), measured.shape))
    each = [bounds_of(one.table, alpha, step=one.step).difference for one in sets]
    return Span(
        worst,
        best,
        float(here.difference[best, worst]),
        *_reach(here, alpha),
        repeats=int(here.repeats[best, worst]),
        by_set=tuple(float(one[best, worst]) for one in each),
        behind=tuple(map(float, here.difference[best])),
    )


def _reach(bounds: Bounds, alpha: float) -> tuple[float, float]:
    """Return low and high over the levels that have enough results for a claim."""
    levels = np.isfinite(bounds.error.diagonal())
    pairs = levels[:, None] & levels & ~np.eye(len(levels), dtype=bool)
    if not pairs.any() or np.isnan(bounds.error[pairs]).any():
        return math.nan, math.nan
    count = int(levels.sum())
    one: np.ndarray = stdtrit(bounds.freedom, 1 - alpha / 2)
    others: np.ndarray = stdtrit(bounds.freedom, 1 - alpha / 2 / (count * (count - 1) - 1))
    low = float((bounds.difference - others * bounds.error)[pairs].max())
    return max(low, 0.0), float((bounds.difference + one * bounds.error)[pairs].max())


def in_general(sets: Sequence[SetResults]) -> Bounds:
    """Return how far column is behind row on average over data sets of this sort.

    `repeats` counts data sets; fewer than `FEWEST_SETS` allow only a forecast, no claim.
    """
    values = np.stack([set_means(one.table) for one in sets], axis=1)  # (K, M)
    step = math.sqrt(float(np.mean([one.step**2 / one.table.shape[1] for one in sets])))
    return bounds_of(values, alpha_of(len(sets)), step=step, borrowed=0)


def alpha_of(sets: int) -> float:
    """Return the error rate that this number of data sets may spend."""
    return 7 * ALPHA / (sets * (sets - 1))


def sets_needed(
    general: Bounds, leader: int, rivals: Bool[np.ndarray, " K"], margin: float
) -> int | None:
    """Return the number of data sets at which the leader's bound would be the margin.

    That assumes the same lead and spread over sets, a rough guess from few sets.

    Args:
        general: bounds from `in_general`.
        leader: index of the leader.
        rivals: optimizers that may be ahead of the leader.
        margin: a fraction.

    Returns:
        None beyond `MOST_SETS` and for fewer than `BEST_GUESS` sets, which show no spread.
    """
    rivals = rivals.copy()
    rivals[leader] = False
    had = int(general.repeats[0, 0])
    if had < BEST_GUESS or not rivals.any():
        return None
    ahead = general.difference[rivals, leader]
    deviation = general.error[rivals, leader] * math.sqrt(had)  # of one set's difference
    for count in range(max(had + 1, FEWEST_SETS), MOST_SETS + 1):
        quantile = stdtrit(count - 1, 1 - alpha_of(count) / (len(rivals) - 1))
        if float((ahead + quantile * deviation / math.sqrt(count)).max()) <= margin:
            return count
    return None


def set_means(table: Float[np.ndarray, "L R"]) -> Float[np.ndarray, " L"]:
    """Return means as if all levels had the repeats of the level with the most results.

    Repeats differ in difficulty, and a race leaves some optimizers with fewer of them.
    """
    reference = table[np.isfinite(table).sum(axis=1).argmax()]
    means: np.ndarray = mean_of_known(reference) + mean_of_known(table - reference)
    return means


def mean_of_known(table: Float[np.ndarray, "*axes R"]) -> Float[np.ndarray, "*axes"]:
    """Return means over the finite values of the last axis; NaN where there is none."""
    known = np.isfinite(table)
    counts = known.sum(axis=-1)
    sums = np.where(known, table, 0.0).sum(axis=-1)
    means: np.ndarray = np.where(counts > 0, sums / np.maximum(counts, 1), math.nan)
    return means
