"""Runs -> sensitivity, the gain and the cost of tuning, incumbents, robustness, time to target.

The best trial of a search is picked by a noisy value, so its own value is too high. What a search
would have reached with a smaller budget is therefore taken from the incumbents: what it had found
after a fraction of its epochs was trained again to the end, on rows that the search had not judged
it by, and is compared with the same bounds as the winners are.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from study.common.aliases import Value
from study.records.outcomes import (
    BUDGETS,
    by_optimizer,
    chance,
    confirmation_runs,
    converged,
    incumbent,
    score,
    value,
)
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row, last_rungs, mean_interval
from study.verdicts.answer import Answer, share_interval
from study.verdicts.judge import at_most_behind
from study.verdicts.results import value_step

BUDGET_POINTS = 60
LOW = 0.1  # quantile that stands for a bad draw
TYPICAL = 0.75  # quantile that stands for a good trial: the best of many owes most to chance
FEWEST = 5  # draws that a median needs
MOST_CHOICES = 20  # values of one hyperparameter that a table has room for


class Sensitivity(NamedTuple):
    """Search trials of one optimizer, without failed ones."""

    optimizer: str
    learning_rate: Float[np.ndarray, " trials"]
    value: Float[np.ndarray, " trials"]  # on validation rows, by the study's metric
    whole: Bool[np.ndarray, " trials"]  # trained as long as the longest; others stopped early
    diverged: Bool[np.ndarray, " trials"]


class Gain(NamedTuple):
    """Mean validation values of one optimizer, both adjusted to the leader's repeats."""

    optimizer: str
    default: float
    tuned: float


class BestSoFar(NamedTuple):
    """Best validation value so far in one optimizer's searches; NaN before the first result."""

    optimizer: str
    epochs: Float[np.ndarray, " points"]  # spent by the search
    middle: Float[np.ndarray, " points"]  # median over repeats
    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]
    repeats: Float[np.ndarray, "repeats points"]


class Choices(NamedTuple):
    """What good full-length trials reach for each value of one hyperparameter."""

    hyperparameter: str
    optimizers: tuple[str, ...]
    values: tuple[Value, ...]
    typical: Float[np.ndarray, "optimizers values"]  # upper quartile; NaN without a trial
    trials: Int[np.ndarray, "optimizers values"]


class Incumbents(NamedTuple):
    """What the searches had found after fractions of their budgets, confirmed."""

    optimizers: tuple[str, ...]
    epochs: Float[np.ndarray, "K budgets"]  # spent by the search
    value: Float[np.ndarray, "K budgets"]  # mean over repeats; NaN where none converged
    reach: Float[np.ndarray, "K budgets"]  # half the 95 % interval of the gap to the whole budget
    at_most_behind: Float[np.ndarray, "K budgets"]  # the best at that budget; NaN: unknown
    repeats: int


class Robustness(NamedTuple):
    """How good random configurations of one optimizer are, and how soon a run gets there.

    NaN where nothing is known.
    """

    optimizer: str
    draws: int  # configurations drawn at random and trained to the end
    median: float  # their median validation value; a diverged one scores at chance
    low: float  # their 10 % quantile
    settings: int  # all configurations drawn at random, also those that Hyperband stopped early
    diverged: int
    diverged_low: float  # 95 % interval of the share that diverges
    diverged_high: float
    epochs: float  # mean, until a confirmation run is within the margin of its own best value
    seconds: float  # the time that these epochs take


class Target(NamedTuple):
    """How soon confirmation runs reach a target."""

    value: float  # the leader's mean less the margin
    optimizers: tuple[str, ...]
    share: Float[np.ndarray, "K epochs"]  # of all runs, that have reached it by then


def sensitivity(meta: StudyMeta, records: Iterable[TrialRecord]) -> list[Sensitivity]:
    """Return validation values by learning rate for each optimizer with search trials."""
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
            found.append(Sensitivity(name, rates, values, epochs == epochs.max(), diverged))
    return found


