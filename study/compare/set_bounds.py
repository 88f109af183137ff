"""Results on one or several data sets -> how far levels lie apart, averaged over these sets.

Levels are optimizers, or values of a setting. On each set a pair is judged as in `bounds`; the mean
over M sets has the error sqrt(sum of the sets' squares) / M, with degrees of freedom after Welch
and Satterthwaite. Of one set all of it is what `bounds` says.

Levels of one choice on one or more data sets -> how many points the choice moves, with bounds.

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

Results on several data sets -> which optimizer is best on these sets, and in general.

What is asked is how many points an optimizer loses, averaged over data sets, against whichever is
best on average. The answer is Hsu's, as in one study (`judge`): "at most U behind the best". An
optimizer is excluded if another one is ahead by a bound that holds for all ordered pairs at once.

*On these data sets*: the mean of the sets' differences, its error from the repeats of each set
(`set_means`).

*In general*: on data sets of which these are a sample. Then the data set is what is independent,
and each gives one difference a pair, so a pair is judged by Student's t on M differences and their
own standard deviation, with M - 1 degrees of freedom. Sets differ: on an easy one everything ends
near 100 %, on a small one luck is large. For that the t statistic of estimates with unequal
variances stays conservative at these error rates (Ibragimov and Mueller 2010, after Bakirov and
Szekely 2005), which a variance pooled over optimizers or sets would not.

Why not mean ranks with Friedman's test and Nemenyi's critical difference (Demsar 2006)? The
distance of two mean ranks depends on which other optimizers are in the table (Benavoli, Corani and
Mangili 2016), ranks take an optimizer that is 0.1 points ahead for one that is 10 ahead, and for
few sets the critical difference is not kept: two equal optimizers are separated in 6 % at five sets
and 7 % at eight, and in 22 % by whoever adds sets and looks again; signed ranks cannot reach 5 % at
all with five sets. Mean ranks are shown, not judged.

Whoever adds data sets looks again. M sets may spend 7 ALPHA / (M (M - 1)), 0.0175 at the first
five; nothing is claimed in general below five. Reading the report at every number from 5 to 30, any
of equal optimizers is excluded in at most 4.2 % of simulated collections: measured, not proven
(`tests/benchmarks/calibration.py`). No method can guard a mean against rare data sets of another
sort that none of these shows: that stays the reader's judgement, and the sentences say "of this
sort".

Hsu, Annals of Statistics 12 (1984). Ibragimov and Mueller, Journal of Business & Economic
Statistics 28 (2010). Bakirov and Szekely, Zapiski POMI 328 (2005), in English Journal of
Mathematical Sciences 139 (2006). Demsar, JMLR 7 (2006). Benavoli, Corani and Mangili, JMLR 17
(2016).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from study.records.study_meta import Look
from study.verdicts.bounds import Bounds, bounds_of, enough
from study.verdicts.looks import ALPHA, FEWEST_REPEATS

FEWEST_SETS = 5
MOST_SETS = 200  # beyond this "more data sets" is no advice
BEST_GUESS = 3  # sets from which the spread over sets is worth a forecast


class SetResults(NamedTuple):
    """What L levels reached on one data set, all of them on the same splits."""

    table: Float[np.ndarray, "L R"]  # of each repeat; NaN where there is no result
    step: float  # deviation of rounding a result to whole images
    ratio: float  # validation / training rows; NaN: all repeats share one split


def mean_of_known(table: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Means over the last axis of what is finite; NaN where nothing is."""
    known = np.isfinite(table)
    counts = known.sum(axis=-1)
    sums = np.where(known, table, 0.0).sum(axis=-1)
    means: np.ndarray = np.where(counts > 0, sums / np.maximum(counts, 1), math.nan)
    return means


