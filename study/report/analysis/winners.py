"""Records -> the winner of each optimizer: its hyperparameters and its learning curves."""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.common.aliases import Value
from study.common.metrics import ACCURACY
from study.common.text import number
from study.records.outcomes import (
    TrainingLength,
    by_optimizer,
    confirmation_runs,
    search_winner,
    training_length,
    winning_run,
)
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row, winner_runs


class WinnerSettings(NamedTuple):
    """The hyperparameters to use, and what the searches of other repeats found."""

    optimizer: str
    run: TrialRecord  # whose head is in `best/`; before the confirmation the best run so far
    length: TrainingLength  # of the head in `best/`
    others: Mapping[str, str]  # where repeats differ: key -> "0.001 to 0.004", "cosine, linear"
    by_repeat: Mapping[int, Mapping[str, Value]]

    @property
    def values(self) -> Mapping[str, Value]:
        """The hyperparameters to use."""
        return self.run.hyperparameters


class Band(NamedTuple):
    """One curve over several runs; NaN where no run has a finite value."""

    mean: Float[np.ndarray, " epochs"]
    low: Float[np.ndarray, " epochs"]  # lowest run
    high: Float[np.ndarray, " epochs"]


class Curves(NamedTuple):
    """Learning curves of one optimizer's winner."""

    optimizer: str
    basis: Phase
    runs: int
    value: Band  # by the study's metric
    val_value: Band
    loss: Band
    val_loss: Band


def best_settings(
    meta: StudyMeta, rows: Iterable[Row], records: Iterable[TrialRecord]
) -> list[WinnerSettings]:
    """Return the winning hyperparameters of each row that has some."""
    grouped = by_optimizer(meta.optimizers, records)
    found = []
    for row in rows:
        own = grouped[row.optimizer]
        winners = _repeat_winners(own)
        best = winning_run(own) or search_winner(winners.values())
        if best is None:
            continue
        by_repeat = {repeat: run.hyperparameters for repeat, run in sorted(winners.items())}
        keys = dict.fromkeys(key for values in by_repeat.values() for key in values)
        spans = {key: _span([v[key] for v in by_repeat.values() if key in v]) for key in keys}
        others = {key: text for key, text in spans.items() if text}
        length = training_length(best, own)
        found.append(WinnerSettings(row.optimizer, best, length, others, by_repeat))
    return found


def _repeat_winners(records: Sequence[TrialRecord]) -> dict[int, TrialRecord]:
    """Return by repeat what was confirmed, else the search's winner; without both a default run."""
    winners = {record.repeat: record for record in reversed(confirmation_runs(records))}
    for phase in (Phase.SEARCH, Phase.DEFAULT):
        trials = [record for record in records if record.phase is phase]
        for repeat in sorted({record.repeat for record in trials} - winners.keys()):
            best = search_winner(record for record in trials if record.repeat == repeat)
            if best is not None:
                winners[repeat] = best
        if winners:
            break
    return winners


def _span(values: Sequence[Value]) -> str:
    """Return the range or the list of values; "" where all are equal."""
    if len({number(v, 3) for v in values}) < 2:
        return ""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return f"{number(min(values, key=float), 3)} to {number(max(values, key=float), 3)}"
    return ", ".join(sorted({number(v, 3) for v in values}))


def winner_curves(
    meta: StudyMeta, rows: Iterable[Row], records: Iterable[TrialRecord]
) -> list[Curves]:
    """Return the curves of each row whose winner has a finite value."""
    grouped = by_optimizer(meta.optimizers, records)
    found = []
    for row in rows:
        basis, used = winner_runs(grouped[row.optimizer])
        runs = [r for r in used if r.status is TrialStatus.COMPLETED] or used
        if not any(math.isfinite(value) for r in runs for value in r.measured.validation):
            continue
        kinds = ((r.measured.train, r.measured.validation, r.loss, r.val_loss) for r in runs)
        bands = (_band(curves) for curves in zip(*kinds, strict=True))
        found.append(Curves(row.optimizer, basis, len(runs), *bands))
    return found


def _band(runs: Sequence[Sequence[float]]) -> Band:
    """Return the band of each epoch, as long as at least half of the runs continue.

    Repeats may select different numbers of epochs; a mean of the few longest would jump.
    """
    lengths = sorted(map(len, runs))
    epochs = lengths[len(lengths) // 2]
    table = np.full((len(runs), epochs), np.nan)
    for row, run in zip(table, runs, strict=True):
        row[: len(run)] = run[:epochs]
    table[~np.isfinite(table)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch without a finite value stays NaN
        return Band(np.nanmean(table, axis=0), np.nanmin(table, axis=0), np.nanmax(table, axis=0))


def evaluation_line(row: Row, metric: str = ACCURACY) -> str:
    """Return what `model.evaluate` reports after the last epoch, as the mean over the runs."""
    runs = len(row.runs)
    over = f" (mean of {runs} runs)" if runs > 1 else ""
    return f"{row.optimizer}: val_loss {row.last_loss:.3f}, val_{metric} {row.last_value:.3f}{over}"


def settings_in_words(values: Mapping[str, Value]) -> str:
    """Return what matters most: "learning rate 0.013, linear decay, width 256, dropout 0.3"."""
    rate, schedule = float(values["learning_rate"]), str(values["schedule"])
    decay = f", {schedule.replace('_', ' ')} decay" if schedule != "constant" else ""
    width, dropout = values["dense_width"], float(values["dropout"])
    return f"learning rate {rate:.2g}{decay}, width {width}, dropout {dropout:.2g}"
