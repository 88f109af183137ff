"""One finished run: what the search writes and the report reads, as one line of `trials.jsonl`.

A line is a whole run from epoch 1, even where it continued an earlier rung, so every line can be
read alone. Numbers that are not finite are `null` in the file and NaN in memory, so the file is
strict JSON. Records keep 7 digits, in memory as arrays of doubles: a quarter of a list's size.
float32 would not return all of these digits: 0.0009765629 would be written again as 0.0009765628.
"""

import enum
import json
import math
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from study.common.aliases import Value
from study.common.metrics import ACCURACY, WORDS, from_counts
from study.records.study_files import FORMAT, checked, need, parsed, without_format

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
OF_METRIC = ("train_metric", "val_metric")  # more curves; empty where the metric is accuracy
VALUES = (
    *("test_accuracy", "test_loss", "cross_fitted_accuracy"),
    *("test_metric", "cross_fitted_metric"),
)
MOST = 100_000  # repeats, epochs, confirmation runs
FEW_TEXTS = ("optimizer", "split", "search", "number", "message")  # equal in many records


class TrialStatus(enum.StrEnum):
    """How a run ended."""

    COMPLETED = "completed"  # every epoch was trained, every loss finite
    DIVERGED = "diverged"  # the loss became NaN, infinite or absurd; scored at chance
    FAILED = "failed"  # it could not be trained (out of memory); `message` gives the reason


