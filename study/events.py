"""Records come in, TensorBoard event files go out: curves, the HParams table, images, text.

A run of TensorBoard is one configuration: the rungs of a Hyperband trial continue one curve. One
small file is written for each record, without a Keras callback. The folder is a view of the
records, never their source: a resumed study writes it anew.
"""

import errno
import io
import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import tensorflow as tf
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata

from study.records import Phase, TrialRecord

CURVES = {  # record's field -> TensorBoard's tag; the part before the slash makes one group
    "val_accuracy": "accuracy/validation",
    "accuracy": "accuracy/training",
    "val_loss": "loss/validation",
    "loss": "loss/training",
    "learning_rate": "learning_rate/learning_rate",
}
METRICS = {  # columns of the HParams table
    "best/val_accuracy": "best val_accuracy",
    "best/val_loss": "val_loss there",
    "best/test_accuracy": "test accuracy there",
    "best/epochs": "epochs",
}

REPORT_RUN = "report"


class EventFolder:
    """The `tensorboard/` folder of a study.

    Args:
        folder: emptied at once.
        optimizers: names, for the filter of the HParams table.
        known: records of an earlier, interrupted run of the study.
    """

    def __init__(
        self, folder: Path, optimizers: Sequence[str], known: Iterable[TrialRecord] = ()
    ) -> None:
        self.folder = folder
        self._runs: dict[str, str] = {}  # trial_id -> run
        shutil.rmtree(folder, ignore_errors=True)
        config = hparams_summary.hparams_config_pb(
            hparams=[
                hparams.HParam("optimizer", hparams.Discrete(list(optimizers))),
                hparams.HParam("phase", hparams.Discrete([phase.value for phase in Phase])),
                hparams.HParam("learning_rate"),
                hparams.HParam("schedule"),
            ],
            metrics=[hparams.Metric(tag, display_name=text) for tag, text in METRICS.items()],
        )
        _write_run(self.folder, "", "0000", [_event(0, config)])
        self.write(known)

    def write(self, records: Iterable[TrialRecord]) -> None:
        """Add records, each after the rung it continues."""
        for record in records:
            before = self._runs.get(record.continues or "")  # None too if that line was damaged
            first, run = before is None, before or run_name(record)
            self._runs[record.trial_id] = run
            events = [_event(0, _hyperparameters(record, run))] if first else []
            events += _curves(record, since=0 if first else record.initial_epoch)
            events.append(_event(record.epochs, _metrics(record)))
            _write_run(self.folder, run, f"{record.round or 0:04d}", events)


class ReportEvents:
    """The report inside TensorBoard: pictures under Images, its words under Text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder / REPORT_RUN, ignore_errors=True)

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
    place = f"{record.optimizer}/{record.phase}-{record.repeat}"
    if record.phase == Phase.DEFAULT:
        return place
    return f"{place}-{record.trial_id.rpartition('/')[2]}"


def _event(step: int, summary: Summary) -> Event:
    return Event(step=step, summary=summary)


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
    }
    for tag, value in values.items():
        if value is not None:
            summary.value.add(tag=tag, simple_value=value)
    return summary
