"""What luck does to one result of one repeat, when the repeat's own effect is taken out.

K optimizers see the same splits and seeds in each of R repeats, and repeats are independent given
the images: a block design. What an additive fit of optimizer and repeat leaves over is luck.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from study.common.aliases import Numbers


class Spread(NamedTuple):
    """What luck does to one result of one repeat, the repeat's own effect taken out."""

    deviation: float  # pooled over the optimizers; NaN where nothing can be pooled
    freedom: float  # effective degrees of freedom


def pooled_spread(table: ArrayLike, *, least: float = 0.0) -> Spread:
    """Residual deviation of (K, R) results, rows optimizers, columns repeats, NaN where missing.

    `least` is its lower limit: accuracies are counted in whole images, so a spread of exactly 0
    means "smaller than a step", not "none".
    """
    values = np.asarray(table, float)
    residuals, freedom = _residuals(values)
    if freedom < 1:
        return Spread(math.nan, 0.0)
    mean_square = float(np.nansum(residuals**2)) / freedom
    return Spread(max(math.sqrt(mean_square), least), freedom * _evenness(residuals))


def _residuals(values: Numbers) -> tuple[Numbers, int]:
    """Of the additive fit optimizer + repeat, and its degrees of freedom."""
    rows, columns = np.nonzero(np.isfinite(values))
    design = np.zeros((len(rows), sum(values.shape)))  # (cells, K + R)
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), len(values) + columns] = 1
    known = values[rows, columns]
    fit, _, rank, _ = np.linalg.lstsq(design, known, rcond=None)
    residuals = np.full(values.shape, np.nan)
    residuals[rows, columns] = known - design @ fit
    return residuals, len(known) - int(rank)


def _evenness(residuals: Numbers) -> float:
    """Box's factor for the degrees of freedom, 1/K to 1: 1 if all optimizers vary alike."""
    count = len(residuals)
    if count < 3:
        return 1.0
    own = np.nansum(residuals**2, axis=1)
    total = own.sum() / (1 - 1 / count)  # a residual holds a K-th of every other row's variance
    variances = np.maximum((own - total / count**2) / (1 - 2 / count), 0)
    squares = float((variances**2).sum())
    return float(variances.sum()) ** 2 / squares / count if squares else 1.0
