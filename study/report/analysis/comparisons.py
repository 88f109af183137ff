"""Rows -> what may be said about them: pairwise differences, tie groups, the smallest real gap.

Two optimizers are called different only if their difference, paired over repeats, is larger than
luck makes the largest of all differences (Tukey; see `statistics`). Everything else is a tie.
That speaks of these images; whether it carries over to new ones of the same kind is tested apart,
with the Nadeau-Bengio correction.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from study.records.trial_record import Phase
from study.report.analysis.ranking import Row
from study.report.analysis.statistics import (
    CONFIDENCE,
    Spread,
    pair_error,
    pooled_spread,
    tie_groups,
    tukey_p_value,
    tukey_reach,
)


class Pair(NamedTuple):
    """`first` (the higher mean) against `second`, over the repeats that both have."""

    first: str
    second: str
    repeats: int
    difference: float
    low: float  # 95 %, for all pairs together, on these images
    high: float
    p_value: float  # for all pairs together, on these images
    separated: bool  # p_value below 5 %
    new_low: float  # 95 %, for all pairs together, on new images of the same kind
    new_high: float
    new_p_value: float
    carries_over: bool  # new_p_value below 5 %
    probability: float  # P(first > second) for one confirmation run of each, ties count half


class Claims(NamedTuple):
    """What may be said; `places` are the ranks an optimizer may hold, (best, worst), from 1."""

    pairs: tuple[Pair, ...]
    groups: tuple[tuple[str, ...], ...]  # best first; not separated inside
    places: dict[str, tuple[int, int]]
    repeats: int
    spread: Spread
    margin: float  # the smallest gap that is more than luck on these images; NaN if unknown
    new_margin: float  # the same for new images


def claim(rows: Sequence[Row], *, ratio: float, least: float) -> Claims:
    """Compare the confirmed `rows`, best first.

    `ratio` is validation / training rows, `least` the deviation of rounding to whole images.
    """
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    repeats = sorted({repeat for row in confirmed for repeat in row.by_repeat})
    table = [[row.by_repeat.get(repeat, math.nan) for repeat in repeats] for row in confirmed]
    spread = pooled_spread(table, least=least) if len(confirmed) > 1 else Spread(math.nan, 0.0)
    pairs = [
        _pair(a, b, spread, ratio=ratio, count=len(confirmed))
        for a, b in combinations(confirmed, 2)
    ]
    names = [row.optimizer for row in confirmed]
    fewest = min((len(row.by_repeat) for row in confirmed), default=0)
    margin, new_margin = _margins(spread, len(confirmed), fewest, ratio)
    return Claims(
        pairs=tuple(pairs),
        groups=tuple(tie_groups(names, [frozenset(p[:2]) for p in pairs if p.separated])),
        places=_places(names, pairs),
        repeats=fewest,
        spread=spread,
        margin=margin,
        new_margin=new_margin,
    )


def _margins(spread: Spread, count: int, repeats: int, ratio: float) -> tuple[float, float]:
    if repeats < 2 or not spread.freedom:
        return math.nan, math.nan
    reach = tukey_reach(count, spread.freedom) * math.sqrt(2) * spread.deviation
    return reach * math.sqrt(1 / repeats), reach * math.sqrt(1 / repeats + ratio)


def _pair(first: Row, second: Row, spread: Spread, *, ratio: float, count: int) -> Pair:
    shared = sorted(first.by_repeat.keys() & second.by_repeat.keys())
    differences = [first.by_repeat[r] - second.by_repeat[r] for r in shared]
    difference = float(np.mean(differences)) if shared else math.nan
    error = pair_error(differences, spread)
    new_error = pair_error(differences, spread, ratio=ratio)
    reach = math.nan if math.isnan(error) else tukey_reach(count, spread.freedom)
    p_value = tukey_p_value(_over(difference, error), count, spread.freedom)
    new_p_value = tukey_p_value(_over(difference, new_error), count, spread.freedom)
    wins = [
        float(first.runs[run] > second.runs[run]) + 0.5 * (first.runs[run] == second.runs[run])
        for run in first.runs.keys() & second.runs.keys()
    ]
    return Pair(
        first=first.optimizer,
        second=second.optimizer,
        repeats=len(shared),
        difference=difference,
        low=difference - reach * error,
        high=difference + reach * error,
        p_value=p_value,
        separated=p_value < 1 - CONFIDENCE,  # NaN is never separated
        new_low=difference - reach * new_error,
        new_high=difference + reach * new_error,
        new_p_value=new_p_value,
        carries_over=new_p_value < 1 - CONFIDENCE,
        probability=float(np.mean(wins)) if wins else math.nan,
    )


def _over(difference: float, error: float) -> float:
    """A statistic; without any spread only an exact tie says nothing."""
    if error == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / error


def _places(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, tuple[int, int]]:
    better = dict.fromkeys(names, 0)
    worse = dict.fromkeys(names, 0)
    for pair in pairs:
        if pair.separated:
            ahead, behind = pair[:2] if pair.difference > 0 else pair[1::-1]
            better[behind] += 1
            worse[ahead] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}
