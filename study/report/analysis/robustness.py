"""What an optimizer asks of its user: how good random settings are, how soon a run is there."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from study.records.outcomes import chance, converged, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row
from study.verdicts.answer import share_interval

LOW = 0.1  # the quantile that says what a bad draw gives
FEWEST = 5  # draws that tell anything


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
    random = meta.settings.get("tuner") in ("hyperband", "random")
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
