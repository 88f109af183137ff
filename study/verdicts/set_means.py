"""Results on one or several data sets -> how far levels lie apart, averaged over these sets.

Levels are optimizers, or values of a setting. On each set a pair is judged as in `bounds`; the mean
over M sets has the error sqrt(sum of the sets' squares) / M, with degrees of freedom after Welch
and Satterthwaite. Of one set all of it is what `bounds` says.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.common.aliases import Numbers
from study.records.study_meta import Look
from study.verdicts.bounds import Bounds, bounds_of, enough
from study.verdicts.looks import FEWEST_REPEATS


class SetResults(NamedTuple):
    """What L levels reached on one data set, all of them on the same splits."""

    table: Numbers  # (L, R) of each repeat; NaN where there is no result
    step: float  # deviation of rounding a result to whole images
    ratio: float  # validation / training rows; NaN: all repeats share one split


def mean_of_known(table: Numbers) -> Numbers:
    """Means over the last axis of what is finite; NaN where nothing is."""
    known = np.isfinite(table)
    counts = known.sum(axis=-1)
    sums = np.where(known, table, 0.0).sum(axis=-1)
    means: Numbers = np.where(counts > 0, sums / np.maximum(counts, 1), math.nan)
    return means


def set_means(table: Numbers) -> Numbers:
    """(L,) means of a (L, R) table, as if all had the repeats of the one with the most results.

    Repeats differ in difficulty, and a race leaves some optimizers with fewer of them.
    """
    reference = table[np.isfinite(table).sum(axis=1).argmax()]
    means: Numbers = mean_of_known(reference) + mean_of_known(table - reference)
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


def _known(bounds: Bounds) -> Numbers:
    """(L, L) differences; NaN without a shared repeat."""
    known: Numbers = np.where(bounds.repeats > 0, bounds.difference, math.nan)
    return known


def _enough_shared(bounds: Bounds, repeats: int) -> np.ndarray:
    """(L, L): pairs of which something may be claimed; those with too few results are not.

    As in a study: five repeats, of which one may have been lost to runs that diverged.
    """
    least = enough(Look(FEWEST_REPEATS, 0.0))
    known: np.ndarray = (bounds.repeats >= least) & (repeats >= FEWEST_REPEATS)
    return known
