"""Events come in, a file that TensorBoard reads goes out.

TensorBoard reads the files of a run in the order of their names and never looks twice at a name
that it knows, so no name is given twice. Its Python reader forgets what a run said before once a
file begins with a session of its own; its data server lets a later file's steps replace the same
ones of an earlier file. So a run that is written anew is never shown twice.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter


class RunFile:
    """The one file of a run; nothing is on the disk before the first events.

    Args:
        run: folder of the run; its path below TensorBoard's folder is the run's name there.
    """

    def __init__(self, run: Path) -> None:
        self.path = run / f"events.out.tfevents.{time.time_ns():020d}"

    def append(self, events: Iterable[Event]) -> None:
        """Write events behind those that are there.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            writer = RecordWriter(file)
            if not file.tell():
                writer.write(Event(file_version="brain.Event:2").SerializeToString())
                session = Event(session_log=SessionLog(status=SessionLog.START))
                writer.write(session.SerializeToString())
            for event in events:
                writer.write(event.SerializeToString())
