"""Records come in, TensorBoard event files go out: curves, the HParams table, images, text.

A run of TensorBoard is one configuration: the rungs of a Hyperband trial continue one curve. One
small file is written for each record, without a Keras callback. The folder is a view of the
records, never their source: a resumed study writes it anew.

`overview/` has the confirmation and untuned runs and the report, `trials/` every search trial:
above 500 runs TensorBoard selects none by itself, so a big study is looked at best in its overview.
"""

import errno
import io
import math
import random
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata

from study.common.aliases import Value
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.space.space import SearchSpace, load_space, own_spaces

CURVES = {  # record's field -> TensorBoard's tag; the part before the slash makes one group
    "val_accuracy": "accuracy/validation",
    "accuracy": "accuracy/training",
    "val_loss": "loss/validation",
    "loss": "loss/training",
    "learning_rate": "learning_rate/learning_rate",
}
METRICS = {  # the last columns of the HParams table
    "best/val_accuracy": "best val_accuracy",
    "best/val_loss": "val_loss there",
    "best/test_accuracy": "test accuracy there",
    "best/epochs": "epochs",
    "best/rung": "rung reached",
    "best/status": "status: 0 completed, 1 diverged, 2 failed",
}
STATUS = {TrialStatus.COMPLETED: 0, TrialStatus.DIVERGED: 1, TrialStatus.FAILED: 2}
FIRST_COLUMNS = ("optimizer", "phase", "learning_rate", "schedule", "repeat")  # others: a click
OVERVIEW, TRIALS = "overview", "trials"
REPORT_RUN = f"{OVERVIEW}/report"


class EventFolder:
    """The `tensorboard/` folder of a study.

    Args:
        folder: as `recreate` has begun it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._runs: dict[str, str] = {}  # trial_id -> run

    @classmethod
    def recreate(
        cls, folder: Path, space: SearchSpace, known: Iterable[TrialRecord] = ()
    ) -> "EventFolder":
        """Delete the folder and begin it anew.

        Args:
            folder: of the study's events.
            space: names the columns of the HParams table.
            known: records of an earlier, interrupted run of the study.
        """
        shutil.rmtree(folder, ignore_errors=True)
        _write_run(folder, "", "0000", [_event(0, _table_columns(space))])
        events = cls(folder)
        events.write(known)
        return events

    def write(self, records: Iterable[TrialRecord]) -> None:
        """Add records, each after the rung it continues."""
        for record in records:
            before = self._runs.get(record.continues or "")  # None too if that line was damaged
            first, run = before is None, before or run_name(record)
            self._runs[record.trial_id] = run
            events = [_event(0, _hyperparameters(record, run))] if first else []
            events += _curves(record, since=0 if first else record.initial_epoch)
            events.append(_event(record.epochs, _metrics(record)))
            _write_run(self.folder, run, f"{record.rung or 0:04d}", events)


class ReportEvents:
    """The report inside TensorBoard: pictures under Images, its words under Text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def recreate(cls, folder: Path) -> "ReportEvents":
        """Delete what an earlier report left in the study's events."""
        shutil.rmtree(folder / REPORT_RUN, ignore_errors=True)
        return cls(folder)

    def image(self, tag: str, png: bytes) -> None:
        """Show a PNG."""
        summary = Summary()
        value = summary.value.add(tag=tag)
        value.image.width, value.image.height = Image.open(io.BytesIO(png)).size
        value.image.colorspace = 4  # RGBA
        value.image.encoded_image_string = png
        _write_run(self.folder, REPORT_RUN, f"image-{_plain(tag)}", [_event(0, summary)])

    def text(self, tag: str, markdown: str) -> None:
        """Show Markdown."""
        summary = Summary()
        value = summary.value.add(tag=tag, metadata=text_metadata("", ""))
        tensor = tf.make_tensor_proto([markdown.encode()])
        value.tensor.ParseFromString(tensor.SerializeToString())
        _write_run(self.folder, REPORT_RUN, f"text-{_plain(tag)}", [_event(0, summary)])


