"""Records -> one row per optimizer: what its confirmation runs reach, and what its search cost.

Values are those of converged runs, by the study's metric; diverged and failed runs are counted.
`study.records.outcomes` defines a run's value, `study.verdicts` the leader and all claims: the
intervals here are those of single numbers. They use `scipy.special` alone, because `scipy.stats`
takes a second to load.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

from study.common.metrics import ACCURACY
from study.records.outcomes import (
    by_optimizer,
    chance,
    confirmation_runs,
    converged,
    repeat_means,
    score,
    search_winner,
    value,
)
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.verdicts.answer import Answer, Judged, Verdict, share_interval

CONFIDENCE = 0.95
LEAST_FALL = 0.03  # from the validation value to the test value


class Row(NamedTuple):
    """What is known of one optimizer. Values are fractions; NaN where nothing is known."""

    optimizer: str
    basis: Phase  # of the runs that `mean` comes from; only CONFIRM is a fair value
    converged: int  # number of these runs that converged
    reruns: int  # all confirmation runs
    by_repeat: Mapping[int, float]  # mean validation value of each repeat's converged runs
    runs: Mapping[tuple[int, int], float]  # (repeat, confirm) -> validation value
    mean: float  # adjusted to the leader's repeats, inside the range of the optimizer's own runs
    low: float  # 95 % interval of the mean over its own repeats, on these images
    high: float
    interval_over: str  # "repeats"; "runs" where there is one repeat; "" without an interval
    spread: float  # standard deviation over the same
    minimum: float  # over single runs
    maximum: float
    train_value: float  # at the best epoch
    test_value: float  # at the best epoch
    val_loss: float  # at the best epoch
    last_value: float  # validation, at the last epoch
    last_loss: float
    best_epoch: float
    trained_epochs: float  # of the runs above
    train_seconds: float  # of one such run
    searches: int  # repeats with search trials
    trials: int  # configurations tried by the search
    epochs: int  # trained by the search in all
    seconds_per_trial: float
    diverged: int  # search trials
    failed: int
    confirm_diverged: int
    search_best: float  # the highest value of the search: optimistic, never ranked by
    val_accuracy: float  # at the best epoch, whatever the metric is
    test_accuracy: float


def rank(meta: StudyMeta, records: Sequence[TrialRecord], answer: Answer) -> list[Row]:
    """Return a row per optimizer with a record, by verdict and bound; unconfirmed ones last."""
    guess = chance(meta.metric, meta.class_counts)
    grouped = by_optimizer(meta.optimizers, records)
    rows = [_row(name, found, guess) for name, found in grouped.items()]
    leader_mean = {row.optimizer: row.mean for row in rows}.get(answer.leader, math.nan)
    about = {one.optimizer: one for one in answer.optimizers}
    rows = [_in_the_leaders_repeats(row, leader_mean, about[row.optimizer].behind) for row in rows]
    return sorted(rows, key=lambda row: _order(row, about[row.optimizer], answer.leader))


def _row(name: str, records: list[TrialRecord], guess: float) -> Row:
    search = [r for r in records if r.phase is Phase.SEARCH]
    ends = last_rungs(search)
    basis, every = winner_runs(records)
    used = converged(every)
    runs = _keyed(used)
    by_repeat = repeat_means(used)
    over = "repeats" if len(by_repeat) > 1 else "runs" if len(runs) > 1 else ""
    values = list(by_repeat.values()) if over == "repeats" else list(runs.values())
    low, high = mean_interval(values)
    spent = sum(r.seconds for r in search)
    confirmed = [r for r in records if r.phase is Phase.CONFIRM]
    return Row(
        optimizer=name,
        basis=basis,
        converged=len(used),
        reruns=len(confirmed),
        by_repeat=by_repeat,
        runs=runs,
        mean=_mean(by_repeat.values()),
        low=max(low, 0.0) if over else math.nan,  # max(NaN, 0) would be 0
        high=min(high, 1.0) if over else math.nan,
        interval_over=over,
        spread=float(np.std(values, ddof=1)) if over else math.nan,
        minimum=min(runs.values(), default=math.nan),
        maximum=max(runs.values(), default=math.nan),
        train_value=_mean(r.at_best(r.measured.train) for r in used),
        test_value=_mean(r.measured.test for r in used),
        val_loss=_mean(r.at_best(r.val_loss) for r in used),
        last_value=_mean(r.measured.validation[-1] if r.loss else None for r in used),
        last_loss=_mean(r.val_loss[-1] if r.val_loss else None for r in used),
        best_epoch=_mean(float(r.best_epoch) for r in used),
        trained_epochs=_mean(float(r.epochs) for r in used),
        train_seconds=_mean(r.seconds for r in used),
        searches=len({r.repeat for r in search}),
        trials=len(ends),
        epochs=sum(r.epochs - r.initial_epoch for r in search),
        seconds_per_trial=spent / len(ends) if ends else math.nan,
        diverged=sum(r.status is TrialStatus.DIVERGED for r in ends),
        failed=sum(r.status is TrialStatus.FAILED for r in ends),
        confirm_diverged=sum(r.status is TrialStatus.DIVERGED for r in confirmed),
        search_best=max(
            (s for r in ends if not math.isnan(s := score(r, guess))), default=math.nan
        ),
        val_accuracy=_mean(r.at_best(r.val_accuracy) for r in used),
        test_accuracy=_mean(r.test_accuracy for r in used),
    )


def _keyed(used: Iterable[TrialRecord]) -> dict[tuple[int, int], float]:
    runs: dict[tuple[int, int], float] = {}
    for record in used:
        number = record.confirm or 0
        while (record.repeat, number) in runs:
            number += 1
        runs[record.repeat, number] = value(record)
    return runs


def _mean(values: Iterable[float | None]) -> float:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _in_the_leaders_repeats(row: Row, leader_mean: float, behind: float | None) -> Row:
    """Adjust the mean: repeats differ in difficulty, and not all optimizers have all of them.

    A bad optimizer loses less on hard repeats than others do, so it is kept among its own runs.
    """
    if behind is None or math.isnan(leader_mean) or row.basis is not Phase.CONFIRM:
        return row
    return row._replace(mean=min(max(leader_mean - behind, row.minimum), row.maximum))


def _order(row: Row, one: Judged, leader: str) -> tuple[bool, int, float, bool, float]:
    """Return the sort key of a row; equal rows keep the order of the search space."""
    verdict = list(Verdict).index(one.verdict)
    mean = math.inf if math.isnan(row.mean) else -row.mean
    return row.basis is not Phase.CONFIRM, verdict, one.bound, row.optimizer != leader, mean


def last_rungs(search: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the last record of each search trial: the records that no later rung continues."""
    records = list(search)
    continued = {record.continues for record in records}
    return [record for record in records if record.trial_id not in continued]


