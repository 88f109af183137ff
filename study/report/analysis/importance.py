"""Search trials -> what each hyperparameter does: importance, slices, parallel coordinates.

Hyperband trains some trials ten times as long as others, so their values cannot be compared
as they are. Here a trial is judged by the share of the other trials of its search that it beats
after the same number of epochs.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from study.common.aliases import Value
from study.common.metrics import ACCURACY, SHORT
from study.records.outcomes import chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import last_rungs

BINS = 6
FEWEST = 20  # judged trials, to say anything about a hyperparameter
BEST = 0.1  # of the trials of an optimizer are its best ones


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
    """One numeric hyperparameter."""

    hyperparameter: str  # 1 - X is written so where X is close to 1
    log: bool
    lines: tuple[Slice, ...]


class Parallel(NamedTuple):
    """Every trial of one optimizer over the hyperparameters that all optimizers share."""

    optimizer: str
    places: Float[np.ndarray, "trials axes"]  # 0 to 1 on each axis; the last axis is the metric
    best: NDArray[np.bool_]  # (trials,) of the best tenth


class ParallelAxis(NamedTuple):
    """One axis of the parallel coordinates."""

    hyperparameter: str
    low: str  # what its ends mean
    high: str


class ScoredTrial(NamedTuple):
    """One search run and the share of its rivals it beats."""

    values: Mapping[str, Value]
    beaten: float


def judge_trials(meta: StudyMeta, records: Iterable[TrialRecord]) -> dict[str, list[ScoredTrial]]:
    """Every search run of each optimizer against those of its search with the same epochs."""
    guess = chance(meta.metric, meta.class_counts)
    groups: dict[tuple[str, int, int], list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.phase is Phase.SEARCH and record.status is not TrialStatus.FAILED:
            groups[record.optimizer, record.repeat, record.epochs].append(record)
    found: dict[str, list[ScoredTrial]] = {name: [] for name in meta.optimizers}
    for (name, _, _), runs in groups.items():
        scores = np.array([score(run, guess) for run in runs])
        if len(runs) > 1:
            below = (scores[:, None] > scores).sum(axis=1)
            level = (scores[:, None] == scores).sum(axis=1) - 1
            shares = (below + level / 2) / (len(runs) - 1)
            pairs = zip(runs, shares.tolist(), strict=True)
            found.setdefault(name, []).extend(ScoredTrial(r.hyperparameters, s) for r, s in pairs)
    return {name: judged for name, judged in found.items() if judged}


def importance(judged: Mapping[str, Sequence[ScoredTrial]]) -> Importance | None:
    """Share of the variance between trials by hyperparameter and optimizer (omega squared)."""
    tuned = {name: _tuned(trials) for name, trials in judged.items()}
    tuned = {name: keys for name, keys in tuned.items() if keys}
    keys = list(dict.fromkeys(key for own in tuned.values() for key in own))
    if len(keys) < 2:
        return None  # a hyperparameter alone has nothing to be weighed against
    share = np.full((len(tuned), len(keys)), np.nan)
    for row, (name, own) in enumerate(tuned.items()):
        for key in own:
            share[row, keys.index(key)] = _explained(judged[name], key)
    order = np.argsort(-np.nansum(share, axis=0), kind="stable")  # the weightiest first
    return Importance(tuple(tuned), tuple(keys[i] for i in order), share[:, order])


def _tuned(trials: Sequence[ScoredTrial]) -> list[str]:
    """Hyperparameters with more than one value in at least so many trials, in their usual order."""
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


def _bins(values: Sequence[Value]) -> list[NDArray[np.int64]]:
    """Rows by value; many different numbers by sixths."""
    distinct = set(values)
    numeric = all(isinstance(v, int | float) for v in distinct)
    if len(distinct) <= BINS or not numeric:
        array = np.array([str(value) for value in values])
        return [np.flatnonzero(array == str(value)) for value in sorted(distinct, key=str)]
    order = np.argsort(np.array([float(v) for v in values]), kind="stable")
    return [part for part in np.array_split(order, BINS) if len(part)]


def slices(judged: Mapping[str, Sequence[ScoredTrial]], without: Iterable[str]) -> list[Slices]:
    """One entry for every tuned number among them not in `without`, shared ones first."""
    found: dict[str, list[Slice]] = defaultdict(list)
    for name, trials in judged.items():
        for key in _tuned(trials):
            values = [t.values[key] for t in trials if key in t.values]
            if key not in without and len(set(values)) > 2 and all(map(_is_number, values)):
                found[key].append(_slice(name, key, trials))
    ordered = sorted(found, key=lambda key: -len(found[key]))
    return [_scaled(key, found[key]) for key in ordered]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _slice(name: str, key: str, trials: Sequence[ScoredTrial]) -> Slice:
    having = [t for t in trials if key in t.values]
    values = np.array([float(t.values[key]) for t in having])
    beaten = np.array([t.beaten for t in having])
    groups = _bins(values.tolist())
    groups.sort(key=lambda group: float(np.median(values[group])))
    return Slice(
        name,
        np.array([np.median(values[group]) for group in groups]),
        np.array([beaten[group].mean() for group in groups]),
    )


def _scaled(key: str, lines: Sequence[Slice]) -> Slices:
    values = np.concatenate([line.values for line in lines])
    if values.min() > 0.4 and values.max() < 1:  # an average's memory: what matters is 1 - X
        lines = [line._replace(values=1 - line.values) for line in lines]
        return Slices(f"1 - {key}", True, tuple(lines))
    return Slices(key, bool(values.min() > 0 and values.max() / values.min() > 30), tuple(lines))


def parallel(
    meta: StudyMeta, records: Iterable[TrialRecord]
) -> tuple[tuple[ParallelAxis, ...], tuple[Parallel, ...]]:
    """Axes and lines; empty where fewer than two hyperparameters are shared and tuned."""
    guess = chance(meta.metric, meta.class_counts)
    grouped: dict[str, list[TrialRecord]] = {name: [] for name in meta.optimizers}
    for record in last_rungs(r for r in records if r.phase is Phase.SEARCH):
        if record.status is not TrialStatus.FAILED:
            grouped.setdefault(record.optimizer, []).append(record)
    grouped = {name: runs for name, runs in grouped.items() if len(runs) >= FEWEST}
    every = [run for runs in grouped.values() for run in runs]
    if not every:
        return (), ()
    shared = [
        key
        for key in every[0].hyperparameters
        if all(key in run.hyperparameters for run in every)
        and len({run.hyperparameters[key] for run in every}) > 1
    ]
    if len(shared) < 2:
        return (), ()
    scaled = [_axis(key, [run.hyperparameters[key] for run in every]) for key in shared]
    places = np.column_stack([places for _, places in scaled])
    scores = np.array([score(run, guess) for run in every])
    lines, start = [], 0
    for name, runs in grouped.items():
        rows = slice(start, start + len(runs))
        start += len(runs)
        best = np.zeros(len(runs), bool)
        best[np.argsort(-scores[rows], kind="stable")[: max(3, round(BEST * len(runs)))]] = True
        table = np.column_stack([places[rows], np.clip(scores[rows], 0, 1)])
        lines.append(Parallel(name, table, best))
    short = meta.metric_words if meta.metric == ACCURACY else SHORT[meta.metric]
    value = ParallelAxis(short, "0 %", "100 %")
    return (*(axis for axis, _ in scaled), value), tuple(lines)


def _axis(key: str, values: Sequence[Value]) -> tuple[ParallelAxis, Float[np.ndarray, "..."]]:
    distinct = set(values)
    if not all(_is_number(v) for v in distinct) or len(distinct) <= BINS:
        numeric = all(_is_number(v) for v in distinct)
        ordered = sorted(distinct, key=float if numeric else str)
        step = 1 / max(len(ordered) - 1, 1)
        places = np.array([ordered.index(value) * step for value in values])
        return ParallelAxis(key, str(ordered[0]), str(ordered[-1])), places
    numbers = np.array([float(value) for value in values])
    low, high = float(numbers.min()), float(numbers.max())
    axis = ParallelAxis(key, f"{low:.2g}", f"{high:.2g}")
    if low > 0 and high / low > 30:
        numbers, low, high = np.log(numbers), math.log(low), math.log(high)
    return axis, (numbers - low) / (high - low)
