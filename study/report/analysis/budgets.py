"""Confirmed incumbents: what each optimizer reaches if its search had stopped earlier.

The best trial of a search is picked by a noisy value, so its own value is too high. Here what the
search had found at B/8, B/4, B/2 and B epochs was trained again, whole, on rows that the search had
not judged it by, and is compared with the same bounds as the winners are.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.common.aliases import Numbers
from study.records.outcomes import BUDGETS, incumbent, value
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.ranking import Row
from study.verdicts.judge import at_most_behind
from study.verdicts.results import value_step


class Incumbents(NamedTuple):
    """What the searches had found at parts of their budgets, rerun; rows are optimizers (K)."""

    optimizers: tuple[str, ...]
    epochs: Numbers  # (K, parts) spent by the search
    value: Numbers  # (K, parts) mean over repeats; NaN where none converged
    at_most_behind: Numbers  # (K, parts) the best at that budget; NaN where it cannot be said
    repeats: int


def confirmed_incumbents(
    meta: StudyMeta, rows: Sequence[Row], records: Sequence[TrialRecord]
) -> Incumbents | None:
    """Over the first look's repeats; None where a study has not rerun any."""
    if not any(record.phase is Phase.BUDGET for record in records):
        return None
    look = meta.looks[0]
    names = tuple(row.optimizer for row in rows if row.basis is Phase.CONFIRM)
    parts = (*BUDGETS, 1.0)
    grouped: dict[tuple[str, int], list[TrialRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.trial_id):
        grouped[record.optimizer, record.repeat].append(record)
    cells = [[_reruns(grouped[name, r], parts) for r in range(look.repeats)] for name in names]
    table = np.array([[values for values, _ in row] for row in cells])  # (K, repeats, parts)
    spent = np.array([max(total for _, total in row) for row in cells])
    bounds = [
        at_most_behind(table[:, :, place], look, step=value_step(meta))
        for place in range(len(parts))
    ]
    return Incumbents(
        optimizers=names,
        epochs=spent[:, None] * np.array(parts),
        value=np.array([[_mean(column) for column in rows.T] for rows in table]),
        at_most_behind=np.stack(bounds, axis=1),
        repeats=look.repeats,
    )


def _reruns(records: Sequence[TrialRecord], parts: Sequence[float]) -> tuple[list[float], int]:
    """What a search had found at each part of its budget, rerun; and its whole budget.

    A setting is rerun once, at the part that found it; the winner was confirmed.
    """
    trials = [record for record in records if record.phase is Phase.SEARCH]
    total = sum(record.epochs - record.initial_epoch for record in trials)
    known = [
        record
        for record in records
        if record.phase is Phase.BUDGET or (record.phase is Phase.CONFIRM and record.confirm == 0)
    ]
    values = []
    for part in parts:
        found = incumbent(trials, part * total)
        reruns = [r for r in known if found and r.hyperparameters == found.hyperparameters]
        values.append(_value(reruns[-1]) if reruns else math.nan)
    return values, total


def _value(record: TrialRecord) -> float:
    return value(record) if record.status is TrialStatus.COMPLETED else math.nan


def _mean(values: Numbers) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
