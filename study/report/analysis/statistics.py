"""Intervals of single numbers; what is claimed of optimizers is in `study.verdicts`.

Only `scipy.special` is used: `scipy.stats` takes a second to load.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    middle = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * error
    return middle - reach, middle + reach


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a mean of `count` values between 0 and 1.

    It takes each value for a whole success or failure, which no such value can vary more than: so
    runs inside a repeat need not be independent.
    """
    z = float(ndtri((1 + CONFIDENCE) / 2))
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / count) ** 2 / 4)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)
