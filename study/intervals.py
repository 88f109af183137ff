"""The statistics behind every claim: numbers in, numbers out, nothing about optimizers.

Repeats of a study split the same images again and again, so their results are not independent and
the plain t-test claims too much. The corrected resampled t-test of Nadeau and Bengio ("Inference
for the Generalization Error", Machine Learning 52, 2003) widens the variance from s2/J to
s2 (1/J + validation/training). Only `scipy.special` is used: `scipy.stats` takes a second to load.
"""

import math
from collections.abc import Collection, Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
POWER = 0.8
MOST_REPEATS = 200  # beyond this "more repeats" is no advice


def corrected_error(values: Sequence[float], ratio: float, *, least: float = 0.0) -> float:
    """Standard error of the mean of `values`, one a repeat; `ratio` is validation / training rows.

    `least` is a lower limit for the standard deviation: accuracies are counted in whole images, so
    a spread of exactly 0 over few repeats means "smaller than a step", not "none".
    NaN for fewer than two values.
    """
    if len(values) < 2:
        return math.nan
    deviation = max(float(np.std(values, ddof=1)), least)
    return deviation * math.sqrt(1 / len(values) + ratio)


def corrected_interval(
    values: Sequence[float], ratio: float, *, least: float = 0.0
) -> tuple[float, float]:
    """The 95 % interval of the mean of `values`; (NaN, NaN) for fewer than two."""
    error = corrected_error(values, ratio, least=least)
    if math.isnan(error):
        return math.nan, math.nan
    middle = float(np.mean(values))
    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * error
    return middle - reach, middle + reach


def corrected_p_value(differences: Sequence[float], ratio: float, *, least: float = 0.0) -> float:
    """Two-sided p-value for "the mean of `differences` is 0"; NaN for fewer than two."""
    error = corrected_error(differences, ratio, least=least)
    if math.isnan(error):
        return math.nan
    if error == 0:
        return 1.0 if np.mean(differences) == 0 else 0.0
    statistic = abs(float(np.mean(differences))) / error
    return float(2 * stdtr(len(differences) - 1, -statistic))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979) over all finite p-values; NaN stays NaN."""
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    highest = 0.0
    for place, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * p))
        adjusted[index] = highest
    return adjusted


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


def repeats_needed(
    difference: float, deviation: float, ratio: float, *, comparisons: int
) -> int | None:
    """Roughly how many repeats show `difference` with 80 % power among `comparisons` pairs.

    None where no sensible number does: the correction's second term does not shrink with repeats,
    so a small difference needs more images.
    """
    if not (difference and math.isfinite(difference) and math.isfinite(deviation)):
        return None
    level = 1 - (1 - CONFIDENCE) / (2 * max(comparisons, 1))
    for repeats in range(2, MOST_REPEATS + 1):
        reach = float(stdtrit(repeats - 1, level)) + float(stdtrit(repeats - 1, POWER))
        if reach * deviation * math.sqrt(1 / repeats + ratio) <= abs(difference):
            return repeats
    return None
