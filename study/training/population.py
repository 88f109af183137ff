"""Runs come in (configuration, split, seed, epochs); learning curves and final states go out.

Heads of one signature (optimizer class, batch size, shapes) train K at a time in one XLA program.
The program is Keras: the layers of `build_head` and the optimizer's own update are mapped over the
heads with `tf.vectorized_map`; learning rates, the optimizer's hyperparameters, dropout, splits and
seeds are mapped inputs. A call of the program is a few epochs, each with its validation. Dense
widths are padded to a few sizes: a unit beyond the real width has zero weights and a masked output,
so its gradients are zero.
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait

import numpy as np
import tensorflow as tf

from study.common.metrics import ACCURACY
from study.common.seeds import stream
from study.training.freed_memory import give_back
from study.training.head import Statistics
from study.training.head_state import Arrays
from study.training.loss import class_weights
from study.training.metrics import from_table, table_rows
from study.training.plain_keras import train_plainly
from study.training.program import Program
from study.training.program_key import WIDTHS, Signature, signature_of
from study.training.row_tensor import row_tensor
from study.training.runs import HeadResult, HeadRun, HeadState, order_of_rows
from study.training.schedules import learning_rates

MAX_WORKERS = 16  # populations under way
AHEAD_WORKERS = 2  # more than there are cores: they prepare in Python while others compute
GPU_WORKERS = 2  # one is prepared while the other computes
CPU_BUSY, GPU_BUSY = 40, 16  # populations for each worker: of fewer the last ones leave it waiting


Results = list[HeadResult]
Flying = dict[Future[Results], list[int]]  # populations under way -> indices of their runs


class Population:
    """Trains heads on one set of features, `size` at a time.

    Several populations are under way at once, in threads: one prepares or compiles in Python while
    others compute.

    Args:
        features: (N, n_features) float32.
        labels: (N,) int32.
        n_classes: how many classes.
        max_epochs: horizon of every schedule.
        size: heads in one program (see `population_size`).
        widths: dense widths are padded to the next of these; `few_widths` chooses them.
        alone: names of optimizers that plain Keras trains, because they cannot be mapped.
        metric: what decides between epochs, a key of `study.common.metrics.WORDS`.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_classes: int,
        *,
        max_epochs: int,
        size: int,
        widths: Sequence[int] = WIDTHS,
        alone: Collection[str] = (),
        metric: str = ACCURACY,
    ) -> None:
        self._features_host, self._labels_host = features, labels
        self._alone = frozenset(alone)
        self._features = row_tensor(features)
        self._labels = tf.convert_to_tensor(labels, tf.int32)
        self.n_classes, self.max_epochs, self.widths = n_classes, max_epochs, tuple(widths)
        self.size, self.metric = size, metric
        gpu = bool(tf.config.get_visible_devices("GPU"))
        cores = os.cpu_count() or 1
        self.workers = GPU_WORKERS if gpu else min(cores + AHEAD_WORKERS, MAX_WORKERS)
        self.busy = self.workers * (GPU_BUSY if gpu else CPU_BUSY)  # populations
        self._programs: dict[Signature, Program] = {}
        self._locks: dict[Signature, threading.Lock] = {}

    @property
    def compilations(self) -> int:
        """How many programs have been compiled."""
        return len(self._programs)

    @property
    def compile_seconds(self) -> float:
        """Wall time of the compilations, some of them side by side."""
        return sum(program.compile_seconds for program in list(self._programs.values()))

    def train(self, runs: Sequence[HeadRun]) -> Iterator[list[tuple[int, HeadResult]]]:
        """Train all runs; yields (index into `runs`, result) as populations end, in any order.

        What ended since it was last asked comes together, so one write can keep all of it.
        Closing the iterator or an interrupt ends the populations under way after their call; only
        the first one waits for that.
        """
        left, runs = list(runs), ()  # so that a state goes once it was continued
        waiting = self._populations(left)
        stop = threading.Event()
        flying: Flying = {}
        pool = ThreadPoolExecutor(self.workers)
        patient = True
        try:
            while waiting or flying:
                while len(flying) < 2 * self.workers and (
                    chosen := self._next(waiting, flying, left)
                ):
                    together = pool.submit(self._train_together, [left[i] for i in chosen], stop)
                    flying[together] = chosen
                done = wait(flying, return_when=FIRST_COMPLETED).done
                whole = [future for future in done if not future.exception()]
                if whole:
                    yield _ended(whole, flying, left)
                for future in done.difference(whole):
                    future.result()  # raises, once what the others reached is kept
        except KeyboardInterrupt:
            patient = False  # a compilation takes seconds: say first that it was heard
            raise
        finally:
            stop.set()
            pool.shutdown(patient, cancel_futures=True)

    def count(self, runs: Iterable[HeadRun]) -> Counter[Signature]:
        """How many of the runs have each signature."""
        return Counter(map(self._signature, runs))

    def are_enough(self, counts: Counter[Signature]) -> bool:
        """Whether so many runs of these signatures, trained together, keep the device busy."""
        return sum(-(-count // self.size) for count in counts.values()) >= self.busy

    def _next(
        self,
        waiting: dict[Signature, deque[list[int]]],
        flying: Flying,
        runs: Sequence[HeadRun],
    ) -> list[int] | None:
        """Take the population to begin now: one program is compiled while others train.

        Tracing holds Python's lock, so of programs that are missing one at a time is begun, and
        more only while there is nothing to train. None if it is better to wait.
        """
        ready = [one for one in waiting if one in self._programs or one.alone]
        missing = [one for one in waiting if one not in ready]
        begun = {self._signature(runs[chosen[0]]) for chosen in flying.values()}
        compiling = {one for one in begun - self._programs.keys() if not one.alone}
        missing = [signature for signature in missing if signature not in compiling]
        if missing and (not compiling or (not ready and len(compiling) < self.workers)):
            signature = missing[0]
        elif ready:
            signature = max(ready, key=lambda one: len(waiting[one]))
        else:
            return None
        chosen = waiting[signature].popleft()
        if not waiting[signature]:
            del waiting[signature]
        return chosen

    def _populations(self, runs: Sequence[HeadRun]) -> dict[Signature, deque[list[int]]]:
        """Indices of runs that train together: one signature, similar numbers of epochs left."""
        groups: dict[Signature, list[int]] = {}
        for index, run in enumerate(runs):
            groups.setdefault(self._signature(run), []).append(index)
        found = {}
        for signature, members in groups.items():
            members.sort(key=lambda index: -runs[index].remaining)
            parts = [members[at : at + self.size] for at in range(0, len(members), self.size)]
            found[signature] = deque(parts)
        return found

    def _signature(self, run: HeadRun) -> Signature:
        found = signature_of(run.config, len(run.train), len(run.validation), self.widths)
        return found._replace(alone=run.config.optimizer in self._alone)

    def _program(self, run: HeadRun) -> Program:
        signature = self._signature(run)
        with self._locks.setdefault(signature, threading.Lock()):
            if signature not in self._programs:
                program = Program(
                    signature,
                    run.config,
                    self._features.shape[1],
                    self.n_classes,
                    self.size,
                    self.metric,
                )
                program.compile(self._features, self._labels)
                give_back()
                self._programs[signature] = program
            return self._programs[signature]

    def _train_together(self, runs: list[HeadRun], stop: threading.Event) -> list[HeadResult]:
        if self._signature(runs[0]).alone:
            return [self._train_alone(run, stop) for run in runs]
        program = self._program(runs[0])
        start = time.perf_counter()
        slots = [*runs, *[runs[-1]] * (self.size - len(runs))]  # padded: rounding stays the same
        tables = [self._learning_rates(run, program) for run in runs]
        tables += [tables[-1]] * (self.size - len(runs))
        heads = program.inputs(
            [run.config for run in slots],
            np.stack([run.validation for run in slots]),
            np.stack([stream(run.seed, "dropout").integers(2**32, size=2) for run in slots]),
            [self._normalization(run) for run in slots],
            [
                class_weights(run.config, self._labels_host[run.train], self.n_classes)
                for run in slots
            ],
        )
        layout = program.layout
        states = [
            run.state.arrays if run.state else layout.fresh(run.config, run.seed) for run in runs
        ]
        state = layout.stack(states + [states[-1]] * (self.size - len(runs)))
        last = max(run.remaining for run in runs)
        ends = sorted({run.remaining for run in runs} | {0})
        rows = table_rows(self.metric, self.n_classes)
        curves = np.zeros((last, rows, self.size), np.float32)
        taken: dict[int, Arrays] = {}
        done = 0
        while True:
            ending = [slot for slot, run in enumerate(runs) if done == run.remaining]
            taken |= zip(ending, layout.take(state, ending), strict=True)
            if done == last:
                break
            if stop.is_set():
                raise CancelledError
            until = min(next(end for end in ends if end > done), done + program.most_epochs)
            numbers = [
                [run.first + min(epoch, run.remaining - 1) for run in slots]
                for epoch in range(done, until)
            ]
            curves[done:until], state = program.train(
                self._features,
                self._labels,
                heads,
                state,
                [[order_of_rows(*o) for o in zip(slots, epoch, strict=True)] for epoch in numbers],
                [[t[e] for t, e in zip(tables, epoch, strict=True)] for epoch in numbers],
                numbers,
            )
            done = until
        seconds = (time.perf_counter() - start) / len(runs) / self.workers
        return [
            HeadResult(
                from_table(curves[: run.remaining, :, slot], program.metric, program.n_classes),
                learning_rate=tables[slot][run.first : run.epochs, -1].copy(),
                state=HeadState.of(run.epochs, taken[slot]) if run.pauses else None,
                best_weights=layout.best_weights(taken[slot], run.config),
                seconds=seconds,
            )
            for slot, run in enumerate(runs)
        ]

    def _train_alone(self, run: HeadRun, stop: threading.Event) -> HeadResult:
        result = train_plainly(
            run,
            self._features_host,
            self._labels_host,
            self.n_classes,
            max_epochs=self.max_epochs,
            metric=self.metric,
            enough=stop.is_set,
        )
        if stop.is_set():
            raise CancelledError
        return result._replace(seconds=result.seconds / self.workers)

    def _learning_rates(self, run: HeadRun, program: Program) -> np.ndarray:
        """(max_epochs, steps of an epoch)."""
        if run.epochs > self.max_epochs:
            raise ValueError(f"{run.epochs} epochs, but the schedules end at {self.max_epochs}")
        table = learning_rates(run.config, self.max_epochs * program.steps)
        return table.reshape(self.max_epochs, program.steps)

    def _normalization(self, run: HeadRun) -> Statistics | None:
        return Statistics.of(self._features_host[run.train]) if run.config.normalize else None


def _ended(
    whole: Sequence[Future[Results]], flying: Flying, left: list[HeadRun]
) -> list[tuple[int, HeadResult]]:
    """(index, result) of what ended; the states that it was continued from are let go."""
    found: list[tuple[int, HeadResult]] = []
    for future in whole:
        found += zip(flying.pop(future), future.result(), strict=True)
    for index, _ in found:
        left[index] = left[index]._replace(state=None)
    return found


OUT_OF_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)
