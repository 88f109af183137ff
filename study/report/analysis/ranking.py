"""Records -> one row an optimizer: what its winner reaches when it is run again, and what it cost.

What an optimizer's value is, and who wins, is defined in `study.records.outcomes`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from study.records.outcomes import (
    by_optimizer,
    chance,
    confirmation_runs,
    converged,
    mean_of,
    repeat_means,
    score,
    search_winner,
    standing,
)
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.statistics import mean_interval


class Row(NamedTuple):
    """One optimizer. Accuracies are fractions; NaN where nothing is known."""

    optimizer: str
    basis: Phase  # of the runs that `mean` comes from; only CONFIRM is a fair value
    converged: bool  # whether any of those runs did
    by_repeat: Mapping[int, float]  # mean validation accuracy of each repeat's confirmation runs
    runs: Mapping[tuple[int, int], float]  # (repeat, confirm) -> validation accuracy
    mean: float
    low: float  # 95 % interval of the mean, on these images
    high: float
    interval_over: str  # "repeats"; "runs" where there is one repeat; "" without an interval
    spread: float  # standard deviation over the same
    minimum: float  # over single runs
    maximum: float
    train_accuracy: float  # at the best epoch
    test_accuracy: float  # at the best epoch
    val_loss: float  # at the best epoch
    last_accuracy: float  # validation, at the last epoch
    last_loss: float
    best_epoch: float
    trained_epochs: float  # of the runs above
    train_seconds: float  # of one such run
    trials: int  # configurations tried by the search
    epochs: int  # trained by the search in all
    seconds_per_trial: float
    diverged: int  # search trials
    failed: int
    confirm_diverged: int
    search_best: float  # the highest value of the search: optimistic, never ranked by


def overlap(meta: StudyMeta) -> float:
    """Validation rows / training rows, the correction for splits of the same images."""
    return meta.split_sizes.get("validation", 0) / max(meta.split_sizes.get("train", 1), 1)


def accuracy_step(meta: StudyMeta) -> float:
    """Standard deviation of rounding an accuracy to whole validation images."""
    return 1 / (max(meta.split_sizes.get("validation", 1), 1) * math.sqrt(12))


def last_rungs(search: Iterable[TrialRecord]) -> list[TrialRecord]:
    """The last record of each search trial: those that no later rung continues."""
    records = list(search)
    continued = {record.continues for record in records}
    return [record for record in records if record.trial_id not in continued]


def rank(meta: StudyMeta, records: Sequence[TrialRecord]) -> list[Row]:
    """One row for each optimizer with at least one record, confirmed ones first, best first."""
    guess = chance(len(meta.class_names))
    grouped = by_optimizer(meta.optimizers, records)
    rows = [_row(name, found, guess) for name, found in grouped.items()]
    return sorted(
        rows,
        key=lambda row: (row.basis is not Phase.CONFIRM, *standing(row.converged, row.mean)),
    )


def _row(name: str, records: list[TrialRecord], guess: float) -> Row:
    search = [r for r in records if r.phase is Phase.SEARCH]
    ends = last_rungs(search)
    basis, used = winner_runs(records)
    runs = _keyed(used, guess)
    by_repeat = repeat_means(used, guess)
    over = "repeats" if len(by_repeat) > 1 else "runs" if len(runs) > 1 else ""
    values = list(by_repeat.values()) if over == "repeats" else list(runs.values())
    low, high = mean_interval(values)
    spent = sum(r.seconds for r in search)
    return Row(
        optimizer=name,
        basis=basis,
        converged=converged(used),
        by_repeat=by_repeat,
        runs=runs,
        mean=mean_of(by_repeat),
        low=max(low, 0.0) if over else math.nan,  # max(NaN, 0) would be 0
        high=min(high, 1.0) if over else math.nan,
        interval_over=over,
        spread=float(np.std(values, ddof=1)) if over else math.nan,
        minimum=min(runs.values(), default=math.nan),
        maximum=max(runs.values(), default=math.nan),
        train_accuracy=_mean(_at_best(r, r.accuracy) for r in used),
        test_accuracy=_mean(math.nan if r.test_accuracy is None else r.test_accuracy for r in used),
        val_loss=_mean(_at_best(r, r.val_loss) for r in used),
        last_accuracy=_mean(r.val_accuracy[-1] if r.val_accuracy else math.nan for r in used),
        last_loss=_mean(r.val_loss[-1] if r.val_loss else math.nan for r in used),
        best_epoch=_mean(float(r.best_epoch) for r in used),
        trained_epochs=_mean(float(r.epochs) for r in used),
        train_seconds=_mean(r.seconds for r in used),
        trials=len(ends),
        epochs=sum(r.epochs - r.initial_epoch for r in search),
        seconds_per_trial=spent / len(ends) if ends else math.nan,
        diverged=sum(r.status is TrialStatus.DIVERGED for r in ends),
        failed=sum(r.status is TrialStatus.FAILED for r in ends),
        confirm_diverged=sum(
            r.phase is Phase.CONFIRM and r.status is TrialStatus.DIVERGED for r in records
        ),
        search_best=max(
            (s for r in ends if not math.isnan(s := score(r, guess))), default=math.nan
        ),
    )


def winner_runs(records: Sequence[TrialRecord]) -> tuple[Phase, list[TrialRecord]]:
    """The runs that stand for an optimizer: its confirmation runs.

    Where none has finished yet: the best search trial, else the default runs.
    """
    confirmed = confirmation_runs(records)
    if confirmed:
        return Phase.CONFIRM, confirmed
    alive = [r for r in records if r.status is not TrialStatus.FAILED]
    search = last_rungs(r for r in alive if r.phase is Phase.SEARCH)
    if search:
        return Phase.SEARCH, [search_winner(search) or search[0]]
    return Phase.DEFAULT, [r for r in alive if r.phase is Phase.DEFAULT]


def _keyed(used: Iterable[TrialRecord], guess: float) -> dict[tuple[int, int], float]:
    runs: dict[tuple[int, int], float] = {}
    for record in used:
        number = record.confirm if record.confirm is not None else 0
        while (record.repeat, number) in runs:
            number += 1
        runs[record.repeat, number] = score(record, guess)
    return runs


def _at_best(record: TrialRecord, curve: Sequence[float]) -> float:
    return curve[record.best_epoch - 1] if len(curve) >= record.best_epoch > 0 else math.nan


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
