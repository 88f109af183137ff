"""What runs reached, and which one stands for an optimizer: the one definition of the winner.

An optimizer is judged by its confirmation runs alone: the validation accuracy at the best epoch,
averaged first inside a repeat and then over repeats, because the repeat (fresh split, fresh search)
is what is independent. A diverged run counts as guessing; a failed one (out of memory) tells
nothing about accuracy. The winner is the optimizer with the highest mean; of equals the one that
stands first in the search space. Its winning run is the best one of its best repeat.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from study.records.trial_record import Phase, TrialRecord, TrialStatus, rounded


def chance(classes: int) -> float:
    """Accuracy of guessing among so many classes, with the digits of a record."""
    return rounded(1 / max(classes, 1))


def score(record: TrialRecord, guess: float) -> float:
    """Validation accuracy at the best epoch; `guess` for a diverged or NaN run, NaN if failed."""
    if record.status is TrialStatus.FAILED:
        return math.nan
    value = record.best_val_accuracy
    return guess if record.status is TrialStatus.DIVERGED or math.isnan(value) else value


def search_winner(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The best completed trial; of equals the one with the lower validation loss, then by id."""
    completed = [record for record in trials if record.status is TrialStatus.COMPLETED]
    completed.sort(key=lambda record: record.trial_id)
    return max(
        completed,
        key=lambda record: (record.best_val_accuracy, -record.val_loss[record.best_epoch - 1]),
        default=None,
    )


def confirmation_runs(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Those that tell something, in the order of their ids."""
    found = [
        record
        for record in records
        if record.phase is Phase.CONFIRM and record.status is not TrialStatus.FAILED
    ]
    return sorted(found, key=lambda record: record.trial_id)


def repeat_means(runs: Iterable[TrialRecord], guess: float) -> dict[int, float]:
    """Repeat -> mean score of its runs, by rising repeat."""
    scores: dict[int, list[float]] = defaultdict(list)
    for record in runs:
        scores[record.repeat].append(score(record, guess))
    return {repeat: float(np.mean(values)) for repeat, values in sorted(scores.items())}


def mean_of(by_repeat: Mapping[int, float]) -> float:
    """An optimizer's value; NaN without a repeat."""
    return float(np.mean(list(by_repeat.values()))) if by_repeat else math.nan


def standing(converged: bool, mean: float) -> tuple[bool, float]:
    """What confirmed optimizers are sorted by, best first: one that always diverges comes last."""
    return not converged, math.inf if math.isnan(mean) else -mean


def converged(runs: Iterable[TrialRecord]) -> bool:
    """Whether any run did."""
    return any(record.status is TrialStatus.COMPLETED for record in runs)


def winner(optimizers: Sequence[str], records: Iterable[TrialRecord], guess: float) -> str | None:
    """The optimizer that wins a study; None as long as no confirmation run has converged.

    Args:
        optimizers: in the order of the search space.
        records: of the whole study.
        guess: accuracy of guessing.
    """
    runs = by_optimizer(optimizers, confirmation_runs(records))
    able = [name for name in runs if converged(runs[name])]
    return min(
        able,
        key=lambda name: standing(True, mean_of(repeat_means(runs[name], guess))),
        default=None,
    )


def winning_run(records: Iterable[TrialRecord], guess: float) -> TrialRecord | None:
    """Of one optimizer's records the run to take home; None if no confirmation run converged."""
    runs = confirmation_runs(records)
    means = repeat_means(runs, guess)
    completed = [record for record in runs if record.status is TrialStatus.COMPLETED]
    return max(
        completed,
        key=lambda record: (means[record.repeat], -record.repeat, record.best_val_accuracy),
        default=None,
    )


def by_optimizer(
    optimizers: Sequence[str], records: Iterable[TrialRecord]
) -> dict[str, list[TrialRecord]]:
    """Records of each optimizer that has any, in the order of the search space."""
    grouped: dict[str, list[TrialRecord]] = {name: [] for name in optimizers}
    for record in records:
        grouped.setdefault(record.optimizer, []).append(record)
    return {name: found for name, found in grouped.items() if found}
