"""The programs of a study: each is made once, when it is needed or ahead of that in a thread."""

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import tensorflow as tf

from study.common.freed_memory import give_back
from study.space.head_config import HeadConfig
from study.training.epochs import RowTensors
from study.training.program import Program
from study.training.program_cache import Compilation
from study.training.program_key import ProgramShape, Signature


class Programs:
    """Compiles programs, or reads them from the disk; any thread may ask for one."""

    def __init__(self, shape: ProgramShape) -> None:
        self.shape = shape
        self.compilations: list[Compilation] = []
        self._ready: dict[Signature, Program] = {}
        self._locks: dict[Signature, threading.Lock] = {}

    @property
    def ready(self) -> Collection[Signature]:
        """Signatures of the programs that can be called now."""
        return self._ready.keys()

    def of(self, signature: Signature, config: HeadConfig, rows: RowTensors) -> Program:
        """Return the program of a signature, which `config` has; wait if another thread makes it.

        Of `rows` only the shapes matter.
        """
        with self._locks.setdefault(signature, threading.Lock()):
            if signature not in self._ready:
                start = time.monotonic()
                program = Program(signature, config, self.shape, rows)
                give_back()
                self.compilations.append(Compilation(start, time.monotonic(), program.kept))
                self._ready[signature] = program
            return self._ready[signature]


@contextmanager
def compiled_ahead(
    programs: Programs, wanted: Sequence[tuple[Signature, HeadConfig]]
) -> Iterator[Future[None]]:
    """Compile in a thread while the caller does something else; yield what ends with the thread.

    After the `with` block the thread finishes the program it is compiling and begins no other. The
    caller waits for it only where it needs the same program; an error is raised there again.
    `wanted` holds signatures with any of their configurations, in the order of their use.
    """
    stop, thread = threading.Event(), ThreadPoolExecutor(1, "ahead")

    def compile_wanted() -> None:
        # Memory that is never written takes no room, and a call of no epochs reads no row.
        shape, empty = programs.shape, tf.raw_ops.Empty
        rows = RowTensors(
            empty(shape=shape.rows, dtype=tf.float32),
            empty(shape=shape.rows[:1], dtype=tf.int32),
            empty(shape=shape.rows[:1], dtype=tf.float32) if shape.weighted else (),
        )
        for signature, config in wanted:
            if stop.is_set():
                return
            programs.of(signature, config, rows)

    try:
        yield thread.submit(compile_wanted)
    finally:
        stop.set()
        thread.shutdown(wait=False)
