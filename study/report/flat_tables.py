"""Records -> a flat table of runs, and any flat table -> CSV.

`trials.csv` has one line a run, of all phases, for spreadsheets and pandas. Accuracies are
fractions. `val_accuracy`, `val_loss`, `accuracy` and `loss` are those of the best epoch, `last_`
those of the last one; `cross_fitted_accuracy` is what a confirmation run is judged by. A study that
is judged by another metric has the same columns of it, by its name, behind. Then comes one column a
hyperparameter, empty where a run has none of this name.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.common.metrics import ACCURACY
from study.records.trial_record import TrialRecord

OF_RUN = (
    *("trial_id", "optimizer", "phase", "repeat", "search", "number", "bracket", "rung"),
    *("continues", "initial_epoch", "confirm", "budget", "status", "epochs", "best_epoch"),
)
AT_BEST = ("val_accuracy", "val_loss", "accuracy", "loss")
AT_LAST = ("val_accuracy", "val_loss")
ALSO = ("cross_fitted_accuracy", "test_accuracy", "test_loss", "seconds", "seed", "split")
COLUMNS = (*OF_RUN, *AT_BEST, *(f"last_{key}" for key in AT_LAST), *ALSO, "message")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a text that begins so is computed by spreadsheets


def flat_trials(records: Iterable[TrialRecord]) -> tuple[list[str], list[dict[str, Any]]]:
    """Names of the columns, and a row for each run; None where there is nothing."""
    rows = [_row(record) for record in records]
    return list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)])), rows


def _row(record: TrialRecord) -> dict[str, Any]:
    row = {key: getattr(record, key) for key in (*OF_RUN, *ALSO, "message")}
    row |= {"phase": record.phase.value, "status": record.status.value}
    if record.loss:
        best = max(record.best_epoch, 1) - 1
        row |= {key: getattr(record, key)[best] for key in AT_BEST}
        row |= {f"last_{key}": getattr(record, key)[-1] for key in AT_LAST}
    if record.metric != ACCURACY:
        row |= _of_metric(record)
    for key, value in record.hyperparameters.items():
        row[f"hyperparameter_{key}" if key in COLUMNS or key in row else key] = value
    return row


def _of_metric(record: TrialRecord) -> dict[str, Any]:
    found, metric = record.measured, record.metric
    return {
        f"val_{metric}": record.best_value,
        metric: record.at_best(found.train),
        f"last_val_{metric}": found.validation[-1] if found.validation else None,
        f"cross_fitted_{metric}": found.cross_fitted,
        f"test_{metric}": found.test,
    }


def as_csv(head: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The columns `head` of the rows; empty for None and NaN.

    A text that a spreadsheet would compute has an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_cell, head))
    writer.writerows([_cell(row.get(key)) for key in head] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if value is None or value != value else value  # NaN is not itself
