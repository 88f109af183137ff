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
    known = np.isfinite(values)
    design = _within(np.eye(len(values))[:, :, None], known)[:, known].T  # (cells, K)
    results = _within(values, known)[known]  # (cells,)
    fit, _, rank, _ = np.linalg.lstsq(design, results, rcond=None)
    freedom = len(results) - int(known.any(axis=0).sum()) - int(rank)
    squares = float(((results - design @ fit) ** 2).sum())
    return math.sqrt(squares / freedom) if freedom > 0 else math.nan


def _within(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(..., K, R) less the mean of each repeat, over its known cells; 0 where nothing is known.

    That takes the repeats' effects out (Frisch, Waugh and Lovell), so that K columns are fitted,
    not K + R: with 840 repeats a hundredth of the time.
    """
    filled = np.where(known, values, 0.0)
    means = filled.sum(axis=-2, keepdims=True) / np.maximum(known.sum(axis=0), 1)
    found: np.ndarray = np.where(known, filled - means, 0.0)
    return found
