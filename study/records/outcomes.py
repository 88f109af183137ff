"""What runs achieved, and which run represents an optimizer.

An optimizer is judged by its converged confirmation runs: the study's metric (accuracy, unless
another was chosen) on the validation rows, averaged first within a repeat and then over repeats,
because repeats (fresh splits, fresh search) are what is independent. `study.verdicts` says which
one leads. A run's value is cross-fitted where the best epoch was chosen on one half of the
validation rows and judged on the other, so that no image both chooses an epoch and judges it.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from study.common.metrics import guessing
from study.records.trial_record import Phase, TrialRecord, TrialStatus, best_epoch, rounded

# Fractions of a search's budget: the best trial that each would have found is retrained, too.
BUDGETS = (0.125, 0.25, 0.5)
ABSURD_LOSS = 10.0  # times the loss of guessing, ln(n_classes)


def chance(metric: str, class_counts: Sequence[int]) -> float:
    """Return the score of a diverged run (`guessing` says why), with the digits of a record."""
    return rounded(guessing(metric, class_counts))


def value(record: TrialRecord) -> float:
    """Return the metric of a run on validation rows: cross-fitted, or at the best epoch, or NaN."""
    fitted = record.measured.cross_fitted
    return record.best_value if fitted is None else fitted


def score(record: TrialRecord, guess: float) -> float:
    """Return the value of a run; `guess` if it diverged or is NaN, NaN if it failed."""
    if record.status is TrialStatus.FAILED:
        return math.nan
    found = value(record)
    return guess if record.status is TrialStatus.DIVERGED or math.isnan(found) else found


def last_value(record: TrialRecord, guess: float) -> float:
    """Return the value of a run after its last epoch; `guess` if it diverged, NaN if it failed."""
    if record.status is TrialStatus.COMPLETED:
        return record.measured.validation[-1]
    return guess if record.status is TrialStatus.DIVERGED else math.nan


def search_winner(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the best completed trial; of equals that with the lower validation loss, then by id.

    Losses of labels that are smoothed differently are not comparable: there equals go by id alone.
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
    """Return the best of the first trials that fit into `epochs` of training."""
    trials = list(trials)
    spent = itertools.accumulate(record.epochs - record.initial_epoch for record in trials)
    return search_winner(trials[: sum(one <= epochs for one in spent)])


def confirmation_runs(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the confirmation runs that did not fail, in the order of their ids."""
    runs = [record for record in records if record.phase is Phase.CONFIRM]
    runs.sort(key=lambda record: record.trial_id)
    return [record for record in runs if record.status is not TrialStatus.FAILED]


def converged(runs: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the runs that converged."""
    return [record for record in runs if record.status is TrialStatus.COMPLETED]


def repeat_means(runs: Iterable[TrialRecord]) -> dict[int, float]:
    """Return repeat -> mean value of its converged runs, in ascending order."""
    found: dict[int, list[float]] = defaultdict(list)
    for record in converged(runs):
        found[record.repeat].append(value(record))
    return {repeat: float(np.mean(values)) for repeat, values in sorted(found.items())}


def winning_run(records: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the run to keep from one optimizer's records; None if no confirmation run converged.

    It is the best run of the median repeat: the configuration of the best repeat would owe most to
    chance.
    """
    runs = confirmation_runs(records)
    means = repeat_means(runs)
    if not means:
        return None
    ordered = sorted(means, key=lambda repeat: (-means[repeat], repeat))
    typical = ordered[(len(ordered) - 1) // 2]
    inside = [record for record in converged(runs) if record.repeat == typical]
    return max(inside, key=value)


class TrainingLength(NamedTuple):
    """For how many epochs to train a head with the settings of a run, and why."""

    epochs: int  # the first at which the curve is highest
    curve: Float64[np.ndarray, " epochs"]  # mean validation metric of the runs after each epoch
    runs: int


def training_length(run: TrialRecord, records: Iterable[TrialRecord]) -> TrainingLength:
    """Return for how many epochs to train with the settings of `run`, from its optimizer's records.

    The mean curve of all converged confirmation runs decides, as far as `run` goes; without any,
    its own. Winners of other repeats have other settings, but with them the choice is no worse than
    by four runs with the same settings (0.0 +- 0.1 points on the built-in faces, judged by a fifth
    run), and better than by fewer: by one run's own best epoch it is 0.4 +- 0.1 points worse.
    """
    found = converged(confirmation_runs(records)) or [run]
    curves = [r.measured.validation[: run.epochs] for r in found if r.epochs >= run.epochs]
    mean = np.mean(curves, axis=0)
    return TrainingLength(best_epoch(list(map(rounded, mean.tolist()))), mean, len(curves))


def by_optimizer(
    optimizers: Sequence[str], records: Iterable[TrialRecord]
) -> dict[str, list[TrialRecord]]:
    """Return the records of each optimizer that has any, in the order of `optimizers`."""
    grouped: dict[str, list[TrialRecord]] = {name: [] for name in optimizers}
    for record in records:
        grouped.setdefault(record.optimizer, []).append(record)
    return {name: found for name, found in grouped.items() if found}