def winner_runs(records: Sequence[TrialRecord]) -> tuple[Phase, list[TrialRecord]]:
    """Return the runs that represent an optimizer: its confirmation runs.

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


def lost_every_trial(row: Row) -> bool:
    """Return whether an optimizer's search has trials, but none that completed."""
    return 0 < row.trials == row.diverged + row.failed


def how_lost(rows: Iterable[Row], trials: int) -> str:
    """Return "all 90 trials diverged", for rows without a completed trial."""
    rows = list(rows)
    ways = ["diverged"] if any(row.diverged for row in rows) else []
    ways += ["could not be trained"] if any(row.failed for row in rows) else []
    return f"{'the one trial' if trials == 1 else f'all {trials} trials'} {' or '.join(ways)}"


def mean_interval(values: Sequence[float] | Float[np.ndarray, " N"]) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean; (NaN, NaN) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    middle = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * error
    return middle - reach, middle + reach


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's (1927) 95 % interval of a mean of `count` values between 0 and 1.

    It treats each value as a whole success or failure. No such value can vary more than that, so
    runs inside a repeat need not be independent.
    """
    z = float(ndtri((1 + CONFIDENCE) / 2))
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / count) ** 2 / 4)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def fails_the_test(meta: StudyMeta, row: Row) -> bool:
    """Return whether the test value is certainly below the interval of the validation value."""
    count = meta.split_sizes["test"]
    known = count and not math.isnan(row.test_value) and meta.metric == ACCURACY  # a share
    if not known or row.mean - row.test_value <= LEAST_FALL:
        return False
    _, high = share_interval(round(row.test_value * count), count)
    return bool(high < row.low)
