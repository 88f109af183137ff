"""Records -> the events of a TensorBoard run: a trial's, or an optimizer's most useful ones.

A trial's run is one configuration: the rungs of a Hyperband trial continue one curve. An
optimizer's run has its typical winner, the default run of the same repeat, the progress of its
searches and the confirmed results, so a study of twelve optimizers is twelve runs: TensorBoard
selects runs by itself only up to 40.
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event

from study.common.aliases import Value
from study.common.metrics import ACCURACY
from study.records.outcomes import repeat_means, winning_run
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.tensorboard.events import RunFile, row, scalars
from study.verdicts.answer import Standing

CURVES = {  # record's field -> TensorBoard's tag; the part before the slash makes one group
    "val_accuracy": "accuracy/validation",
    "accuracy": "accuracy/training",
    "val_loss": "loss/validation",
    "loss": "loss/training",
    "learning_rate": "learning_rate/learning_rate",
}
STATUS = {TrialStatus.COMPLETED: 0, TrialStatus.DIVERGED: 1, TrialStatus.FAILED: 2}
UNTUNED = "untuned/"  # before the tags of the default run
PROGRESS, CONFIRMED = "search/best_so_far", "table/confirmed"  # by accuracy; see `tag_of`
BEHIND, BEHIND_NEW = "table/at_most_behind", "table/at_most_behind_new_images"  # in points
WINNER = "winner"  # the phase in an optimizer's row


def tag_of(tag: str, metric: str) -> str:
    """Return the tag of one metric: values of two never share a curve or a column."""
    return tag if metric == ACCURACY else f"{tag}_{metric}"


def run_name(record: TrialRecord) -> str:
    """Return the name of a trial's run: optimizer first, for TensorBoard's filter and colours."""
    known = (record.phase.value, record.repeat, record.number or None, record.confirm)
    trial = "-".join(str(one) for one in known if one is not None)
    # a record may come from anywhere, and a run's name is a path
    return "/".join(re.sub(r"[^\w-]", "_", one) for one in (record.optimizer, trial))


class TrialRuns:
    """A run for each configuration of a study, below `folder`."""

    def __init__(self, folder: Path, study: str) -> None:
        self.folder, self.study = folder, study
        self._files: dict[str, RunFile] = {}  # trial_id -> file of its run

    def write(self, records: Iterable[TrialRecord]) -> int:
        """Append each record to its run; return how many runs are new."""
        begun = 0
        for record in records:
            before = self._files.get(record.continues or "")  # None too if that line was damaged
            file = before or RunFile(self.folder / run_name(record))
            self._files[record.trial_id] = file
            file.append(trial_events(self.study, record, begins=before is None))
            begun += before is None
        return begun


def trial_events(study: str, record: TrialRecord, *, begins: bool) -> Iterator[Event]:
    """Yield a record's own epochs and metrics; also its row if it begins the run."""
    if begins:
        values = hyperparameters(study, record, record.phase.value)
        yield row(f"{run_name(record)}, {study}", values)
    yield from curves(record, since=0 if begins else record.initial_epoch)
    yield scalars(record.epochs, _metrics(record))


