"""The winner of each optimizer: its hyperparameters, its learning curves, where it is mistaken."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from study.common.aliases import Numbers, Value
from study.records.records import Phase, StudyMeta, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row, chance, last_rungs, score, winner_runs
from study.report.analysis.wording import number


class Settings(NamedTuple):
    """The hyperparameters to use, and what the other repeats' searches found."""

    optimizer: str
    repeat: int  # the repeat whose winner this is: the one with the best confirmation
    values: Mapping[str, Value]
    others: Mapping[
        str, str
    ]  # hyperparameter -> "0.001 to 0.004" or "cosine, linear", where repeats differ
    by_repeat: Mapping[int, Mapping[str, Value]]
    epochs: int  # that the best one was trained for


class Band(NamedTuple):
    """One curve over several runs, each array (epochs,); NaN where no run has a finite value."""

    mean: Numbers
    low: Numbers  # lowest run
    high: Numbers


class Curves(NamedTuple):
    """Learning curves of one optimizer's winner; epochs count from 1."""

    optimizer: str
    basis: Phase
    runs: int
    accuracy: Band
    val_accuracy: Band
    loss: Band
    val_loss: Band


def best_settings(
    meta: StudyMeta, rows: Iterable[Row], records: Iterable[TrialRecord]
) -> list[Settings]:
    """The winning hyperparameters of each row, in the order of the rows."""
    guess = chance(meta)
    grouped = _by_optimizer(records)
    found = []
    for row in rows:
        winners = _repeat_winners(grouped.get(row.optimizer, []), guess)
        if not winners:
            continue
        best = max(
            winners,
            key=lambda repeat: (row.by_repeat.get(repeat, -1.0), score(winners[repeat], guess)),
        )
        by_repeat = {repeat: run.hyperparameters for repeat, run in sorted(winners.items())}
        keys = dict.fromkeys(key for values in by_repeat.values() for key in values)
        others = {key: _range(key, list(by_repeat.values())) for key in keys}
        found.append(
            Settings(
                row.optimizer,
                best,
                winners[best].hyperparameters,
                {key: text for key, text in others.items() if text},
                by_repeat,
                winners[best].epochs,
            )
        )
    return found


def _by_optimizer(records: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    grouped: dict[str, list[TrialRecord]] = {}
    for record in records:
        grouped.setdefault(record.optimizer, []).append(record)
    return grouped


def _repeat_winners(records: Sequence[TrialRecord], guess: float) -> dict[int, TrialRecord]:
    """Repeat -> the run that won its search: what was confirmed, else the best of the search."""
    alive = [r for r in records if r.status is not TrialStatus.FAILED]
    winners: dict[int, TrialRecord] = {}
    for phase in (Phase.CONFIRM, Phase.SEARCH, Phase.DEFAULT):
        chosen = [r for r in alive if r.phase is phase]
        if phase is Phase.SEARCH:
            chosen = sorted(last_rungs(chosen), key=lambda r: -score(r, guess))
        if phase is Phase.DEFAULT and winners:
            break
        for record in chosen:
            winners.setdefault(record.repeat, record)
    return winners


def _range(key: str, settings: Sequence[Mapping[str, Value]]) -> str:
    values = [table[key] for table in settings if key in table]
    if len({number(v) for v in values}) < 2:
        return ""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return f"{number(min(values, key=float))} to {number(max(values, key=float))}"
    return ", ".join(sorted({number(v) for v in values}))


def winner_curves(
    meta: StudyMeta, rows: Iterable[Row], records: Iterable[TrialRecord]
) -> list[Curves]:
    """Mean and band of every winner's runs, in the order of the rows; none without an epoch."""
    grouped = _by_optimizer(records)
    found = []
    for row in rows:
        basis, used = winner_runs(grouped.get(row.optimizer, []), chance(meta))
        runs = [r for r in used if r.status is TrialStatus.COMPLETED] or used
        if not any(math.isfinite(value) for r in runs for value in r.val_accuracy):
            continue
        bands = (
            _band([getattr(r, curve) for r in runs])
            for curve in ("accuracy", "val_accuracy", "loss", "val_loss")
        )
        found.append(Curves(row.optimizer, basis, len(runs), *bands))
    return found


def _band(runs: Sequence[Sequence[float]]) -> Band:
    """Mean, lowest and highest a epoch, as long as at least half of the runs go on.

    Repeats may select different numbers of epochs; a mean of the few longest would jump.
    """
    lengths = sorted(map(len, runs))
    epochs = lengths[len(lengths) // 2]
    table = np.full((len(runs), epochs), np.nan)  # (runs, epochs)
    for row, run in zip(table, runs, strict=True):
        row[: len(run)] = run[:epochs]
    table[~np.isfinite(table)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch without a finite value stays NaN
        return Band(np.nanmean(table, axis=0), np.nanmin(table, axis=0), np.nanmax(table, axis=0))


def evaluation_line(row: Row) -> str:
    """What `model.evaluate` would say after the last epoch, as the mean over the winner's runs."""
    runs = len(row.runs)
    over = f" (mean of {runs} runs)" if runs > 1 else ""
    return (
        f"{row.optimizer}: val_loss {row.last_loss:.3f}, val_accuracy {row.last_accuracy:.3f}{over}"
    )


def expected_error(accuracy: float, images: int) -> float:
    """Standard error of a proportion measured on so many images."""
    return math.sqrt(max(accuracy * (1 - accuracy), 0.0) / max(images, 1))