def _searches(meta: StudyMeta, records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Return the last rung of every search trial, by optimizer."""
    search = (record for record in records if record.phase is Phase.SEARCH)
    return by_optimizer(meta.optimizers, last_rungs(search))


def gains(meta: StudyMeta, rows: Iterable[Row], records: Iterable[TrialRecord]) -> list[Gain]:
    """Return the gain of each optimizer over the repeats with default and confirmation runs."""
    guess = chance(meta.metric, meta.class_counts)
    defaults: dict[str, dict[int, float]] = defaultdict(dict)
    for record in records:
        if record.phase is Phase.DEFAULT and not math.isnan(value := score(record, guess)):
            defaults[record.optimizer][record.repeat] = value
    found = []
    for row in rows:
        untuned = defaults[row.optimizer]
        both = untuned.keys() & row.by_repeat.keys()
        if row.basis is Phase.CONFIRM and both:
            gained = float(np.mean([row.by_repeat[repeat] - untuned[repeat] for repeat in both]))
            default = float(
                np.clip(row.mean - gained, min(untuned.values()), max(untuned.values()))
            )
            found.append(Gain(row.optimizer, default, row.mean))
    return found


def best_so_far(meta: StudyMeta, records: Iterable[TrialRecord]) -> list[BestSoFar]:
    """Return the best value so far by epochs spent; a rung costs only the epochs that it adds."""
    guess = chance(meta.metric, meta.class_counts)
    search = (record for record in records if record.phase is Phase.SEARCH)
    found = []
    for name, runs in by_optimizer(meta.optimizers, search).items():
        repeats: dict[int, list[TrialRecord]] = defaultdict(list)
        for record in runs:
            repeats[record.repeat].append(record)
        found.append(_best_so_far(name, list(repeats.values()), guess))
    return found


def _best_so_far(name: str, repeats: Sequence[Sequence[TrialRecord]], guess: float) -> BestSoFar:
    spent = [np.cumsum([max(r.epochs - r.initial_epoch, 0) for r in runs]) for runs in repeats]
    end = max(epochs[-1] for epochs in spent)
    grid = np.linspace(0, end, min(BUDGET_POINTS, int(end)) + 1)
    table = np.empty((len(repeats), len(grid)))
    for row, epochs, runs in zip(table, spent, repeats, strict=True):
        scores = np.nan_to_num([score(run, guess) for run in runs], nan=guess)
        best = np.concatenate(([math.nan], np.maximum.accumulate(scores)))
        row[:] = best[np.searchsorted(epochs, grid, side="right")]
    middle, low, high = np.median(table, axis=0), table.min(axis=0), table.max(axis=0)
    return BestSoFar(name, grid, middle, low, high, table)


def choices(meta: StudyMeta, records: Iterable[TrialRecord], key: str) -> Choices | None:
    """Return typical values by optimizer and value of `key`; None for one value, and for many."""
    guess = chance(meta.metric, meta.class_counts)
    scores: dict[tuple[str, Value], list[float]] = defaultdict(list)
    for name, trials in _searches(meta, records).items():
        longest = max(trial.epochs for trial in trials)
        for trial in trials:
            value = score(trial, guess)
            if key in trial.hyperparameters and not math.isnan(value):
                cell = scores[name, trial.hyperparameters[key]]
                cell += [value] if trial.epochs == longest else []
    values = {value for _, value in scores}
    if not 2 <= len(values) <= MOST_CHOICES:
        return None
    numeric = all(isinstance(value, int | float) for value in values)
    ordered = sorted(values, key=float if numeric else str)
    names = [name for name in meta.optimizers if any(name == other for other, _ in scores)]
    cells = [[scores.get((name, value), []) for value in ordered] for name in names]
    typical = [[np.quantile(c, TYPICAL) if c else math.nan for c in row] for row in cells]
    counts = np.array([[len(cell) for cell in row] for row in cells])
    return Choices(key, tuple(names), tuple(ordered), np.array(typical), counts)


def confirmed_incumbents(
    meta: StudyMeta, rows: Sequence[Row], records: Sequence[TrialRecord]
) -> Incumbents | None:
    """Return the incumbents over the first look's repeats; None if the study confirmed none."""
    if not any(record.phase is Phase.BUDGET for record in records):
        return None
    look = meta.looks[0]
    names = tuple(row.optimizer for row in rows if row.basis is Phase.CONFIRM)
    budgets = (*BUDGETS, 1.0)
    grouped: dict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.trial_id):
        grouped[record.optimizer, record.repeat].append(record)
    cells = [
        [confirmed_budgets(grouped[n, r], budgets) for r in range(look.repeats)] for n in names
    ]
    table = np.array([[values for values, _ in row] for row in cells])  # K x repeats x budgets
    spent = np.array([max(total for _, total in row) for row in cells])
    bounds = [
        at_most_behind(table[:, :, place], look, step=value_step(meta))
        for place in range(len(budgets))
    ]
    return Incumbents(
        optimizers=names,
        epochs=spent[:, None] * np.array(budgets),
        value=np.array([[_mean(column) for column in rows.T] for rows in table]),
        reach=np.array([[_reach(rows[:, -1] - column) for column in rows.T] for rows in table]),
        at_most_behind=np.stack(bounds, axis=1),
        repeats=look.repeats,
    )


