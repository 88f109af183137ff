"""What the search trials tell: sensitivity, what tuning gains, what it costs.

Confirmed incumbents: what each optimizer reaches if its search had stopped earlier.

The best trial of a search is picked by a noisy value, so its own value is too high. Here what the
search had found at B/8, B/4, B/2 and B epochs was trained again, whole, on rows that the search had
not judged it by, and is compared with the same bounds as the winners are.

What an optimizer asks of its user: how good random settings are, how soon a run is there.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from study.common.aliases import Value
from study.records.outcomes import BUDGETS, chance, converged, incumbent, score, value
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row, last_rungs
from study.verdicts.answer import share_interval
from study.verdicts.judge import at_most_behind
from study.verdicts.results import value_step

BUDGET_POINTS = 60

LOW = 0.1  # the quantile that says what a bad draw gives
FEWEST = 5  # draws that tell anything


class Sensitivity(NamedTuple):
    """Search trials of one optimizer, each array (trials,), failed ones left out."""

    optimizer: str
    learning_rate: Float[np.ndarray, "..."]
    value: Float[np.ndarray, "..."]  # on validation rows, by the study's metric
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
    epochs: Float[np.ndarray, " points"]  # spent
    middle: Float[np.ndarray, "..."]  # median over repeats; NaN before the first result
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]
    repeats: Float[np.ndarray, "repeats points"]


class Choices(NamedTuple):
    """Best search result of each optimizer for each value of one hyperparameter."""

    hyperparameter: str
    optimizers: tuple[str, ...]
    values: tuple[Value, ...]
    best: Float[np.ndarray, "optimizers values"]  # NaN where never tried
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


class Incumbents(NamedTuple):
    """What the searches had found at parts of their budgets, rerun; rows are optimizers (K)."""

    optimizers: tuple[str, ...]
    epochs: Float[np.ndarray, "K parts"]  # spent by the search
    value: Float[np.ndarray, "K parts"]  # mean over repeats; NaN where none converged
    at_most_behind: Float[np.ndarray, "K parts"]  # the best at that budget; NaN: unknown
    repeats: int


def confirmed_incumbents(
    meta: StudyMeta, rows: Sequence[Row], records: Sequence[TrialRecord]
) -> Incumbents | None:
    """Over the first look's repeats; None where a study has not rerun any."""
    if not any(record.phase is Phase.BUDGET for record in records):
        return None
    look = meta.looks[0]
    names = tuple(row.optimizer for row in rows if row.basis is Phase.CONFIRM)
    parts = (*BUDGETS, 1.0)
    grouped: dict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.trial_id):
        grouped[record.optimizer, record.repeat].append(record)
    cells = [[_reruns(grouped[name, r], parts) for r in range(look.repeats)] for name in names]
    table = np.array([[values for values, _ in row] for row in cells])  # (K, repeats, parts)
    spent = np.array([max(total for _, total in row) for row in cells])
    bounds = [
        at_most_behind(table[:, :, place], look, step=value_step(meta))
        for place in range(len(parts))
    ]
    return Incumbents(
        optimizers=names,
        epochs=spent[:, None] * np.array(parts),
        value=np.array([[_mean(column) for column in rows.T] for rows in table]),
        at_most_behind=np.stack(bounds, axis=1),
        repeats=look.repeats,
    )


def _reruns(records: Sequence[TrialRecord], parts: Sequence[float]) -> tuple[list[float], int]:
    """What a search had found at each part of its budget, rerun; and its whole budget.

    A setting is rerun once, at the part that found it; the winner was confirmed.
    """
    trials = [record for record in records if record.phase is Phase.SEARCH]
    total = sum(record.epochs - record.initial_epoch for record in trials)
    known = [
        record
        for record in records
        if record.phase is Phase.BUDGET or (record.phase is Phase.CONFIRM and record.confirm == 0)
    ]
    values = []
    for part in parts:
        found = incumbent(trials, part * total)
        reruns = [r for r in known if found and r.hyperparameters == found.hyperparameters]
        values.append(_value(reruns[-1]) if reruns else math.nan)
    return values, total


def _value(record: TrialRecord) -> float:
    return value(record) if record.status is TrialStatus.COMPLETED else math.nan


def _mean(values: Float[np.ndarray, "..."]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


class Robustness(NamedTuple):
    """One optimizer; NaN where nothing is known."""

    optimizer: str
    draws: int  # settings drawn at random and trained whole
    median: float  # validation value of such a one; a diverged one guesses
    low: float  # its 10 % quantile
    settings: int  # all that were drawn at random, also those that Hyperband stopped early
    diverged: int
    diverged_low: float  # 95 % interval of the share
    diverged_high: float
    epochs: float  # until the tuned winner is within the margin of its own best value, mean
    seconds: float  # that these take


def robustness(
    meta: StudyMeta, rows: Sequence[Row], records: Iterable[TrialRecord], margin: float
) -> list[Robustness]:
    """One entry a row; `margin` is a fraction. A tuner that proposes by results draws nothing."""
    guess = chance(meta.metric, meta.class_counts)
    searched: dict[str, list[TrialRecord]] = defaultdict(list)
    confirmed: dict[str, list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.phase is Phase.CONFIRM:
            confirmed[record.optimizer].append(record)
        elif record.phase is Phase.SEARCH and record.status is not TrialStatus.FAILED:
            searched[record.optimizer].append(record)
    random = meta.settings["tuner"] in ("hyperband", "random")
    return [
        _of(row.optimizer, searched[row.optimizer] if random else [],
            converged(confirmed[row.optimizer]), guess, margin)
        for row in rows
    ]  # fmt: skip


def _of(
    name: str, trials: Sequence[TrialRecord], reruns: Sequence[TrialRecord], guess: float,
    margin: float,
) -> Robustness:  # fmt: skip
    drawn = [record for record in trials if record.continues is None]
    longest = max((record.epochs for record in trials), default=0)
    values = [score(record, guess) for record in drawn if record.epochs == longest]
    enough = len(values) >= FEWEST
    lost = sum(record.status is TrialStatus.DIVERGED for record in drawn)
    low, high = share_interval(lost, len(drawn)) if drawn else (math.nan, math.nan)
    soon = [_within(record, margin) for record in reruns]
    times = [
        record.seconds * epoch / record.epochs for record, epoch in zip(reruns, soon, strict=True)
    ]
    return Robustness(
        optimizer=name,
        draws=len(values),
        median=float(np.median(values)) if enough else math.nan,
        low=float(np.quantile(values, LOW)) if enough else math.nan,
        settings=len(drawn),
        diverged=lost,
        diverged_low=low,
        diverged_high=high,
        epochs=float(np.mean(soon)) if soon else math.nan,
        seconds=float(np.mean(times)) if times else math.nan,
    )


def _within(record: TrialRecord, margin: float) -> int:
    """The first epoch, from 1, whose validation value is within the margin of the best one."""
    wanted = record.best_value - margin
    curve = record.measured.validation
    return next(e for e, value in enumerate(curve, start=1) if value >= wanted)