class OptimizerRun:
    """The run of an optimizer, which grows with its searches.

    `title` names its row; `standing` is the report's verdict on it, None before it is confirmed.
    """

    def __init__(
        self,
        study: str,
        optimizer: str,
        title: str,
        records: list[TrialRecord],
        standing: Standing | None = None,
    ) -> None:
        self.study, self.optimizer, self.title, self.records = study, optimizer, title, records
        self.standing = standing
        self.winner = winning_run(records)
        self._epochs, self._best = 0, math.nan  # of all its searches
        self._shown = 0  # epochs of the last point of the curve

    def events(self) -> Iterator[Event]:
        """Yield the events of all records."""
        yield row(f"{self.title}, {self.study}", self._row())
        yield from self._searched()
        repeat = self.winner.repeat if self.winner else 0
        for record in self.records:
            if record.phase is Phase.DEFAULT and record.repeat == repeat:
                yield from curves(record, tags=UNTUNED)
        if self.winner:
            yield from curves(self.winner)
            yield from self._confirmed(self.winner)

    def more(self, records: Iterable[TrialRecord]) -> Iterator[Event]:
        """Yield the events of new records that leave the earlier ones valid: searches continue.

        Before there is a winner, the first default run is its optimizer's.
        """
        for record in records:
            if record.phase is Phase.SEARCH:
                self._count(record)
                yield from self._point(record.metric)
            elif record.phase is Phase.DEFAULT and not record.repeat and not self.winner:
                yield from curves(record, tags=UNTUNED)

    def _row(self) -> dict[str, Value]:
        if self.winner:
            verdict = {"verdict": self.standing.verdict} if self.standing else {}
            return {**hyperparameters(self.study, self.winner, WINNER), **verdict}
        return {"study": self.study, "optimizer": self.optimizer, "phase": Phase.SEARCH.value}

    def _searched(self) -> Iterator[Event]:
        """Yield the progress wherever it rises, and at the end.

        The searches of all repeats run side by side: first the first trial of each, and so on.
        """
        trials = sorted(
            (record for record in self.records if record.phase is Phase.SEARCH),
            key=lambda record: (record.number, record.repeat),
        )
        for place, record in enumerate(trials, start=1):
            if self._count(record) or place == len(trials):
                yield from self._point(record.metric)

    def _count(self, record: TrialRecord) -> bool:
        """Add a trial; return whether it is the best so far."""
        self._epochs += max(len(record.loss) - record.initial_epoch, 0)
        found = record.best_value
        if record.status is not TrialStatus.COMPLETED or found <= self._best:
            return False
        self._best = found
        return True

    def _point(self, metric: str) -> Iterator[Event]:
        if self._epochs > self._shown and not math.isnan(self._best):
            self._shown = self._epochs
            yield scalars(self._epochs, {tag_of(PROGRESS, metric): self._best})

    def _confirmed(self, winner: TrialRecord) -> Iterator[Event]:
        """Yield the mean value of the confirmation runs by repeat, and the metrics of the row."""
        means = repeat_means(r for r in self.records if r.phase is Phase.CONFIRM)
        for repeat, mean in means.items():
            yield scalars(repeat, {f"confirmed/{winner.metric}": mean})
        found = _metrics(winner)
        if self.standing:
            found[tag_of(CONFIRMED, winner.metric)] = self.standing.mean
            found |= {BEHIND: self.standing.behind, BEHIND_NEW: self.standing.behind_new}
        yield scalars(winner.epochs, found)


def curves(record: TrialRecord, *, since: int = 0, tags: str = "") -> Iterator[Event]:
    """Yield one event for each epoch after `since`; `tags` is the prefix of each tag."""
    for epoch in range(since, len(record.loss)):
        values = {tags + tag: getattr(record, field)[epoch] for field, tag in CURVES.items()}
        if record.metric != ACCURACY:
            values[f"{tags}{record.metric}/validation"] = record.val_metric[epoch]
            values[f"{tags}{record.metric}/training"] = record.train_metric[epoch]
        yield scalars(epoch + 1, values)


def hyperparameters(study: str, record: TrialRecord, phase: str) -> dict[str, Value]:
    """Return a row of the HParams table."""
    bracket = {} if record.bracket is None else {"bracket": record.bracket}
    about: dict[str, Value] = {"study": study, "optimizer": record.optimizer, "phase": phase}
    return {**about, "repeat": record.repeat, **bracket, **record.hyperparameters}


def _metrics(record: TrialRecord) -> dict[str, float | None]:
    """Return the values of the columns that `hparams_columns.metrics` lists."""
    there = record.val_loss[record.best_epoch - 1] if record.val_loss else math.nan
    found: dict[str, float | None] = {}
    if record.metric != ACCURACY:
        found[f"table/val_{record.metric}"] = record.best_value
        found[f"table/test_{record.metric}"] = record.measured.test
    return {
        **found,
        "table/val_accuracy": record.at_best(record.val_accuracy),
        "table/val_loss": there,
        "table/test_accuracy": record.test_accuracy,
        "table/epochs": record.epochs,
        "table/rung": record.rung,
        "table/status": STATUS[record.status],
    }
