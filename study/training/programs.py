"""The programs of a study, each made once: for what is trained now, or ahead of it in a thread."""

import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from study.common.metrics import ACCURACY
from study.space.head_config import HeadConfig
from study.training.freed_memory import give_back
from study.training.program import Program
from study.training.program_cache import Compilation
from study.training.program_key import Signature


class Programs:
    """Compiles, or reads, what is asked for.

    Args:
        rows: shape of the features, (N, n_features).
        n_classes: how many classes.
        size: heads in one program.
        metric: what judges an epoch.
    """

    def __init__(
        self, rows: tuple[int, int], n_classes: int, *, size: int, metric: str = ACCURACY
    ) -> None:
        self.rows, self.n_classes, self.size, self.metric = rows, n_classes, size, metric
        self.compilations: list[Compilation] = []
        self._ready: dict[Signature, Program] = {}
        self._locks: dict[Signature, threading.Lock] = {}

    @property
    def ready(self) -> Collection[Signature]:
        """Signatures of those that are there."""
        return self._ready.keys()

    def of(
        self, signature: Signature, config: HeadConfig, features: tf.Tensor, labels: tf.Tensor
    ) -> Program:
        """The program of a signature, which `config` has.

        Args:
            signature: what the program is compiled for.
            config: any configuration of the signature.
            features: (N, n_features), of which only the shape matters.
            labels: (N,), of which only the shape matters.
        """
        with self._locks.setdefault(signature, threading.Lock()):
            if signature not in self._ready:
                start = time.monotonic()
                program = Program(
                    signature, config, features, labels, self.n_classes, self.size, self.metric
                )
                give_back()
                self.compilations.append(Compilation(start, time.monotonic(), program.kept))
                self._ready[signature] = program
            return self._ready[signature]


class Ahead:
    """Compiles in a thread while something else keeps the caller busy, until it is closed.

    What it is at then is finished beside the caller's next work, which waits for it only where it
    needs the same program. An error comes again, to the caller, where the program is needed.

    Args:
        programs: where they are put.
        wanted: signatures with any configuration of theirs, in the order in which they are needed.
    """

    def __init__(self, programs: Programs, wanted: Sequence[tuple[Signature, HeadConfig]]) -> None:
        self._programs, self._wanted, self._stop = programs, wanted, threading.Event()
        self._thread = ThreadPoolExecutor(1, "ahead")

    def __enter__(self) -> "Ahead":
        self._thread.submit(self._compile)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown(wait=False)

    def join(self) -> None:
        """Wait until what it was at has ended."""
        self._thread.shutdown()

    def _compile(self) -> None:
        # memory that nobody writes is none yet: a call of no epochs reads no row
        features = tf.raw_ops.Empty(shape=self._programs.rows, dtype=tf.float32)
        labels = tf.raw_ops.Empty(shape=self._programs.rows[:1], dtype=tf.int32)
        for signature, config in self._wanted:
            if self._stop.is_set():
                return
            self._programs.of(signature, config, features, labels)
