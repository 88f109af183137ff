"""What luck does to one result of one repeat, when the repeat's own effect is taken out.

K optimizers see the same splits and seeds in each of R repeats, and repeats are independent given
the images: a block design. What an additive fit of optimizer and repeat leaves over is luck.
"""

import math

import numpy as np
from numpy.typing import ArrayLike


def pooled_deviation(table: ArrayLike) -> float:
    """Residual deviation of (K, R) results, pooled over the optimizers; NaN where nothing is left.

    Rows are optimizers, columns repeats, NaN where a result is missing.
    """
    values = np.asarray(table, float)
    rows, columns = np.nonzero(np.isfinite(values))
    design = np.zeros((len(rows), sum(values.shape)))  # (cells, K + R)
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), len(values) + columns] = 1
    known = values[rows, columns]
    fit, _, rank, _ = np.linalg.lstsq(design, known, rcond=None)
    freedom = len(known) - int(rank)
    squares = float(((known - design @ fit) ** 2).sum())
    return math.sqrt(squares / freedom) if freedom > 0 else math.nan
