"""Runs come in (configuration, split, seed, epochs); learning curves and final states go out.

Heads of one signature (optimizer class, batch size, shapes) train K at a time in one XLA program.
The program is Keras: the layers of `build_head` and the optimizer's own update are mapped over the
heads with `tf.vectorized_map`; learning rates, the optimizer's hyperparameters, dropout, splits and
seeds are mapped inputs. A call of the program is a few epochs, each with its validation. Dense
widths are padded to a few sizes: a unit beyond the real width has zero weights and a masked output,
so its gradients are zero.

How many heads train at once: what the device does fastest, within its memory.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from study.common.metrics import ACCURACY
from study.common.seeds import stream
from study.space.search_space import SearchSpace
from study.training.epoch_metrics import from_table, table_rows
from study.training.epochs import Inputs
from study.training.head import Statistics
from study.training.head_state import State, StateShape, row_tensor, taken
from study.training.loss import class_weights
from study.training.places import Place, Results, Trainer
from study.training.plain_keras import train_plainly
from study.training.program import Program
from study.training.program_cache import Compilation
from study.training.program_key import WIDTHS, Signature
from study.training.programs import Programs
from study.training.runs import (
    HeadResult,
    HeadRun,
    HeadState,
    TrainingRules,
    TrainingTable,
    order_of_rows,
)
from study.training.schedules import learning_rates

MAX_WORKERS = 16  # populations under way
AHEAD_WORKERS = 2  # more than there are cores: they prepare in Python while others compute
GPU_WORKERS = 2  # one is prepared while the other computes
BUSY = 16  # populations for each worker: of fewer the last ones leave it waiting

CPU_HEADS = 2  # fewer share less of each step's cost, more gain nothing and leave slots empty
# On an H200 twice 128 heads take 8 to 13 % less of a program's time, but copies of states take more
# than that; and of the default study's five repeats a program gets 34 heads at once, 134 at most.
GPU_HEADS = (16, 32, 64, 128)
GAIN = 1.1  # times faster a head that the next size must be
ROWS = 1024  # training rows that a timed run sees


class End(NamedTuple):
    """What a run ended in."""

    state: HeadState | None  # where it may be continued
    best_weights: list[np.ndarray]


class LocalTrainer(Trainer):
    """Trains heads on one set of features, in this process: its own only place.

    Several populations are under way at once, in threads: one prepares or compiles in Python while
    others compute.

    Args:
        features: (N, n_features) float32.
        labels: (N,) int32.
        n_classes: this and all others but the last two: see `Trainer`.
        views: (N, n_views) row numbers of each example's views, the first its own; a run trains on
            one of them in each epoch. None: all examples have their own row alone.
        programs: those that are there already, or are just being compiled, by another thread.
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
        views: np.ndarray | None = None,
        programs: Programs | None = None,
    ) -> None:
        super().__init__(
            n_classes, max_epochs=max_epochs, size=size, widths=widths, alone=alone, metric=metric
        )
        self._features_host, self._labels_host, self._views = features, labels, views
        self._features = row_tensor(features)
        self._labels = tf.convert_to_tensor(labels, tf.int32)
        gpu = bool(tf.config.get_visible_devices("GPU"))
        cores = os.cpu_count() or 1
        self.side_by_side = GPU_WORKERS if gpu else min(cores + AHEAD_WORKERS, MAX_WORKERS)
        self.busy = self.side_by_side * BUSY  # populations
        shape = features.shape[0], features.shape[1]
        self.programs = programs or Programs(shape, n_classes, size=size, metric=metric)
        if (self.programs.rows, self.programs.size) != (shape, size):
            raise ValueError(f"programs for {self.programs.rows}, but the features are {shape}")
        self._stop, self._pool = threading.Event(), ThreadPoolExecutor(self.side_by_side)

    @classmethod
    def of(
        cls,
        table: TrainingTable,
        rules: TrainingRules,
        size: int,
        programs: Programs | None = None,
    ) -> "LocalTrainer":
        """A trainer of this table by these rules."""
        features, labels, n_classes, views = table
        return cls(
            features,
            labels,
            n_classes,
            size=size,
            views=views,
            programs=programs,
            **rules._asdict(),
        )

    @property
    def compilations(self) -> int:
        """Number of programs that were compiled or read."""
        return len(self.programs.compilations)

    @property
    def compiled_here(self) -> Sequence[Compilation]:
        """The programs that were compiled or read: all of them in this process."""
        return self.programs.compilations

    @property
    def compile_seconds(self) -> float:
        """Wall time of the compilations, some of them side by side."""
        return sum(one.end - one.start for one in list(self.programs.compilations))

    def places(self) -> Sequence[Place]:
        """This process."""
        return [self]

    @property
    def compiled(self) -> Collection[Signature]:
        """Signatures of the programs that it has."""
        return self.programs.ready

    def submit(self, runs: list[HeadRun]) -> Future[Results]:
        """Begin a population, in a thread; see `Place`."""
        return self._pool.submit(self._train_together, runs, self._stop)

    def stop(self, *, patient: bool) -> None:
        """Give up what is under way after the call that it is in."""
        self._stop.set()
        self._pool.shutdown(patient, cancel_futures=True)
        self._stop, self._pool = threading.Event(), ThreadPoolExecutor(self.side_by_side)

    def _program(self, run: HeadRun) -> Program:
        return self.programs.of(self.signature(run), run.config, self._features, self._labels)

    def _train_together(self, runs: list[HeadRun], stop: threading.Event) -> Results:
        if self.signature(runs[0]).alone:
            return [self._train_alone(run, stop) for run in runs]
        program = self._program(runs[0])
        start = time.perf_counter()
        tables = [self._learning_rates(run, program) for run in runs]
        curves, ends = self._through_epochs(program, runs, tables, stop)
        seconds = (time.perf_counter() - start) / len(runs) / self.side_by_side
        return [
            HeadResult(
                from_table(curves[: run.remaining, :, slot], program.metric, program.n_classes),
                learning_rate=tables[slot][run.first : run.epochs, -1].copy(),
                state=ends[slot].state,
                best_weights=ends[slot].best_weights,
                seconds=seconds,
            )
            for slot, run in enumerate(runs)
        ]

    def _through_epochs(
        self,
        program: Program,
        runs: list[HeadRun],
        tables: list[np.ndarray],
        stop: threading.Event,
    ) -> tuple[np.ndarray, dict[int, End]]:
        """Train all epochs that the runs have left, some in each call of the program.

        Returns:
            (epochs, rows, size) float32 curves, see `as_table`; and what each run ended in.
        """
        more = self.size - len(runs)  # empty slots repeat the last run: rounding stays the same
        slots, tables = runs + runs[-1:] * more, tables + tables[-1:] * more
        heads, layout = self._inputs(program, slots), program.layout
        state = _beginning(layout, runs, more)
        last = max(run.remaining for run in runs)
        stations = sorted({run.remaining for run in runs})
        rows = table_rows(self.metric, self.n_classes)
        curves = np.zeros((last, rows, self.size), np.float32)
        ends: dict[int, End] = {}
        done = 0
        while True:
            ending = [slot for slot, run in enumerate(runs) if done == run.remaining]
            ends |= _ends(layout, state, runs, ending)
            if done == last:
                return curves, ends
            if stop.is_set():
                raise CancelledError
            until = min(next(at for at in stations if at > done), done + program.most_epochs)
            numbers = [
                [run.first + min(epoch, run.remaining - 1) for run in slots]
                for epoch in range(done, until)
            ]
            orders = [
                [self._order(*one) for one in zip(slots, epoch, strict=True)] for epoch in numbers
            ]
            rates = [[t[e] for t, e in zip(tables, epoch, strict=True)] for epoch in numbers]
            curves[done:until], state = program.train(
                self._features, self._labels, heads, state, orders, rates, numbers
            )
            done = until

    def _inputs(self, program: Program, slots: list[HeadRun]) -> Inputs:
        labels = self._labels_host
        return program.inputs(
            [run.config for run in slots],
            np.stack([run.validation for run in slots]),
            np.stack([stream(run.seed, "dropout").integers(2**32, size=2) for run in slots]),
            [self._normalization(run) for run in slots],
            [class_weights(run.config, labels[run.train], self.n_classes) for run in slots],
        )

    def _train_alone(self, run: HeadRun, stop: threading.Event) -> HeadResult:
        result = train_plainly(
            run,
            self._features_host,
            self._labels_host,
            self.n_classes,
            max_epochs=self.max_epochs,
            metric=self.metric,
            views=self._views,
            enough=stop.is_set,
        )
        if stop.is_set():
            raise CancelledError
        return result._replace(seconds=result.seconds / self.side_by_side)

    def _order(self, run: HeadRun, epoch: int) -> np.ndarray:
        return order_of_rows(run, epoch, self._views)

    def _learning_rates(self, run: HeadRun, program: Program) -> np.ndarray:
        """(max_epochs, steps of an epoch)."""
        if run.epochs > self.max_epochs:
            raise ValueError(f"{run.epochs} epochs, but the schedules end at {self.max_epochs}")
        table = learning_rates(run.config, self.max_epochs * program.steps)
        return table.reshape(self.max_epochs, program.steps)

    def _normalization(self, run: HeadRun) -> Statistics | None:
        return Statistics.of(self._features_host[run.train]) if run.config.normalize else None


