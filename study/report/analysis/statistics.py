"""The statistics behind every claim: numbers in, numbers out, nothing about optimizers.

The design is a block design: K optimizers see the same splits and seeds in each of R repeats, and
repeats are independent given the images. So the repeat's own effect cancels in every difference,
what is left is pooled over all optimizers ((K-1)(R-1) degrees of freedom instead of R-1), and
Tukey's studentized range covers all pairs at once. Two guards keep it honest where some optimizers
vary more than others: a pair's own spread is used where it is larger than the pooled one, and the
degrees of freedom shrink as Box (1954) has it. `tests/test_statistics.py` measures the error rates.

That is luck of splits, searches and seeds, on these images. How far a difference may lie off for
new images of the same kind is the other question: all repeats split the same images, and Nadeau
and Bengio ("Inference for the Generalization Error", Machine Learning 52, 2003) widen the variance
from s2/R to s2 (1/R + validation/training). Only `scipy.special` is used: `scipy.stats` takes a
second to load.
"""

import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, ndtr, stdtrit

from study.common.aliases import Numbers

CONFIDENCE = 0.95
POWER = 0.8
MOST_REPEATS = 200  # beyond this "more repeats" is no advice


class Spread(NamedTuple):
    """What luck does to one result of one repeat, the repeat's own effect taken out."""

    deviation: float  # pooled over the optimizers; NaN where nothing can be pooled
    freedom: float  # effective degrees of freedom


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    middle = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * error
    return middle - reach, middle + reach


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


def pair_error(differences: Sequence[float], spread: Spread, *, ratio: float = 0.0) -> float:
    """Standard error of the mean of a pair's `differences`, one a repeat; NaN for fewer than two.

    With `ratio` = validation / training rows it is Nadeau and Bengio's, for new images.
    """
    if len(differences) < 2 or not spread.freedom:
        return math.nan
    deviation = max(math.sqrt(2) * spread.deviation, float(np.std(differences, ddof=1)))
    return deviation * math.sqrt(1 / len(differences) + ratio)


def tukey_p_value(statistic: float, count: int, freedom: float) -> float:
    """Chance that the largest of all differences among `count` equal ones is at least that.

    `statistic` is a difference over its standard error; the p-value holds for all pairs together.
    """
    if math.isnan(statistic):
        return math.nan
    return 1 - _range_probability(abs(statistic) * math.sqrt(2), count, freedom)


@lru_cache(maxsize=512)
def tukey_reach(count: int, freedom: float) -> float:
    """Standard errors that a difference must exceed: 95 % over all pairs of `count`."""
    low, high = 0.0, 1.0
    while tukey_p_value(high, count, freedom) > 1 - CONFIDENCE:
        high *= 2
    for _ in range(26):
        middle = (low + high) / 2
        above = tukey_p_value(middle, count, freedom) > 1 - CONFIDENCE
        low, high = (middle, high) if above else (low, middle)
    return high


def _range_probability(q: float, count: int, freedom: float) -> float:
    """Distribution of the studentized range, by quadrature over the scale and the smallest."""
    scales, weights = _scale_grid(freedom)
    z = np.linspace(-7, 7, 99)  # (points,)
    width = q * scales[:, None]  # (scales, 1)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    inside = np.maximum(ndtr(z) - ndtr(z - width), 0)  # (scales, points)
    given = count * (density * inside ** (count - 1)).sum(axis=1)
    return float(np.clip((weights * given).sum(), 0.0, 1.0))


@lru_cache(maxsize=64)
def _scale_grid(freedom: float) -> tuple[Numbers, Numbers]:
    """Points and weights of chi/sqrt(freedom), the estimated over the true deviation."""
    half = freedom / 2
    logs = np.linspace(-9 / math.sqrt(freedom) - 1, 4 / math.sqrt(freedom), 120)
    scales = np.exp(logs)
    density = half * math.log(half) - gammaln(half) + freedom * logs - half * scales**2
    weights = 2 * np.exp(density) * (logs[1] - logs[0])
    return scales, weights / weights.sum()


def tie_groups(
    names: Sequence[str], separated: Collection[frozenset[str]]
) -> list[tuple[str, ...]]:
    """Largest groups without a separated pair inside, in the order of `names`.

    The insert-and-absorb algorithm of Piepho (2004) for letter displays: two names share a group
    exactly if they are not separated.
    """
    groups = [frozenset(names)] if names else []
    for pair in separated:
        parts: list[frozenset[str]] = []
        for group in groups:
            parts += [group - {name} for name in pair] if pair <= group else [group]
        parts = list(dict.fromkeys(parts))
        groups = [part for part in parts if not any(part < other for other in parts)]
    ranks = {name: place for place, name in enumerate(names)}
    ordered = [tuple(sorted(group, key=ranks.__getitem__)) for group in groups]
    return sorted(ordered, key=lambda group: [ranks[name] for name in group])


def repeats_needed(difference: float, deviation: float, count: int) -> int | None:
    """Roughly how many repeats show `difference` with 80 % power among `count` optimizers.

    `deviation` is the pooled one. None where more than `MOST_REPEATS` would be needed.
    """
    if not (difference and math.isfinite(difference) and math.isfinite(deviation)):
        return None

    def enough(repeats: int) -> bool:
        freedom = (count - 1) * (repeats - 1)
        reach = tukey_reach(count, freedom) + float(stdtrit(freedom, POWER))
        return reach * deviation * math.sqrt(2 / repeats) <= abs(difference)

    low, high = 1, MOST_REPEATS
    if not enough(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
