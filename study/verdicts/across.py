"""Results on several data sets -> which optimizer is best on these sets, and in general.

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

import numpy as np
from scipy.special import stdtrit

from study.common.aliases import Numbers
from study.verdicts.bounds import Bounds, bounds_of
from study.verdicts.looks import ALPHA
from study.verdicts.set_means import SetResults, set_means

FEWEST_SETS = 5
MOST_SETS = 200  # beyond this "more data sets" is no advice
BEST_GUESS = 3  # sets from which the spread over sets is worth a forecast


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


def _differences(sets: Sequence[SetResults]) -> Numbers:
    """(M, K, K): how far column is behind row on each set."""
    means = np.stack([set_means(one.table) for one in sets])  # (M, K)
    differences: Numbers = means[:, :, None] - means[:, None, :]
    return differences


def mean_ranks(sets: Sequence[SetResults]) -> Numbers:
    """(K,) mean rank over data sets, 1 for the best; of equals the middle."""
    behind = _differences(sets)  # (M, K, K)
    ahead = (behind > 0).sum(axis=1) + (behind == 0).sum(axis=1) / 2  # itself counts a half
    ranks: Numbers = (ahead + 0.5).mean(axis=0)
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