def _beginning(layout: StateShape, runs: Sequence[HeadRun], more: int) -> State:
    """Where the runs stand, the last of them `more` times again."""
    states = [run.state.arrays if run.state else layout.fresh(run.config, run.seed) for run in runs]
    return layout.stack(states + states[-1:] * more)


def _ends(
    layout: StateShape, state: State, runs: Sequence[HeadRun], slots: Sequence[int]
) -> dict[int, End]:
    """What the runs in these slots ended in; of a state only what is kept leaves the device."""
    pausing = [slot for slot in slots if runs[slot].pauses]
    paused = dict(zip(pausing, taken(state, pausing), strict=True))
    return {
        slot: End(
            HeadState.of(runs[slot].epochs, paused[slot]) if slot in paused else None,
            layout.best_weights(best, runs[slot].config),
        )
        for slot, best in zip(slots, taken(state.best, slots), strict=True)
    }


OUT_OF_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


def heads_at_once(
    make: Callable[[int], LocalTrainer],
    space: SearchSpace,
    train: np.ndarray,
    validation: np.ndarray,
) -> int:
    """Known for CPUs (`tests/benchmarks/trainer.py` shows it); timed on a GPU, once a study.

    Args:
        make: a population of so many heads at once.
        space: its first optimizer with its widest head is timed.
        train: (n,) row numbers.
        validation: (m,) row numbers.
    """
    if not tf.config.get_visible_devices("GPU"):
        return CPU_HEADS
    run = widest_run(space, train, validation)
    return fastest(lambda size: seconds_a_head(make(size), run), GPU_HEADS)


def widest_run(space: SearchSpace, train: np.ndarray, validation: np.ndarray) -> HeadRun:
    """An epoch of the space's first optimizer and widest head, on a part of the rows."""
    default = space.default(next(iter(space.optimizers)))
    config = replace(default, dense_width=max(space.dense_widths()))
    return HeadRun(config, train[:ROWS], validation[:ROWS], seed=1, epochs=1)


def fastest(seconds: Callable[[int], float], sizes: Sequence[int]) -> int:
    """The last of the rising `sizes` that fits and gains `GAIN` over the one before it."""
    best, before = sizes[0], float("inf")
    for size in sizes:
        try:
            now = seconds(size)
        except OUT_OF_MEMORY:
            break
        if now * GAIN > before:
            break
        best, before = size, now
    return best


def seconds_a_head(population: LocalTrainer, run: HeadRun) -> float:
    """`run` as often as a study has heads under way, compiled before."""
    runs = [run] * population.size * population.side_by_side
    list(population.train(runs))
    start = time.perf_counter()
    list(population.train(runs))
    return (time.perf_counter() - start) / len(runs)
