"""Made-up data sets whose truth is known, judged by the project's own functions.

`tests/test_across_sets.py` draws a hundred collections of them, `tests/benchmarks/calibration.py`
thousands.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.compare.set_bounds import SetResults, in_general, on_these_sets, span_of
from study.verdicts.judge import behind_the_best

REPEATS, STEP, RATIO = 5, 1e-4, 0.5
REPEAT_SPREAD, NOISE = 0.012, 0.012  # easy and hard splits, and luck, as on the built-in faces
SPREAD = 0.02  # of what a data set adds to an optimizer
HERE = 0.025  # what is claimed of these sets may spend


class Sort(NamedTuple):
    """A sort of data sets: what is drawn for each of them."""

    behind: tuple[float, ...]  # (K,) on average over the sort; the best 0
    spreads: tuple[float, ...]  # (K,) of a set's own effect
    tails: float = math.inf  # degrees of freedom of Student's t
    uneven: float = 0.0  # deviation of the logarithm of a set's scale: easy and hard ones
    rare: float = 0.0  # part of the sets on which the first loses 9 times what it gains elsewhere


def alike(count: int, **more: float) -> Sort:
    return Sort((0.0,) * count, (SPREAD,) * count, **more)  # type: ignore[arg-type]


def one_ahead(count: int, by: float, spread: float = SPREAD) -> Sort:
    return Sort((*[by] * (count - 1), 0.0), (spread,) * count)


SORTS: dict[str, Callable[[], Sort]] = {
    "2 equal": lambda: alike(2),
    "3 equal": lambda: alike(3),
    "12 equal": lambda: alike(12),
    "3 equal, easy and hard sets": lambda: alike(3, uneven=1.0),
    "3 equal, heavy tails (t3)": lambda: alike(3, tails=3.0),
    "3 equal, one 5 times as uneven": lambda: Sort((0.0,) * 3, (5 * SPREAD, SPREAD, SPREAD)),
    "3, one ahead by 2.01 points": lambda: one_ahead(3, 0.0201),
    "12, one ahead by 2.01 points": lambda: one_ahead(12, 0.0201, 0.005),
    "2 equal, but 1 set in 10 of another sort": lambda: alike(2, rare=0.1),
}


def draw_sets(
    sort: Sort, rng: np.random.Generator, count: int
) -> tuple[list[SetResults], Float[np.ndarray, "..."]]:
    """(results, (count, K) true values) of so many data sets."""
    size = len(sort.behind)
    shape = (count, size)
    noise = rng.standard_normal(shape)
    if math.isfinite(sort.tails):
        noise = rng.standard_t(sort.tails, shape) / math.sqrt(sort.tails / (sort.tails - 2))
    scale = np.exp(sort.uneven * rng.standard_normal((count, 1)))
    truth = 0.85 - np.array(sort.behind) + np.array(sort.spreads) * scale * noise
    if sort.rare:
        lost = rng.random(count) < sort.rare
        truth = truth * 0.2 + 0.68  # little of the rest
        truth[:, 0] += np.where(lost, -0.9, 0.1) * 0.2  # 0 on average
    found = []
    for place in range(count):
        table = truth[place][:, None] + REPEAT_SPREAD * rng.standard_normal(REPEATS)
        luck = NOISE * min(float(scale[place, 0]), 2.0)
        table = table + luck * rng.standard_normal((size, REPEATS))
        found.append(SetResults(table, STEP))
    return found, truth


def mistakes_in_general(
    sets: Sequence[SetResults], sort: Sort, counts: Sequence[int], margin: float
) -> Counter[str]:
    """What is claimed falsely of the sort at any of these numbers of sets: 1 where it is."""
    found: Counter[str] = Counter(collections=1)
    behind = np.array(sort.behind)
    for count in counts:
        bound, out = behind_the_best(in_general(sets[:count]))
        found["best excluded"] |= bool(out[behind == 0].any())
        found["good enough"] |= bool(((bound <= margin) & (behind > margin)).any())
        found["bound"] |= bool((bound < behind).any())
        found["known"] |= bool((bound <= margin).any())
    return found


def mistakes_here(sets: Sequence[SetResults], truth: np.ndarray, margin: float) -> Counter[str]:
    """The same of what is claimed of these sets only, and of the span."""
    values = truth[: len(sets)].mean(axis=0)
    behind = values.max() - values
    bound, out = behind_the_best(on_these_sets(sets, HERE))
    span = span_of(sets, HERE)
    return Counter(
        {
            "best excluded": int(out[int(behind.argmin())]),  # on these sets one is the best
            "good enough": int(((bound <= margin) & (behind > margin)).any()),
            "bound": int((bound < behind).any()),
            "span too high": int(span.low > behind.max()),
            "span too low": int(span.high < behind.max()),
        }
    )
