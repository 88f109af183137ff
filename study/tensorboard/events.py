"""Numbers, images and words -> events, and events -> a file that TensorBoard reads.

Events are built without `tensorboard.plugins.hparams.api`, which imports TensorFlow. TensorBoard
reads the files of a run in the order of their names and never reads a name again that it knows, so
every name is used once. When a file starts with a session of its own, its Python reader forgets the
earlier files of the run; its data server replaces steps of an earlier file by the same steps of a
later one. So a run that is written again is never shown twice.
"""

import io
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto

from study.common.aliases import Value

TYPES = {  # kind of a hyperparameter -> its column's type
    "bool": api_pb2.DATA_TYPE_BOOL,
    "string": api_pb2.DATA_TYPE_STRING,
    "number": api_pb2.DATA_TYPE_FLOAT64,
}


def scalars(step: int, values: Mapping[str, float | None]) -> Event:
    """Return points of several curves, tag -> value, without values that are None."""
    summary = Summary()
    for tag, value in values.items():
        if value is not None:
            summary.value.add(tag=tag, simple_value=value)
    return _event(step, summary)


def image(tag: str, png: bytes) -> Event:
    """Return a PNG, to be shown under Images."""
    summary = Summary()
    value = summary.value.add(tag=tag)
    value.image.width, value.image.height = Image.open(io.BytesIO(png)).size
    value.image.colorspace = 4  # RGBA
    value.image.encoded_image_string = png
    return _event(0, summary)


def text(tag: str, markdown: str, *, step: int = 0) -> Event:
    """Return Markdown, to be shown under Text."""
    summary = Summary()
    words = make_tensor_proto([markdown.encode("utf-8", "replace")])
    summary.value.add(tag=tag, metadata=text_metadata("", ""), tensor=words)
    return _event(step, summary)


def row(name: str, values: Mapping[str, Value]) -> Event:
    """Return a run's row of the HParams table.

    Of two rows of one name TensorBoard would make one with their mean, and without names it takes
    the run's path, of which its table shows the first letters. So the time follows the name.
    """
    now = time.time()
    start = plugin_data_pb2.SessionStartInfo(start_time_secs=now, group_name=f"{name}, {now:.6f}")
    for name, value in values.items():
        setattr(start.hparams[name], f"{_kind(value)}_value", value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
    return _hparams(metadata.SESSION_START_INFO_TAG, data)


def columns(
    examples: Mapping[str, Value], metrics: Mapping[str, str], first: Collection[str]
) -> Event:
    """Return the columns of the HParams table.

    Args:
        examples: hyperparameter -> one possible value, used for its type only: a list of values
            would hide those of other studies from the table.
        metrics: tag -> title.
        first: hyperparameters shown without a click.
    """
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=TYPES[_kind(value)], differs=name in first)
            for name, value in examples.items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title)
            for tag, title in metrics.items()
        ],
    )
    data = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    return _hparams(metadata.EXPERIMENT_TAG, data)


def _kind(value: Value) -> str:
    return {bool: "bool", str: "string"}.get(type(value), "number")


def _hparams(tag: str, data: plugin_data_pb2.HParamsPluginData) -> Event:
    summary = Summary()
    summary.value.add(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
    return _event(0, summary)


def _event(step: int, summary: Summary) -> Event:
    return Event(step=step, wall_time=time.time(), summary=summary)


class RunFile:
    """The file of a run, created with its first events; its folder's path is the run's name."""

    def __init__(self, run: Path) -> None:
        self.path = run / f"events.out.tfevents.{time.time_ns():020d}"

    def append(self, events: Iterable[Event]) -> None:
        """Append events; raise OSError if the disk is full or the folder cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            writer = RecordWriter(file)
            if not file.tell():
                writer.write(Event(file_version="brain.Event:2").SerializeToString())
                session = Event(session_log=SessionLog(status=SessionLog.START))
                writer.write(session.SerializeToString())
            for event in events:
                writer.write(event.SerializeToString())
