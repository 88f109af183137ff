"""What the search trials tell: sensitivity, what tuning gains, what it costs."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.common.aliases import Numbers, Value
from study.records.outcomes import chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row, last_rungs

BUDGET_POINTS = 60


class Sensitivity(NamedTuple):
    """Search trials of one optimizer, each array (trials,), failed ones left out."""

    optimizer: str
    learning_rate: Numbers
    value: Numbers  # on validation rows, by the study's metric
    whole: NDArray[np.bool_]  # trained as long as the longest; others were stopped early
    diverged: NDArray[np.bool_]


class Gain(NamedTuple):
    """What tuning changed for one optimizer; NaN where a side is missing."""

    optimizer: str
    default: float  # validation value at Keras's default settings
    tuned: float


class BestSoFar(NamedTuple):
    """Best validation value so far in one optimizer's searches, over its repeats."""

    optimizer: str
    epochs: Numbers  # (points,) spent
    middle: Numbers  # median over repeats; NaN before the first result
    low: Numbers
    high: Numbers
    repeats: Numbers  # (repeats, points)


class Choices(NamedTuple):
    """Best search result of each optimizer for each value of one hyperparameter."""

    hyperparameter: str
    optimizers: tuple[str, ...]
    values: tuple[Value, ...]
    best: Numbers  # (optimizers, values); NaN where never tried
    trials: NDArray[np.int64]  # (optimizers, values)


def sensitivity(meta: StudyMeta, records: Iterable[TrialRecord]) -> list[Sensitivity]:
    """Validation value against learning rate, one entry an optimizer with search trials."""
    guess = chance(meta.metric, meta.class_counts)
    found = []
    for name, trials in _searches(meta, records).items():
        used = [
            (float(rate), score(r, guess), r.epochs, r.status is TrialStatus.DIVERGED)
            for r in trials
            if r.status is not TrialStatus.FAILED
            and isinstance(rate := r.hyperparameters.get("learning_rate"), int | float)
            and rate > 0
        ]
        if used:
            rates, values, epochs, diverged = map(np.array, zip(*used, strict=True))
            whole = epochs == epochs.max()
            found.append(Sensitivity(name, rates, values, whole, diverged))
    return found


def gains(meta: StudyMeta, rows: Iterable[Row], records: Iterable[TrialRecord]) -> list[Gain]:
    """Default against tuned for the confirmed rows, where default runs exist."""
    guess = chance(meta.metric, meta.class_counts)
    defaults: dict[str, list[float]] = defaultdict(list)
    for record in records:
        if record.phase is Phase.DEFAULT and not math.isnan(value := score(record, guess)):
            defaults[record.optimizer].append(value)
    return [
        Gain(row.optimizer, float(np.mean(defaults[row.optimizer])), row.mean)
        for row in rows
        if row.basis is Phase.CONFIRM and row.optimizer in defaults
    ]


def best_so_far(meta: StudyMeta, records: Iterable[TrialRecord]) -> list[BestSoFar]:
    """Best so far against epochs spent; a rung costs only the epochs that it adds."""
    guess = chance(meta.metric, meta.class_counts)
    runs: dict[str, dict[int, tuple[list[float], list[float]]]] = {}
    for record in records:
        if record.phase is not Phase.SEARCH:
            continue
        spent, best = runs.setdefault(record.optimizer, {}).setdefault(record.repeat, ([], []))
        value = score(record, guess)
        value = guess if math.isnan(value) else value
        cost = max(record.epochs - record.initial_epoch, 0)
        spent.append((spent[-1] if spent else 0) + cost)
        best.append(max(best[-1] if best else value, value))
    return [_best_so_far(name, list(runs[name].values())) for name in _ordered(meta, runs)]


def _best_so_far(name: str, repeats: Sequence[tuple[list[float], list[float]]]) -> BestSoFar:
    end = max(spent[-1] for spent, _ in repeats)
    grid = np.linspace(0, end, min(BUDGET_POINTS, int(end)) + 1)
    table = np.full((len(repeats), len(grid)), np.nan)  # (repeats, points)
    for row, (spent, best) in zip(table, repeats, strict=True):
        place = np.searchsorted(spent, grid, side="right")
        row[:] = np.concatenate(([np.nan], best))[place]
    known = ~np.isnan(table).any(axis=0)  # from here on every repeat has a result
    middle, low, high = (np.full(len(grid), np.nan) for _ in range(3))
    middle[known] = np.median(table[:, known], axis=0)
    low[known], high[known] = table[:, known].min(axis=0), table[:, known].max(axis=0)
    return BestSoFar(name, grid, middle, low, high, table)


def choices(meta: StudyMeta, records: Iterable[TrialRecord], key: str) -> Choices | None:
    """Best value by optimizer and value of `key`; None where fewer than two values occur."""
    guess = chance(meta.metric, meta.class_counts)
    scores: dict[tuple[str, Value], list[float]] = defaultdict(list)
    for name, trials in _searches(meta, records).items():
        for trial in trials:
            value = score(trial, guess)
            if key in trial.hyperparameters and not math.isnan(value):
                scores[name, trial.hyperparameters[key]].append(value)
    values = {value for _, value in scores}
    if len(values) < 2:
        return None
    numeric = all(isinstance(value, int | float) for value in values)
    ordered = sorted(values, key=float if numeric else str)
    names = [name for name in meta.optimizers if any(name == key for key, _ in scores)]
    best = [[max(scores.get((n, v), []), default=math.nan) for v in ordered] for n in names]
    counts = [[len(scores.get((n, v), [])) for v in ordered] for n in names]
    return Choices(key, tuple(names), tuple(ordered), np.array(best), np.array(counts))


def _searches(meta: StudyMeta, records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """The last rung of every search trial, by optimizer, in the order of the search space."""
    grouped: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in last_rungs(r for r in records if r.phase is Phase.SEARCH):
        grouped[record.optimizer].append(record)
    return {name: grouped[name] for name in _ordered(meta, grouped)}


def _ordered(meta: StudyMeta, names: Iterable[str]) -> list[str]:
    known = list(dict.fromkeys(names))
    first = [name for name in meta.optimizers if name in known]
    return first + [name for name in known if name not in first]