def confirmed_budgets(
    records: Sequence[TrialRecord], budgets: Sequence[float]
) -> tuple[list[float], int]:
    """Return what a search had found at each budget, trained again, and its whole budget in epochs.

    A configuration is trained again once, at the budget that found it; the winner was confirmed.

    Args:
        records: all of one optimizer in one repeat, by trial id.
        budgets: fractions of the search's epochs.
    """
    trials = [record for record in records if record.phase is Phase.SEARCH]
    total = sum(record.epochs - record.initial_epoch for record in trials)
    known = [
        record
        for record in records
        if record.phase is Phase.BUDGET or (record.phase is Phase.CONFIRM and record.confirm == 0)
    ]
    values = []
    for budget in budgets:
        found = incumbent(trials, budget * total)
        runs = [r for r in known if found and r.hyperparameters == found.hyperparameters]
        values += [value(run) for run in converged(runs[-1:])] or [math.nan]
    return values, total


def _reach(gaps: Float[np.ndarray, " repeats"]) -> float:
    low, high = mean_interval(gaps[np.isfinite(gaps)])
    return (high - low) / 2


def _mean(values: Float[np.ndarray, " repeats"]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def robustness(
    meta: StudyMeta, rows: Sequence[Row], records: Iterable[TrialRecord], margin: float
) -> list[Robustness]:
    """Return the robustness of each row; `margin` is a fraction.

    Only these tuners draw at random: others propose by results, or by a grid.
    """
    guess = chance(meta.metric, meta.class_counts)
    grouped = by_optimizer(meta.optimizers, records)
    random = meta.settings["tuner"] in ("hyperband", "random")
    return [
        _robustness(row.optimizer, grouped[row.optimizer], guess, margin, random=random)
        for row in rows
    ]


def _robustness(
    name: str, records: Sequence[TrialRecord], guess: float, margin: float, *, random: bool
) -> Robustness:
    trials = [
        record
        for record in records
        if random and record.phase is Phase.SEARCH and record.status is not TrialStatus.FAILED
    ]
    drawn = [record for record in trials if record.continues is None]
    longest = max((record.epochs for record in trials), default=0)
    values = [score(record, guess) for record in drawn if record.epochs == longest]
    lost = sum(record.status is TrialStatus.DIVERGED for record in last_rungs(trials))
    low, high = share_interval(lost, len(drawn)) if drawn else (math.nan, math.nan)
    runs = converged(record for record in records if record.phase is Phase.CONFIRM)
    epochs = [_epochs_to_margin(run, margin) for run in runs]
    times = [run.seconds * epoch / run.epochs for run, epoch in zip(runs, epochs, strict=True)]
    return Robustness(
        optimizer=name,
        draws=len(values),
        median=float(np.median(values)) if len(values) >= FEWEST else math.nan,
        low=float(np.quantile(values, LOW)) if len(values) >= FEWEST else math.nan,
        settings=len(drawn),
        diverged=lost,
        diverged_low=low,
        diverged_high=high,
        epochs=float(np.mean(epochs)) if epochs else math.nan,
        seconds=float(np.mean(times)) if times else math.nan,
    )


def _epochs_to_margin(record: TrialRecord, margin: float) -> int:
    """Return the first epoch, from 1, whose validation value is within the margin of the best."""
    wanted = record.best_value - margin
    curve = record.measured.validation
    return next(e for e, value in enumerate(curve, start=1) if value >= wanted)


def time_to_target(
    rows: Sequence[Row], records: Sequence[TrialRecord], answer: Answer
) -> Target | None:
    """Return how many of the confirmation runs reach the target, and when; None without a leader.

    A run that diverged never does.
    """
    value = {row.optimizer: row.mean for row in rows}.get(answer.leader, math.nan) - answer.margin
    names = tuple(row.optimizer for row in rows if row.basis is Phase.CONFIRM)
    if math.isnan(value):
        return None
    grouped = by_optimizer(names, confirmation_runs(records))
    longest = max(len(run.measured.validation) for runs in grouped.values() for run in runs)
    share = [_share_reached(grouped[name], value, longest) for name in names]
    return Target(value, names, np.array(share))


def _share_reached(
    runs: Sequence[TrialRecord], target: float, epochs: int
) -> Float[np.ndarray, " epochs"]:
    reached = np.zeros((len(runs), epochs), bool)
    for row, run in zip(reached, runs, strict=True):
        curve = np.array(run.measured.validation)
        row[: len(curve)] = (run.status is TrialStatus.COMPLETED) & (curve >= target)
    return np.asarray(np.logical_or.accumulate(reached, axis=1).mean(axis=0))
