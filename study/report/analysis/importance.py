"""Search trials -> what each hyperparameter does: importance, slices, parallel coordinates.

Hyperband trains some trials ten times as long as others, so their values cannot be compared
directly. A trial is therefore scored by the share of the other trials of its search that it beats
after the same number of epochs.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from study.common.aliases import Value
from study.common.metrics import ACCURACY, SHORT
from study.records.outcomes import by_optimizer, chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import last_rungs

BINS = 6
FEWEST = 20  # scored trials for a statement about a hyperparameter
BEST = 0.1  # share of an optimizer's trials that count as its best ones


class ScoredTrial(NamedTuple):
    """One search run and the share of its rivals that it beats."""

    values: Mapping[str, Value]
    beaten: float


class Importance(NamedTuple):
    """Share of the differences between trials that one hyperparameter alone explains, 0 to 1."""

    optimizers: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    share: Float[np.ndarray, "optimizers hyperparameters"]  # NaN where an optimizer lacks one


class Slice(NamedTuple):
    """How well one optimizer does over the values of one numeric hyperparameter."""

    optimizer: str
    values: Float[np.ndarray, " bins"]  # medians of the bins
    beaten: Float[np.ndarray, " bins"]  # mean share of the other trials that are beaten


class Slices(NamedTuple):
    """The slices of all optimizers for one numeric hyperparameter."""

    hyperparameter: str  # "1 - X" where X is close to 1
    log: bool
    lines: tuple[Slice, ...]


class Parallel(NamedTuple):
    """Every trial of one optimizer over the hyperparameters that all optimizers share."""

    optimizer: str
    places: Float[np.ndarray, "trials axes"]  # 0 to 1 on each axis; the last axis is the metric
    best: Bool[np.ndarray, " trials"]  # whether it is in the best tenth


class ParallelAxis(NamedTuple):
    """One axis of the parallel coordinates, with the labels of its ends."""

    hyperparameter: str
    low: str
    high: str


def score_trials(meta: StudyMeta, records: Iterable[TrialRecord]) -> dict[str, list[ScoredTrial]]:
    """Score each search run among those of its search with the same epochs, by optimizer."""
    guess = chance(meta.metric, meta.class_counts)
    groups: dict[tuple[str, int, int], list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.phase is Phase.SEARCH and record.status is not TrialStatus.FAILED:
            groups[record.optimizer, record.repeat, record.epochs].append(record)
    found: dict[str, list[ScoredTrial]] = {name: [] for name in meta.optimizers}
    for (name, _, _), runs in groups.items():
        if len(runs) > 1:
            scores = np.array([score(run, guess) for run in runs])
            below = (scores[:, None] > scores).sum(axis=1)
            level = (scores[:, None] == scores).sum(axis=1) - 1
            shares = ((below + level / 2) / (len(runs) - 1)).tolist()
            pairs = zip(runs, shares, strict=True)
            found.setdefault(name, []).extend(ScoredTrial(r.hyperparameters, s) for r, s in pairs)
    return {name: scored for name, scored in found.items() if scored}


def importance(scored: Mapping[str, Sequence[ScoredTrial]]) -> Importance | None:
    """Return the share of variance by optimizer and hyperparameter (omega squared).

    None for fewer than two hyperparameters: one alone cannot be weighed against any other.
    """
    tuned = {name: keys for name, trials in scored.items() if (keys := _tuned(trials))}
    keys = list(dict.fromkeys(key for own in tuned.values() for key in own))
    if len(keys) < 2:
        return None
    share = np.full((len(tuned), len(keys)), np.nan)
    for row, (name, own) in enumerate(tuned.items()):
        for key in own:
            share[row, keys.index(key)] = _explained(scored[name], key)
    order = np.argsort(-np.nansum(share, axis=0), kind="stable")
    return Importance(tuple(tuned), tuple(keys[i] for i in order), share[:, order])


def _tuned(trials: Sequence[ScoredTrial]) -> list[str]:
    """Return the hyperparameters with several values and enough trials, in their usual order."""
    values: dict[str, list[Value]] = {}
    for trial in trials:
        for key, value in trial.values.items():
            values.setdefault(key, []).append(value)
    return [key for key, v in values.items() if len(v) >= FEWEST and len(set(v)) > 1]


def _explained(trials: Sequence[ScoredTrial], key: str) -> float:
    having = [trial for trial in trials if key in trial.values]
    beaten = np.array([trial.beaten for trial in having])
    groups = [beaten[group] for group in _bins([trial.values[key] for trial in having])]
    inside = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    total = float(((beaten - beaten.mean()) ** 2).sum())
    if not total or len(beaten) <= len(groups):
        return math.nan
    mean_square = inside / (len(beaten) - len(groups))
    return max(0.0, (total - inside - (len(groups) - 1) * mean_square) / (total + mean_square))


def _bins(values: Sequence[Value]) -> list[Int[np.ndarray, " _"]]:
    """Return the places of each value; many different numbers go into `BINS` equal groups."""
    distinct = set(values)
    if len(distinct) <= BINS or not all(map(_is_number, distinct)):
        texts = np.array([str(value) for value in values])
        return [np.flatnonzero(texts == str(value)) for value in sorted(distinct, key=str)]
    order = np.argsort(np.array([float(v) for v in values]), kind="stable")
    return np.array_split(order, BINS)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def slices(scored: Mapping[str, Sequence[ScoredTrial]], without: Iterable[str]) -> list[Slices]:
    """Return an entry for each tuned number that is not in `without`, shared ones first."""
    found: dict[str, list[Slice]] = defaultdict(list)
    for name, trials in scored.items():
        for key in _tuned(trials):
            having = [trial for trial in trials if key in trial.values]
            values = [trial.values[key] for trial in having]
            if key not in without and len(set(values)) > 2 and all(map(_is_number, values)):
                beaten = np.array([trial.beaten for trial in having])
                found[key].append(_slice(name, np.array(values, float), beaten))
    ordered = sorted(found, key=lambda key: -len(found[key]))
    return [_scaled(key, found[key]) for key in ordered]


def _slice(
    name: str, values: Float[np.ndarray, " trials"], beaten: Float[np.ndarray, " trials"]
) -> Slice:
    groups = _bins(values.tolist())
    groups.sort(key=lambda group: float(np.median(values[group])))
    return Slice(
        name,
        np.array([np.median(values[group]) for group in groups]),
        np.array([beaten[group].mean() for group in groups]),
    )


def _scaled(key: str, lines: Sequence[Slice]) -> Slices:
    values = np.concatenate([line.values for line in lines])
    if values.min() > 0.4 and values.max() < 1:  # the decay of an average: what matters is 1 - X
        lines = [line._replace(values=1 - line.values) for line in lines]
        return Slices(f"1 - {key}", True, tuple(lines))
    return Slices(key, _is_wide(float(values.min()), float(values.max())), tuple(lines))


def _is_wide(low: float, high: float) -> bool:
    """Return whether a range needs a logarithmic axis."""
    return low > 0 and high / low > 30


def parallel(
    meta: StudyMeta, records: Iterable[TrialRecord]
) -> tuple[tuple[ParallelAxis, ...], tuple[Parallel, ...]]:
    """Return axes and lines; empty for fewer than two hyperparameters that all tune."""
    guess = chance(meta.metric, meta.class_counts)
    ends = last_rungs(r for r in records if r.phase is Phase.SEARCH)
    alive = [run for run in ends if run.status is not TrialStatus.FAILED]
    grouped = by_optimizer(meta.optimizers, alive)
    grouped = {name: runs for name, runs in grouped.items() if len(runs) >= FEWEST}
    every = [run for runs in grouped.values() for run in runs]
    shared = [
        key
        for key in (every[0].hyperparameters if every else ())
        if all(key in run.hyperparameters for run in every)
        and len({run.hyperparameters[key] for run in every}) > 1
    ]
    if len(shared) < 2:
        return (), ()
    scaled = [_axis(key, [run.hyperparameters[key] for run in every]) for key in shared]
    scores = np.array([score(run, guess) for run in every])
    table = np.column_stack([*(places for _, places in scaled), np.clip(scores, 0, 1)])
    lines, start = [], 0
    for name, runs in grouped.items():
        rows = slice(start, start + len(runs))
        start += len(runs)
        best = np.zeros(len(runs), bool)
        best[np.argsort(-scores[rows], kind="stable")[: max(3, round(BEST * len(runs)))]] = True
        lines.append(Parallel(name, table[rows], best))
    short = meta.metric_words if meta.metric == ACCURACY else SHORT[meta.metric]
    return (*(axis for axis, _ in scaled), ParallelAxis(short, "0 %", "100 %")), tuple(lines)


def _axis(key: str, values: Sequence[Value]) -> tuple[ParallelAxis, Float[np.ndarray, " trials"]]:
    distinct = set(values)
    numeric = all(map(_is_number, distinct))
    if not numeric or len(distinct) <= BINS:
        ordered = sorted(distinct, key=float if numeric else str)
        step = 1 / max(len(ordered) - 1, 1)
        places = np.array([ordered.index(value) * step for value in values])
        return ParallelAxis(key, str(ordered[0]), str(ordered[-1])), places
    numbers = np.array([float(value) for value in values])
    low, high = float(numbers.min()), float(numbers.max())
    axis = ParallelAxis(key, f"{low:.2g}", f"{high:.2g}")
    if _is_wide(low, high):
        numbers, low, high = np.log(numbers), math.log(low), math.log(high)
    return axis, (numbers - low) / (high - low)