def _write_run(root: Path, run: str, part: str, events: Iterable[Event]) -> None:
    """TensorBoard reads the files of a run in the order of their names, hence `part`."""
    path = root / run / f"events.out.tfevents.{part}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(Event(file_version="brain.Event:2").SerializeToString())
            for event in events:
                writer.write(event.SerializeToString())
    except tf.errors.OpError as error:  # TensorFlow's word for a disk that takes no more
        raise OSError(errno.ENOSPC, error.message, str(path)) from error


def _plain(tag: str) -> str:
    return tag.replace("/", "-")


def run_name(record: TrialRecord) -> str:
    """Optimizer first, so that TensorBoard's filter and colours go by it."""
    top = TRIALS if record.phase == Phase.SEARCH else OVERVIEW
    parts = (record.phase.value, record.repeat, record.number or None, record.confirm)
    name = "-".join(str(part) for part in parts if part is not None)
    return f"{top}/{record.optimizer}/{name}"


def _event(step: int, summary: Summary) -> Event:
    return Event(step=step, wall_time=time.time(), summary=summary)


class _AnyOf(hparams.Domain):  # type: ignore[misc]
    """All values of a type: a list of values would hide those of other studies from the table."""

    def __init__(self, name: str, example: Value) -> None:
        self.name, self.example = name, example

    @property
    def dtype(self) -> type:
        return type(self.example)

    def sample_uniform(self, rng: random.Random | None = None) -> Value:
        return self.example

    def update_hparam_info(self, info: Any) -> None:
        """Set the type, and `differs` for the columns that TensorBoard is to sort first."""
        info.differs = self.name in FIRST_COLUMNS
        if isinstance(self.example, bool):
            info.type = api_pb2.DATA_TYPE_BOOL
        elif isinstance(self.example, str):
            info.type = api_pb2.DATA_TYPE_STRING
        else:
            info.type = api_pb2.DATA_TYPE_FLOAT64


def _table_columns(space: SearchSpace) -> Summary:
    """Every hyperparameter of this space and of those that come with the study.

    TensorBoard obeys the first such list that it finds, for all studies under its folder.
    """
    examples: dict[str, Value] = {"optimizer": "adam", "phase": "search", "repeat": 0}
    for one in (space, *map(load_space, own_spaces())):
        examples = {**one.examples(), **examples}
    examples["bracket"] = 0
    config: Summary = hparams_summary.hparams_config_pb(
        hparams=[hparams.HParam(name, _AnyOf(name, value)) for name, value in examples.items()],
        metrics=[hparams.Metric(tag, display_name=text) for tag, text in METRICS.items()],
    )
    return config


def _hyperparameters(record: TrialRecord, run: str) -> Summary:
    table = {"optimizer": record.optimizer, "phase": record.phase.value, "repeat": record.repeat}
    if record.bracket is not None:
        table["bracket"] = record.bracket
    return hparams_summary.hparams_pb({**table, **record.hyperparameters}, trial_id=run)


def _curves(record: TrialRecord, since: int) -> Iterable[Event]:
    for epoch in range(since, len(record.loss)):
        summary = Summary()
        for field, tag in CURVES.items():
            summary.value.add(tag=tag, simple_value=getattr(record, field)[epoch])
        yield _event(epoch + 1, summary)


def _metrics(record: TrialRecord) -> Summary:
    summary = Summary()
    values = {
        "best/val_accuracy": record.best_val_accuracy,
        "best/val_loss": record.val_loss[record.best_epoch - 1] if record.val_loss else math.nan,
        "best/test_accuracy": record.test_accuracy,
        "best/epochs": record.epochs,
        "best/rung": record.rung,
        "best/status": STATUS[record.status],
    }
    for tag, value in values.items():
        if value is not None:
            summary.value.add(tag=tag, simple_value=value)
    return summary