def set_means(table: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """(L,) means of a (L, R) table, as if all had the repeats of the one with the most results.

    Repeats differ in difficulty, and a race leaves some optimizers with fewer of them.
    """
    reference = table[np.isfinite(table).sum(axis=1).argmax()]
    means: np.ndarray = mean_of_known(reference) + mean_of_known(table - reference)
    return means


def on_these_sets(sets: Sequence[SetResults], alpha: float, *, new: bool = False) -> Bounds:
    """How far column is behind row on average over these sets, (L, L).

    The error is NaN where too few repeats of some set allow no claim.

    Args:
        sets: one or more, of the same levels.
        alpha: the error rate.
        new: the error is that on new images of the same kind.
    """
    found = [bounds_of(one.table, alpha, step=one.step) for one in sets]
    errors = np.stack(
        [
            np.where(
                _enough_shared(bounds, one.table.shape[1]),
                bounds.new_error(one.ratio) if new else bounds.error,
                math.nan,
            )
            for one, bounds in zip(sets, found, strict=True)
        ]
    )  # (M, L, L)
    freedoms = np.stack([one.freedom for one in found])
    squares = errors**2
    return Bounds(
        difference=np.mean([_known(one) for one in found], axis=0),
        variance=squares.mean(axis=0),
        error=np.sqrt(squares.sum(axis=0)) / len(sets),
        freedom=squares.sum(axis=0) ** 2 / (squares**2 / freedoms).sum(axis=0),
        alpha=np.full(errors.shape[1:], alpha),
        repeats=np.min([one.repeats for one in found], axis=0),
    )


def _known(bounds: Bounds) -> Float[np.ndarray, "..."]:
    """(L, L) differences; NaN without a shared repeat."""
    known: np.ndarray = np.where(bounds.repeats > 0, bounds.difference, math.nan)
    return known


def _enough_shared(bounds: Bounds, repeats: int) -> np.ndarray:
    """(L, L): pairs of which something may be claimed; those with too few results are not.

    As in a study: five repeats, of which one may have been lost to runs that diverged.
    """
    least = enough(Look(FEWEST_REPEATS, 0.0))
    known: np.ndarray = (bounds.repeats >= least) & (repeats >= FEWEST_REPEATS)
    return known


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
    one: np.ndarray = stdtrit(bounds.freedom, 1 - alpha / 2)
    others: np.ndarray = stdtrit(bounds.freedom, 1 - alpha / 2 / (count * (count - 1) - 1))
    low = float((bounds.difference - others * bounds.error)[pairs].max())
    return max(low, 0.0), float((bounds.difference + one * bounds.error)[pairs].max())


def alpha_of(sets: int) -> float:
    """The error rate that so many data sets may spend."""
    return 7 * ALPHA / (sets * (sets - 1))


def in_general(sets: Sequence[SetResults]) -> Bounds:
    """How far column is behind row on average over data sets of this sort, (K, K).

    `repeats` counts data sets; with fewer than `FEWEST_SETS` it is no claim, only a forecast.
    """
    values = np.stack([set_means(one.table) for one in sets], axis=1)  # (K, M)
    step = math.sqrt(float(np.mean([one.step**2 / one.table.shape[1] for one in sets])))
    return bounds_of(values, alpha_of(len(sets)), step=step, borrowed=0)


def _differences(sets: Sequence[SetResults]) -> Float[np.ndarray, "..."]:
    """(M, K, K): how far column is behind row on each set."""
    means = np.stack([set_means(one.table) for one in sets])  # (M, K)
    differences: np.ndarray = means[:, :, None] - means[:, None, :]
    return differences


def mean_ranks(sets: Sequence[SetResults]) -> Float[np.ndarray, "..."]:
    """(K,) mean rank over data sets, 1 for the best; of equals the middle."""
    behind = _differences(sets)  # (M, K, K)
    ahead = (behind > 0).sum(axis=1) + (behind == 0).sum(axis=1) / 2  # itself counts a half
    ranks: np.ndarray = (ahead + 0.5).mean(axis=0)
    return ranks


def sets_needed(general: Bounds, leader: int, rivals: np.ndarray, margin: float) -> int | None:
    """Data sets at which the leader's bound in general comes to the margin.

    If its lead and the spread over sets stay as they are, which of few sets is a rough guess.

    Args:
        general: of `in_general`.
        leader: its place.
        rivals: (K,) who may be ahead of it.
        margin: a fraction.

    Returns:
        None beyond `MOST_SETS`, and where fewer than `BEST_GUESS` sets say nothing of the spread.
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
