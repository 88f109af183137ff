"""Runs of studies on the same splits -> what the choices that every study makes are worth.

One study is enough to compare their levels, repeat by repeat: at which epoch a winner is taken, how
much is searched, the schedule, and the dense width. The epoch that is best on validation images is
judged on others (cross-fitted), the last one needs no choice. A budget is judged by what the search
had found by then, trained again on other splits. A value of a hyperparameter is judged by the upper
quartile of the trials that had it, after their last epochs: the best of them would owe most to
chance and to their number, the mean to values that no search would choose. Trials that diverged are
left out, because they tell mostly of their learning rates. That needs random search: Hyperband
trains to the end only what did well.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from study.common.aliases import Value
from study.common.text import number
from study.compare.choices import Levels
from study.compare.data_sets import Block
from study.records.outcomes import (
    BUDGETS,
    by_optimizer,
    confirmation_runs,
    converged,
    value,
)
from study.records.trial_record import Phase, TrialRecord
from study.report.analysis.search_trials import TYPICAL, confirmed_budgets
from study.report.analysis.summary import Summary

EPOCH, BUDGET, SCHEDULE, WIDTH = "epoch", "search budget", "schedule", "dense width"
ALWAYS = (EPOCH, BUDGET, SCHEDULE, WIDTH)
EPOCHS = ("best on validation", "last")
PARTS = {0.125: "an eighth", 0.25: "a quarter", 0.5: "half", 1.0: "whole"}
FEWEST_TRIALS = 2  # of one value in one repeat of an optimizer

Table = Float[np.ndarray, "L R"]
Cell = Callable[[Summary, list[TrialRecord]], list[float]]  # one optimizer and repeat -> (L,)


def choices_inside(block: Block) -> Iterator[Levels]:
    """Yield epoch, search budget, schedule and dense width, each if the studies can compare it."""
    yield from _levels(block, EPOCH, EPOCHS, _by_epoch)
    if any(r.phase is Phase.BUDGET for study in block.studies for r in study.records):
        yield from _levels(block, BUDGET, tuple(PARTS.values()), _by_budget)
    if any(study.meta.settings["tuner"] != "random" for study in block.studies):
        return
    for choice, key in ((SCHEDULE, "schedule"), (WIDTH, "dense_width")):
        values = _tried(block, key)
        if len(values) > 1:
            texts = tuple(number(value) for value in values)
            yield from _levels(block, choice, texts, partial(_by, key, values))


def _tried(block: Block, key: str) -> list[Value]:
    """Return the values of a set of choices that every study of the block searched."""
    found = [
        {
            record.hyperparameters[key]
            for record in converged(whole_trials(study, study.records))
            if key in record.hyperparameters
        }
        for study in block.studies
    ]
    values = set.intersection(*found)
    numeric = all(isinstance(value, int | float) for value in values)
    few = len(values) <= len(PARTS) * 2  # a range has as many values as trials
    return sorted(values, key=float if numeric else str) if few else []


def whole_trials(study: Summary, records: Iterable[TrialRecord]) -> Iterator[TrialRecord]:
    """Yield the search trials among a study's records that were trained for all epochs."""
    for record in records:
        whole = record.epochs == study.meta.settings["max_epochs"]
        if record.phase is Phase.SEARCH and whole:
            yield record


def _by_epoch(study: Summary, records: list[TrialRecord]) -> list[float]:
    runs = [r for r in converged(confirmation_runs(records)) if r.measured.cross_fitted is not None]
    if not runs:
        return [math.nan] * len(EPOCHS)
    last = [run.measured.validation[-1] for run in runs]
    return [float(np.mean([value(run) for run in runs])), float(np.mean(last))]


def _by_budget(study: Summary, records: list[TrialRecord]) -> list[float]:
    return confirmed_budgets(records, (*BUDGETS, 1.0))[0]


def _by(
    key: str, values: Sequence[Value], study: Summary, records: list[TrialRecord]
) -> list[float]:
    found = []
    trials = converged(whole_trials(study, records))
    for one in values:
        own = (trial for trial in trials if trial.hyperparameters.get(key) == one)
        known = [trial.measured.validation[-1] for trial in own]
        enough = len(known) >= FEWEST_TRIALS
        found.append(float(np.quantile(known, TYPICAL)) if enough else math.nan)
    return found


def _levels(block: Block, choice: str, levels: tuple[str, ...], cell: Cell) -> Iterator[Levels]:
    """Yield the mean over optimizers and studies; an optimizer counts where it has all levels.

    Only epochs are compared on winners, which share little with other studies; see `set_bounds`.
    """
    tables = []  # (L, R) each
    for study in block.studies:
        grouped = by_optimizer(block.optimizers, study.records)
        cells = np.full((len(block.optimizers), block.repeats, len(levels)), math.nan)
        for place, name in enumerate(block.optimizers):
            repeats: dict[int, list[TrialRecord]] = {}
            for record in sorted(grouped.get(name, []), key=lambda one: one.trial_id):
                repeats.setdefault(record.repeat, []).append(record)
            for repeat, records in repeats.items():
                if repeat < block.repeats:
                    cells[place, repeat] = cell(study, records)
        whole = np.isfinite(cells).all(axis=2, keepdims=True)  # (K, R, 1)
        counts = whole.sum(axis=0)
        sums = np.where(whole, cells, 0.0).sum(axis=0)  # (R, L)
        tables.append(np.where(counts > 0, sums / np.maximum(counts, 1), math.nan).T)
    table: Table = np.mean(tables, axis=0)
    if np.isfinite(table).any():
        first, *others = block.optimizers
        over = f"mean of up to {1 + len(others)} optimizers" if others else first
        yield Levels(choice, levels, table, over, same_draws=choice != EPOCH)
