"""Rows and the answer -> pairwise differences, with bounds for all pairs and looks simultaneously.

The verdicts rest on the same differences (`study.verdicts.bounds`). The reach is wider here,
Student's quantile at 1 - alpha / (K (K - 1)), so that all statements about pairs hold together.
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from study.records.trial_record import Phase
from study.report.analysis.ranking import Row, wilson_interval
from study.verdicts.answer import Answer
from study.verdicts.looks import FEWEST_REPEATS

MEANINGFUL = 0.75  # P(A > B) from which a difference matters for a single run


class Pair(NamedTuple):
    """`first`, whose mean is higher, against `second`; NaN where they were not compared."""

    first: str
    second: str
    repeats: int  # of the look that judges them
    difference: float
    low: float  # 95 %, simultaneous for all pairs and looks, on these images
    high: float
    separated: bool  # on these images
    new_low: float  # 95 %, simultaneous for all pairs and looks, on new images of the same kind
    new_high: float
    carries_over: bool  # whether they are separated on new images, too
    probability: float  # P(first > second) for one confirmation run of each, ties count half
    probability_low: float  # 95 %, the repeat being the unit
    probability_high: float
    meaningful: bool  # after Bouthillier et al. 2021


def all_pairs(rows: Sequence[Row], answer: Answer) -> list[Pair]:
    """Return every pair of confirmed rows, the highest means first."""
    places = {one.optimizer: place for place, one in enumerate(answer.optimizers)}
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    confirmed.sort(key=lambda row: math.inf if math.isnan(row.mean) else -row.mean)
    return [
        _pair(one, other, answer, (places[one.optimizer], places[other.optimizer]))
        for one, other in combinations(confirmed, 2)
    ]


def _pair(first: Row, second: Row, answer: Answer, place: tuple[int, int]) -> Pair:
    bounds = answer.bounds
    repeats, difference = float(bounds.repeats[place]), float(bounds.difference[place])
    if math.isnan(difference):
        difference = _measured(first, second)
    reach = float((bounds.reach(strict=True) * bounds.error)[place])
    new_reach = float(answer.new_images.half_width(bounds, strict=True)[place])
    probability, low, high = _probability(first, second)
    return Pair(
        first=first.optimizer,
        second=second.optimizer,
        repeats=0 if math.isnan(repeats) else int(repeats),
        difference=difference,
        low=difference - reach,
        high=difference + reach,
        separated=abs(difference) > reach,  # NaN is never separated
        new_low=difference - new_reach,
        new_high=difference + new_reach,
        carries_over=abs(difference) > new_reach,
        probability=probability,
        probability_low=low,
        probability_high=high,
        meaningful=low > 0.5 and probability >= MEANINGFUL,
    )


def _measured(first: Row, second: Row) -> float:
    """Return the mean difference over shared repeats; NaN without any."""
    shared = sorted(first.by_repeat.keys() & second.by_repeat.keys())
    differences = [first.by_repeat[repeat] - second.by_repeat[repeat] for repeat in shared]
    return float(np.mean(differences)) if shared else math.nan


def _probability(first: Row, second: Row) -> tuple[float, float, float]:
    """Return P(first > second) over runs on the same split, with its interval over repeats."""
    wins: dict[int, list[float]] = {}
    for run in first.runs.keys() & second.runs.keys():
        ahead = first.runs[run] - second.runs[run]
        won = 1.0 if ahead > 0 else 0.5 if ahead == 0 else 0.0
        wins.setdefault(run[0], []).append(won)
    if not wins:
        return math.nan, math.nan, math.nan
    share = float(np.mean([np.mean(inside) for inside in wins.values()]))
    if len(wins) < FEWEST_REPEATS:
        return share, math.nan, math.nan
    return (share, *wilson_interval(share, len(wins)))
