"""What runs reached, and which one stands for an optimizer.

An optimizer is judged by its confirmation runs that converged: the study's metric (accuracy, if no
other was asked for) on the validation rows, averaged first inside a repeat and then over repeats,
because the repeat (fresh splits, fresh search) is what is independent. Who leads is said by
`study.verdicts`. A run's value is cross-fitted where the best epoch was chosen on one half of the
validation rows and judged on the other, so that no image both chooses an epoch and judges it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from study.common.metrics import guessing
from study.records.trial_record import Phase, TrialRecord, TrialStatus, rounded

BUDGETS = (0.125, 0.25, 0.5)  # parts of a search's budget at which its incumbent is rerun, too


def chance(metric: str, class_counts: Sequence[int]) -> float:
    """What a diverged run is worth (`guessing` says why), with the digits of a record."""
    return rounded(guessing(metric, class_counts))


def value(record: TrialRecord) -> float:
    """The metric of a run on validation rows: cross-fitted, or at the best epoch; NaN without."""
    fitted = record.measured.cross_fitted
    return record.best_value if fitted is None else fitted


def score(record: TrialRecord, guess: float) -> float:
    """The same; `guess` for a diverged or NaN run, NaN if failed."""
    if record.status is TrialStatus.FAILED:
        return math.nan
    found = value(record)
    return guess if record.status is TrialStatus.DIVERGED or math.isnan(found) else found


def search_winner(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """The best completed trial; of equals the one with the lower validation loss, then by id.

    Losses of labels that are smoothed differently do not compare: there equals go by id alone.
    """
    completed = [record for record in trials if record.status is TrialStatus.COMPLETED]
    completed.sort(key=lambda record: record.trial_id)
    one_loss = len({r.hyperparameters.get("label_smoothing") for r in completed}) < 2
    return max(
        completed,
        key=lambda record: (
            record.best_value,
            -record.val_loss[record.best_epoch - 1] if one_loss else 0.0,
        ),
        default=None,
    )


def incumbent(trials: Iterable[TrialRecord], epochs: float) -> TrialRecord | None:
    """The best of the trials, in their order, that so many epochs of training pay for."""
    paid: list[TrialRecord] = []
    spent = 0
    for record in trials:
        spent += record.epochs - record.initial_epoch
        if spent > epochs:
            break
        paid.append(record)
    return search_winner(paid)


def confirmation_runs(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Those that tell something, in the order of their ids."""
    found = [
        record
        for record in records
        if record.phase is Phase.CONFIRM and record.status is not TrialStatus.FAILED
    ]
    return sorted(found, key=lambda record: record.trial_id)


def converged(runs: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Those that did."""
    return [record for record in runs if record.status is TrialStatus.COMPLETED]


def repeat_means(runs: Iterable[TrialRecord]) -> dict[int, float]:
    """Repeat -> mean value of its converged runs, by rising repeat."""
    found: dict[int, list[float]] = defaultdict(list)
    for record in converged(runs):
        found[record.repeat].append(value(record))
    return {repeat: float(np.mean(values)) for repeat, values in sorted(found.items())}


def winning_run(records: Iterable[TrialRecord]) -> TrialRecord | None:
    """Of one optimizer's records the run to take home; None if no confirmation run converged.

    It is the best one of a typical repeat, the one in the middle of all repeats: the settings of
    the best repeat would be the luckiest ones.
    """
    runs = confirmation_runs(records)
    means = repeat_means(runs)
    if not means:
        return None
    ordered = sorted(means, key=lambda repeat: (-means[repeat], repeat))
    typical = ordered[(len(ordered) - 1) // 2]
    inside = [record for record in converged(runs) if record.repeat == typical]
    return max(inside, key=value)


def by_optimizer(
    optimizers: Sequence[str], records: Iterable[TrialRecord]
) -> dict[str, list[TrialRecord]]:
    """Records of each optimizer that has any, in the order of the search space."""
    grouped: dict[str, list[TrialRecord]] = {name: [] for name in optimizers}
    for record in records:
        grouped.setdefault(record.optimizer, []).append(record)
    return {name: found for name, found in grouped.items() if found}