class Phase(enum.StrEnum):
    """The phase of the protocol that a run belongs to."""

    DEFAULT = "default"  # Keras's default configuration, not tuned
    SEARCH = "search"  # a trial proposed by the tuner
    CONFIRM = "confirm"  # the winner of a search, retrained with a fresh seed on a fresh split
    BUDGET = "budget"  # the best trial of a fraction of a search's budget, retrained likewise


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run before it is trained."""

    trial_id: str  # unique in the study, see `trial_id`
    optimizer: str  # the name in the search space
    repeat: int  # from 0
    phase: Phase
    seed: int  # of initial weights, order of rows and dropout
    split: str  # digest of the train/validation/test rows
    hyperparameters: Mapping[str, Value]  # learning_rate, beta_1, schedule, dense_width ...
    epochs: int  # in total, earlier rungs included
    search: str = ""  # which one proposed it: an optimizer's name, or "joint"; search trials only
    number: str = ""  # of the trial within its search; a confirmation run has its winner's
    bracket: int | None = None  # Hyperband only
    rung: int | None = None  # Hyperband's, within the bracket, from 0
    continues: str | None = None  # trial_id of the rung it was promoted from
    initial_epoch: int = 0  # epochs of the earlier rungs
    confirm: int | None = None  # number of the confirmation run, from 0
    budget: float | None = None  # fraction of the search's budget; budget runs only


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord(Run):
    """One finished run. Curves have one entry for each epoch, from 1 to `epochs`.

    `measured` is what decides between epochs, trials and optimizers. A study may have a million
    records, so any sequence given as a curve is kept as a `Curve`.
    """

    status: TrialStatus
    loss: Sequence[float]  # training, mean over the epoch, with dropout and class weights
    accuracy: Sequence[float]
    val_loss: Sequence[float]
    val_accuracy: Sequence[float]
    learning_rate: Sequence[float]  # at the last step of each epoch
    best_epoch: int  # from 1, the first with the best validation metric; 0: no epoch
    seconds: float  # of training, this run's share, without earlier rungs
    test_accuracy: float | None = None  # at the best epoch; confirmation and default runs
    test_loss: float | None = None
    val_hits_a: list[int] = field(default_factory=list)  # hits in fold A by epoch; not in searches
    val_hits_b: list[int] = field(default_factory=list)
    cross_fitted_accuracy: float | None = None  # each fold at the best epoch of the other
    message: str = ""
    versions: int = 0  # index into the study's `versions`
    metric: str = ACCURACY  # that judged it; the fields below are empty for accuracy
    train_metric: Sequence[float] = ()  # a curve, as `accuracy`
    val_metric: Sequence[float] = ()  # a curve
    test_metric: float | None = None  # at the best epoch
    cross_fitted_metric: float | None = None  # each fold at the best epoch of the other

    def __post_init__(self) -> None:
        for key in (*CURVES, *OF_METRIC):
            if type(curve := getattr(self, key)) is not Curve:
                object.__setattr__(self, key, Curve(curve) if len(curve) else NOTHING)

    @property
    def measured(self) -> "Measured":
        """The results of the run in the metric that judges it."""
        if self.metric == ACCURACY:
            return Measured(
                self.accuracy, self.val_accuracy, self.test_accuracy, self.cross_fitted_accuracy
            )
        return Measured(
            self.train_metric, self.val_metric, self.test_metric, self.cross_fitted_metric
        )

    @property
    def best_value(self) -> float:
        """The metric on the validation rows at the best epoch; NaN if no epoch was finished."""
        return self.at_best(self.measured.validation)

    def at_best(self, curve: Sequence[float]) -> float:
        """Return the value of a curve at the best epoch; NaN if there is none."""
        return curve[self.best_epoch - 1] if len(curve) >= self.best_epoch > 0 else math.nan


class Curve(array):  # type: ignore[type-arg]  # of floats
    """One number for each epoch; equal to any sequence of the same numbers, NaN to NaN."""

    __slots__ = ()

    def __new__(cls, values: Iterable[float] = ()) -> Self:
        """Return a curve of these numbers."""
        return super().__new__(cls, "d", values)  # type: ignore[return-value]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | tuple | array):
            return NotImplemented
        return np.array_equal(self, other, equal_nan=True)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # as a list


NOTHING = Curve()  # of all runs without one


class Measured(NamedTuple):
    """The results of a run in one metric."""

    train: Sequence[float]  # curves
    validation: Sequence[float]
    test: float | None  # at the best epoch; confirmation and default runs
    cross_fitted: float | None  # on the validation rows


def trial_id(
    owner: str, repeat: int, phase: Phase, *, number: str = "", confirm: int | None = None
) -> str:
    """Return the id of a run: "adam/0/search/0012", "adam/0/confirm/0012-1", "adam/0/default".

    `owner` is the search that proposed the run, else its optimizer; see `Run` for the others.
    """
    name = f"{owner}/{repeat}/{phase}"
    if number:
        name += f"/{number}"
    return name if confirm is None else f"{name}-{confirm}"


def id_of(run: Run) -> str:
    """Return the id that the fields of a run make."""
    number = run.number if run.budget is None else f"{run.budget:g}"
    owner = run.search or run.optimizer
    return trial_id(owner, run.repeat, run.phase, number=number, confirm=run.confirm)


def best_epoch(curve: Sequence[float]) -> int:
    """Return the first epoch with the highest value, from 1; NaN is the lowest."""
    values = [-math.inf if math.isnan(value) else value for value in curve]
    return values.index(max(values)) + 1


def cross_fitted(hits_a: Sequence[int], hits_b: Sequence[int], rows: int) -> float:
    """Return the accuracy on both folds of `rows`, each at the first best epoch of the other fold.

    The images that choose the epoch do not judge it: on the same images the accuracy is 1.3 points
    too high on the built-in faces, and not equally for all optimizers.
    """
    chosen_a, chosen_b = (hits.index(max(hits)) for hits in (hits_a, hits_b))
    return rounded((hits_b[chosen_a] + hits_a[chosen_b]) / rows)


def cross_fitted_by_class(metric: str, counts: Float[np.ndarray, "epochs 2 3 classes"]) -> float:
    """Return another metric than accuracy of both folds, each at the best epoch of the other."""
    chosen_a, chosen_b = np.argmax(from_counts(metric, counts), axis=0)  # the first of equals
    return rounded(float(from_counts(metric, counts[chosen_b, 0] + counts[chosen_a, 1])))


def curves_of(metric: str) -> tuple[str, ...]:
    """Return the names of the curves that a record of a metric has."""
    return CURVES if metric == ACCURACY else (*CURVES, *OF_METRIC)


def as_table(run: Run) -> dict[str, Any]:
    """Return the fields of a run or a record by name; nothing is copied."""
    return {name: getattr(run, name) for name in run.__dataclass_fields__}


def to_line(record: TrialRecord) -> str:
    """Return a record as a line of JSON, without its end."""
    table = {"format": FORMAT, **as_table(record)}
    for key in (*CURVES, *OF_METRIC):
        table[key] = [_finite(value) for value in table[key]]
    for key in VALUES:
        table[key] = _finite(table[key])
    return json.dumps(table, ensure_ascii=False, allow_nan=False)


def from_line(line: bytes, place: str) -> TrialRecord:
    """Return a line, without its end, as a record; `place` names it in an error.

    Raises:
        UserError: another version wrote the line.
        ValueError: the line is damaged.
    """
    table = without_format(parsed(line), place)
    need(table, TrialRecord.__dataclass_fields__)
    for key in (*CURVES, *OF_METRIC):
        table[key] = [math.nan if value is None else value for value in table[key]]
    record = checked(_with_few_texts(table), TrialRecord)
    if record.metric not in WORDS:
        raise ValueError(f"metric {record.metric!r} is unknown")
    lengths = {len(getattr(record, key)) for key in curves_of(record.metric)}
    if len(lengths) > 1 or not 0 <= record.best_epoch <= lengths.pop():
        raise ValueError("curves and best_epoch do not fit together")
    if {len(record.val_hits_a), len(record.val_hits_b)} - {0, len(record.loss)}:
        raise ValueError("curves and hits do not fit together")
    _check_values(record)
    return record


def _check_values(record: TrialRecord) -> None:
    """Check that numbers are such as a run can have: shares from 0 to 1, counts from 0."""
    for key in ("accuracy", "val_accuracy", *OF_METRIC):
        if any(value < 0 or value > 1 for value in getattr(record, key)):  # NaN is neither
            raise ValueError(f"{key} has values outside 0 to 1")
    for key in VALUES:
        value = getattr(record, key)
        if value is not None and not (key == "test_loss" or 0 <= value <= 1):
            raise ValueError(f"{key} is {value}, outside 0 to 1")
    for key in ("repeat", "initial_epoch", "epochs", "confirm", "versions"):
        value = getattr(record, key)
        if value is not None and not 0 <= value <= MOST:
            raise ValueError(f"{key} is {value}, but has to be from 0 to {MOST:,}")
    if len(record.loss) > record.epochs or record.initial_epoch > record.epochs:
        raise ValueError(f"it has more epochs than {record.epochs}")
    if record.status is TrialStatus.COMPLETED and not math.isfinite(record.best_value):
        raise ValueError("it is completed, but has no validation value")


def _with_few_texts(table: dict[str, Any]) -> dict[str, Any]:
    """Return the table with one object in memory for a text that many lines repeat."""
    table |= {key: _interned(table[key]) for key in FEW_TEXTS}
    if isinstance(values := table["hyperparameters"], dict):
        table["hyperparameters"] = {sys.intern(key): _interned(one) for key, one in values.items()}
    return table


def _interned(value: Any) -> Any:
    return sys.intern(value) if type(value) is str else value


def rounded(value: float) -> float:
    """Return `value` with 7 digits, float32's precision: decisions use what is written."""
    return float(f"{value:.7g}")


def _finite(value: float | None) -> float | None:
    """Return the value rounded; None for NaN and infinities."""
    return None if value is None or not math.isfinite(value) else rounded(value)
