"""Runs come in (configuration, split, seed, epochs); learning curves and final states go out.

Heads of one signature (optimizer class, batch size, shapes) train K at a time in one XLA program.
The program is Keras: the layers of `build_head` and the optimizer's own update are mapped over the
heads with `tf.vectorized_map`; learning rates, the optimizer's hyperparameters, dropout, splits and
seeds are mapped inputs. A call of the program trains a few epochs, each with its validation. Dense
widths are padded to a few sizes: a unit beyond the real width has zero weights and a masked output,
so its gradients are zero. On a GPU, K is the fastest size that fits into memory.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import tensorflow as tf
from jaxtyping import Float32, Int, UInt

from study.common.seeds import stream
from study.space.search_space import SearchSpace
from study.training.epoch_metrics import cross_fitted_classes, from_table, table_rows
from study.training.epochs import Inputs, RowTensors
from study.training.head import Statistics
from study.training.head_state import State, StateShape, row_tensor, taken
from study.training.loss import class_weights
from study.training.places import Place, Results, Trainer
from study.training.plain_keras import train_plainly
from study.training.program import Program
from study.training.program_cache import Compilation
from study.training.program_key import ProgramShape, Signature
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

MAX_WORKERS = 16  # populations trained concurrently
AHEAD_WORKERS = 2  # more than there are cores: they prepare in Python while others compute
GPU_WORKERS = 2  # one prepares while the other computes
BUSY = 16  # populations for each worker: with fewer, some workers wait at the end

CPU_HEADS = 2  # fewer share less of each step's cost, more gain nothing and leave slots empty
# On an H200 twice 128 heads take 8 to 13 % less of a program's time, but copies of states take more
# than that; of the default study's five repeats a program gets 34 heads concurrently, 134 at most.
GPU_HEADS = (16, 32, 64, 128)
GAIN = 1.1  # times faster for each head that the next size must be
ROWS = 1024  # training rows of a timed run
OUT_OF_MEMORY = (MemoryError, tf.errors.ResourceExhaustedError)


End = tuple[HeadState | None, list[Float32[np.ndarray, "..."]]]  # fields of a `HeadResult`


class LocalTrainer(Trainer):
    """Trains heads in this process, which is its only place.

    Several populations train concurrently, in threads: one prepares or compiles in Python while
    others compute. Other threads may be making `programs` already.
    """

    def __init__(
        self,
        table: TrainingTable,
        rules: TrainingRules,
        size: int,
        programs: Programs | None = None,
    ) -> None:
        super().__init__(rules, size)
        self._table = table
        weighted = table.sample_weight is not None
        self._rows = RowTensors(
            row_tensor(table.features),
            tf.convert_to_tensor(table.labels, tf.int32),
            tf.convert_to_tensor(table.sample_weight, tf.float32) if weighted else (),
        )
        gpu = bool(tf.config.get_visible_devices("GPU"))
        cores = os.cpu_count() or 1
        self.side_by_side = GPU_WORKERS if gpu else min(cores + AHEAD_WORKERS, MAX_WORKERS)
        self.busy = self.side_by_side * BUSY  # populations
        rows = table.features.shape[0], table.features.shape[1]
        shape = ProgramShape(rows, table.n_classes, size, rules.metric, weighted)
        self.programs = programs or Programs(shape)
        if self.programs.shape != shape:
            raise ValueError(f"received programs for {self.programs.shape}, but needs {shape}")
        self._stop, self._pool = threading.Event(), ThreadPoolExecutor(self.side_by_side)

    @property
    def compiled_here(self) -> Sequence[Compilation]:
        """The programs that were compiled or read, all in this process."""
        return self.programs.compilations

    def places(self) -> Sequence[Place]:
        """Return this process."""
        return [self]

    @property
    def compiled(self) -> Collection[Signature]:
        """Signatures of the programs that it has."""
        return self.programs.ready

    def submit(self, runs: list[HeadRun]) -> Future[Results]:
        """Start a population in a thread; see `Place`."""
        return self._pool.submit(self._train_together, runs, self._stop)

    def stop(self, *, patient: bool) -> None:
        """Abandon each population after its current call of a program."""
        self._stop.set()
        self._pool.shutdown(patient, cancel_futures=True)
        self._stop, self._pool = threading.Event(), ThreadPoolExecutor(self.side_by_side)

    def _train_together(self, runs: list[HeadRun], stop: threading.Event) -> Results:
        signature = self.signature(runs[0])
        if signature.alone:
            return [self._train_alone(run, stop) for run in runs]
        program = self.programs.of(signature, runs[0].config, self._rows)
        start = time.perf_counter()
        rates = [self._learning_rates(run, program) for run in runs]
        curves, classes, ends = self._through_epochs(program, runs, rates, stop)
        seconds = (time.perf_counter() - start) / len(runs) / self.side_by_side
        results = []
        for slot, run in enumerate(runs):
            found = from_table(curves[: run.remaining, :, slot], self.metric, self._table.n_classes)
            fitted = None
            if run.keep_classes:
                predicted = np.concatenate(classes[slot])[: run.remaining]
                fitted = cross_fitted_classes(found, self.metric, predicted)
            of_steps = rates[slot][run.first : run.epochs, -1].copy()
            results.append(HeadResult(found, of_steps, *ends[slot], seconds, fitted))
        return results

    def _train_alone(self, run: HeadRun, stop: threading.Event) -> HeadResult:
        result = train_plainly(run, self._table, self.rules, stop.is_set)
        if stop.is_set():
            raise CancelledError
        return result._replace(seconds=result.seconds / self.side_by_side)

    def _learning_rates(
        self, run: HeadRun, program: Program
    ) -> Float32[np.ndarray, "max_epochs steps"]:
        most = self.rules.max_epochs
        if run.epochs > most:
            raise ValueError(f"{run.epochs} epochs, but the schedules end at {most}")
        return learning_rates(run.config, most * program.steps).reshape(most, program.steps)

    def _through_epochs(
        self,
        program: Program,
        runs: list[HeadRun],
        rates: list[Float32[np.ndarray, "max_epochs steps"]],
        stop: threading.Event,
    ) -> tuple[
        Float32[np.ndarray, "epochs rows size"],
        dict[int, list[UInt[np.ndarray, "e m"]]],
        dict[int, End],
    ]:
        """Train all remaining epochs, some in each call of the program.

        Returns:
            an `as_table` of each epoch; of the runs that keep them, by slot, the predicted classes
            of the epochs of each call; and the end of the run in each slot.
        """
        more = self.size - len(runs)  # empty slots repeat the last run: rounding stays the same
        slots, rates = runs + runs[-1:] * more, rates + rates[-1:] * more
        heads, shape = self._inputs(program, slots), program.state_shape
        first = [
            run.state.arrays if run.state else shape.fresh(run.config, run.seed) for run in runs
        ]
        state = shape.stack(first + first[-1:] * more)
        lengths = sorted({run.remaining for run in runs})
        rows = table_rows(self.metric, self._table.n_classes)
        curves = np.zeros((lengths[-1], rows, self.size), np.float32)
        small = np.min_scalar_type(self._table.n_classes - 1)
        classes: dict[int, list[UInt[np.ndarray, "e m"]]] = defaultdict(list)
        ends: dict[int, End] = {}
        done = 0
        while True:
            ends |= _ends(shape, state, runs, done)
            if done == lengths[-1]:
                return curves, classes, ends
            if stop.is_set():
                raise CancelledError
            until = min(next(at for at in lengths if at > done), done + program.most_epochs)
            numbers = [
                [run.first + min(epoch, run.remaining - 1) for run in slots]
                for epoch in range(done, until)
            ]
            orders = [
                [order_of_rows(*one, self._table.views) for one in zip(slots, epoch, strict=True)]
                for epoch in numbers
            ]
            now = [[of[e] for of, e in zip(rates, epoch, strict=True)] for epoch in numbers]
            curves[done:until], predicted, state = program.train(
                self._rows, heads, state, orders, now, numbers
            )
            for slot in (slot for slot, run in enumerate(runs) if run.keep_classes):
                classes[slot].append(predicted[:, slot].astype(small))
            done = until

    def _inputs(self, program: Program, slots: list[HeadRun]) -> Inputs:
        features, labels, n_classes = self._table[:3]
        return program.inputs(
            [run.config for run in slots],
            np.stack([run.validation for run in slots]),
            np.stack([stream(run.seed, "dropout").integers(2**32, size=2) for run in slots]),
            [Statistics.of(features[run.train]) if run.config.normalize else None for run in slots],
            [class_weights(run.config, labels[run.train], n_classes) for run in slots],
        )


def _ends(shape: StateShape, state: State, runs: Sequence[HeadRun], done: int) -> dict[int, End]:
    """Return the runs that end after `done` epochs, by slot; only what is kept leaves a device."""
    ending = [slot for slot, run in enumerate(runs) if run.remaining == done]
    pausing = [slot for slot in ending if runs[slot].pauses]
    paused = dict(zip(pausing, taken(state, pausing), strict=True))
    last = [slot for slot in ending if runs[slot].last_weights]
    best = [slot for slot in ending if not runs[slot].last_weights]
    weights = taken(shape.in_order(state.weights, state.statistics), last) + taken(state.best, best)
    return {
        slot: (
            HeadState.of(runs[slot].epochs, paused[slot]) if slot in paused else None,
            shape.unpadded(of_head, runs[slot].config),
        )
        for slot, of_head in zip(last + best, weights, strict=True)
    }


def heads_at_once(
    make: Callable[[int], LocalTrainer],
    space: SearchSpace,
    train: Int[np.ndarray, " n"],
    validation: Int[np.ndarray, " m"],
) -> int:
    """Return the best number of heads in a program: known for CPUs, timed once a study on a GPU.

    `make` returns a trainer with so many heads in a program.
    """
    if not tf.config.get_visible_devices("GPU"):
        return CPU_HEADS  # measured by tests/benchmarks/trainer.py
    run = widest_run(space, train, validation)
    return fastest(lambda size: seconds_a_head(make(size), run), GPU_HEADS)


def widest_run(
    space: SearchSpace, train: Int[np.ndarray, " n"], validation: Int[np.ndarray, " m"]
) -> HeadRun:
    """Return an epoch of the space's first optimizer and widest head, on at most `ROWS` rows."""
    default = space.default(next(iter(space.optimizers)))
    config = replace(default, dense_width=max(space.dense_widths()))
    return HeadRun(config, train[:ROWS], validation[:ROWS], seed=1, epochs=1)


def fastest(seconds: Callable[[int], float], sizes: Sequence[int]) -> int:
    """Return the last of the ascending `sizes` that fits and gains `GAIN` over the one before."""
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


def seconds_a_head(trainer: LocalTrainer, run: HeadRun) -> float:
    """Time `run`, compiled before, as often as a study trains heads concurrently."""
    runs = [run] * trainer.size * trainer.side_by_side
    list(trainer.train(runs))
    start = time.perf_counter()
    list(trainer.train(runs))
    return (time.perf_counter() - start) / len(runs)
