"""Rows -> what may be said about them: pairwise differences, tie groups, the sentence on top.

Two optimizers are called different only if the paired difference over repeats stays significant
after the Nadeau-Bengio correction (overlapping splits) and Holm's (many pairs). Everything else is
a tie, and the sentence says so.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from study.intervals import (
    CONFIDENCE,
    corrected_interval,
    corrected_p_value,
    holm,
    repeats_needed,
    tie_groups,
)
from study.ranking import Row
from study.records import Phase

FEWEST_REPEATS = 5  # what to ask for where there are too few for any statistics
NAMED_TIED = 5  # a longer list of tied names says less than their number
SHOWN_BEHIND = 3  # optimizers named in the sentence


class Pair(NamedTuple):
    """`first` (the higher mean) against `second`, over the repeats that both have."""

    first: str
    second: str
    repeats: int
    difference: float
    low: float  # 95 % interval, not adjusted for the number of pairs
    high: float
    deviation: float  # of the differences over repeats
    p_value: float
    adjusted: float  # after Holm
    separated: bool
    probability: float  # P(first > second) for one confirmation run of each, ties count half


class Claims(NamedTuple):
    """What may be said; `places` are the ranks an optimizer may hold, (best, worst), from 1."""

    headline: str
    pairs: tuple[Pair, ...]
    groups: tuple[tuple[str, ...], ...]  # best first; not separated inside
    places: dict[str, tuple[int, int]]
    repeats: int


def claim(rows: Sequence[Row], *, ratio: float, least: float) -> Claims:
    """Compare the confirmed `rows` (best first); `ratio` and `least` as in `study.intervals`."""
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    raw = [_pair(a, b, ratio, least) for a, b in combinations(confirmed, 2)]
    adjusted = holm([pair.p_value for pair in raw])
    pairs = [
        pair._replace(adjusted=p, separated=p < 1 - CONFIDENCE)  # NaN is never separated
        for pair, p in zip(raw, adjusted, strict=True)
    ]
    names = [row.optimizer for row in confirmed]
    groups = tie_groups(names, [frozenset(p[:2]) for p in pairs if p.separated])
    repeats = min((len(row.by_repeat) for row in confirmed), default=0)
    return Claims(
        headline=_headline(rows, confirmed, pairs, ratio),
        pairs=tuple(pairs),
        groups=tuple(groups),
        places=_places(names, pairs),
        repeats=repeats,
    )


def _pair(first: Row, second: Row, ratio: float, least: float) -> Pair:
    shared = sorted(first.by_repeat.keys() & second.by_repeat.keys())
    differences = [first.by_repeat[r] - second.by_repeat[r] for r in shared]
    low, high = corrected_interval(differences, ratio, least=least)
    wins = [
        float(first.runs[run] > second.runs[run]) + 0.5 * (first.runs[run] == second.runs[run])
        for run in first.runs.keys() & second.runs.keys()
    ]
    return Pair(
        first=first.optimizer,
        second=second.optimizer,
        repeats=len(shared),
        difference=float(np.mean(differences)) if shared else math.nan,
        low=low,
        high=high,
        deviation=float(np.std(differences, ddof=1)) if len(shared) > 1 else math.nan,
        p_value=corrected_p_value(differences, ratio, least=least),
        adjusted=math.nan,
        separated=False,
        probability=float(np.mean(wins)) if wins else math.nan,
    )


def _places(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, tuple[int, int]]:
    better = dict.fromkeys(names, 0)
    worse = dict.fromkeys(names, 0)
    for pair in pairs:
        if pair.separated:
            ahead, behind = pair[:2] if pair.difference > 0 else pair[1::-1]
            better[behind] += 1
            worse[ahead] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}


def join(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def points(value: float) -> str:
    """A difference of accuracies in percentage points."""
    return f"{100 * value:.1f}"


def _headline(
    rows: Sequence[Row], confirmed: Sequence[Row], pairs: Sequence[Pair], ratio: float
) -> str:
    if not confirmed:
        return _unconfirmed(rows)
    best = confirmed[0]
    if len(confirmed) == 1:
        return (
            f"{best.optimizer} reaches {100 * best.mean:.1f} % validation accuracy; "
            "no other optimizer has been confirmed, so there is nothing to compare it with."
        )
    if all(row.confirm_diverged == len(row.runs) for row in confirmed):
        return (
            "Nothing can be said: every confirmation run diverged. Lower the learning rates of the "
            "search space and search again."
        )
    if all(math.isnan(pair.p_value) for pair in pairs):
        return _single_repeat(confirmed)
    to_best = {p.second: p for p in pairs if p.first == best.optimizer}
    tied = [best.optimizer, *(n for n, p in to_best.items() if not p.separated)]
    behind = [p for p in to_best.values() if p.separated]
    if not behind:
        return f"{_nothing(tied, confirmed)} {_advice(pairs, tied, ratio)}".strip()
    if len(tied) == 1:
        return f"{best.optimizer} is best here: {_behind(behind)}."
    return f"{_tied(tied, pairs)}; {_behind(behind)}. {_advice(pairs, tied, ratio)}".strip()


def _tied(tied: Sequence[str], pairs: Iterable[Pair]) -> str:
    """All alike, or only none of them separated from the best."""
    if len(tied) > NAMED_TIED:
        return f"{tied[0]} leads here, but {len(tied) - 1} others cannot be told from it"
    if any(pair.separated and set(pair[:2]) <= set(tied) for pair in pairs):
        return f"{tied[0]} leads here, but cannot be told from {join(tied[1:])}"
    return f"{join(tied)} are not distinguishable here"


def _unconfirmed(rows: Sequence[Row]) -> str:
    known = [row for row in rows if not math.isnan(row.mean)]
    if not known:
        return "Nothing can be ranked: no run of this study has a result."
    best = max(known, key=lambda row: row.mean)
    return (
        "Nothing can be ranked yet: no winner has been confirmed by a rerun. The highest value "
        f"so far is {100 * best.mean:.1f} % ({best.optimizer}), picked among many and so too high."
    )


def _single_repeat(confirmed: Sequence[Row]) -> str:
    first, second = confirmed[:2]
    gap = first.mean - second.mean
    lead = (
        f"{first.optimizer} and {second.optimizer} end level at the top"
        if gap < 5e-4
        else f"{first.optimizer} is {points(gap)} points ahead of {second.optimizer}"
    )
    return (
        f"Nothing can be said yet: {lead}, but a single repeat cannot tell a difference from "
        f"luck; run the study with --repeats {FEWEST_REPEATS} or more."
    )


def _nothing(tied: Sequence[str], confirmed: Sequence[Row]) -> str:
    if len(tied) == 2:
        return f"{join(tied)} are not distinguishable here."
    gap = points(confirmed[0].mean - confirmed[-1].mean)
    return (
        f"None of the {len(tied)} optimizers can be told from the best: {tied[0]} leads, "
        f"{tied[-1]} is {gap} points behind, and luck alone can do that."
    )


def _behind(pairs: Sequence[Pair]) -> str:
    parts = [
        f"{pair.second} is {points(pair.difference)} points behind "
        f"({points(pair.low)} to {points(pair.high)})"
        for pair in pairs[:SHOWN_BEHIND]
    ]
    rest = len(pairs) - SHOWN_BEHIND
    if rest > 0:
        parts.append(f"{rest} more {'is' if rest == 1 else 'are'} further behind")
    return join(parts)


def _advice(pairs: Sequence[Pair], tied: Sequence[str], ratio: float) -> str:
    """How many more repeats would show the largest difference among the tied."""
    inside = [p for p in pairs if {p.first, p.second} <= set(tied) and p.repeats > 1]
    if not inside:
        return ""
    widest = max(inside, key=lambda pair: abs(pair.difference))
    gap = f"{widest.first} over {widest.second}, {points(abs(widest.difference))} points"
    if abs(widest.difference) < 5e-4:
        return "They reach the same accuracy, so no number of repeats would separate them."
    total = repeats_needed(widest.difference, widest.deviation, ratio, comparisons=len(pairs))
    if total is None:
        return (
            f"More repeats alone would not settle even the largest gap among them ({gap}): "
            "that takes more images."
        )
    more = max(total - widest.repeats, 1)
    return (
        f"To settle the largest gap among them ({gap}) about {more} more "
        f"repeat{'s' if more > 1 else ''} would be needed."
    )
