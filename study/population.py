"""Runs come in (configuration, split, seed, epochs); learning curves and final states go out.

Heads of one signature (optimizer class, batch size, shapes) train K at a time in one XLA program.
The program is Keras: the layers of `build_head` and the optimizer's own update are mapped over the
heads with `tf.vectorized_map`; learning rates, knobs, dropout, splits and seeds are mapped inputs.
A call of the program is one epoch, validation included. Dense widths are padded to a few sizes:
a unit beyond the real width has zero weights, its output is masked, so its gradients are zero.
"""

import time
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from study.head import Statistics, learning_rates, steps_per_epoch
from study.program import Program, Signature, signature_of
from study.space import HeadConfig


class HeadState(NamedTuple):
    """All that continuing a run exactly takes."""

    epoch: int  # epochs trained so far
    arrays: tuple[np.ndarray, ...]  # in the program's order, padded: see `Program.empty_state`


class HeadRun(NamedTuple):
    """One head to train."""

    config: HeadConfig
    train: np.ndarray  # (n,) row numbers
    validation: np.ndarray  # (m,) row numbers
    seed: int  # initial weights, order of rows and dropout: three streams derived from it
    epochs: int  # until this many are done in all
    state: HeadState | None = None  # continue from here


class HeadResult(NamedTuple):
    """Curves over the epochs trained now, each (epochs,), and what they ended in."""

    loss: np.ndarray  # mean over the epoch's rows, with dropout, as Keras's fit reports it
    accuracy: np.ndarray
    val_loss: np.ndarray
    val_accuracy: np.ndarray
    learning_rate: np.ndarray  # of the epoch's last step
    state: HeadState
    best_weights: list[np.ndarray]  # as build_head(...).get_weights(), first best val_accuracy
    seconds: float  # this run's share of the wall time, without compiling


def stream(seed: int, name: str, *more: int) -> np.random.Generator:
    """The named random stream of a seed: the order of epoch e is `stream(seed, "order", e)`."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *more])


def row_statistics(features: np.ndarray, rows: np.ndarray) -> Statistics:
    """Mean and variance of these rows, each (n_features,) float32, summed in float64."""
    total = np.zeros(features.shape[1])
    for start in range(0, len(rows), 4096):
        total += features[rows[start : start + 4096]].sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    total[:] = 0
    for start in range(0, len(rows), 4096):
        total += np.square(features[rows[start : start + 4096]] - mean).sum(axis=0)
    return Statistics(mean.astype(np.float32), (total / len(rows)).astype(np.float32))


class Population:
    """Trains heads on one set of features, `size` at a time.

    Args:
        features: (N, n_features) float32.
        labels: (N,) int32.
        n_classes: how many classes.
        max_epochs: horizon of every schedule.
        size: heads in flight; None leaves the choice to the device.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        n_classes: int,
        *,
        max_epochs: int,
        size: int | None = None,
    ) -> None:
        self._features_host = features
        self._features = tf.convert_to_tensor(features, tf.float32)
        self._labels = tf.convert_to_tensor(labels, tf.int32)
        self.n_classes, self.max_epochs = n_classes, max_epochs
        self.size = size or 8
        self.compilations, self.compile_seconds = 0, 0.0
        self._programs: dict[Signature, Program] = {}
        self._statistics: dict[int, Statistics] = {}

    def programs(self, runs: Sequence[HeadRun]) -> int:
        """How many distinct programs these runs need."""
        return len({self._signature(run) for run in runs})

    def train(self, runs: Sequence[HeadRun]) -> Iterator[list[tuple[int, HeadResult]]]:
        """Train all runs; yields (index into `runs`, result) after every population."""
        groups: dict[Signature, list[int]] = {}
        for index, run in enumerate(runs):
            groups.setdefault(self._signature(run), []).append(index)
        for signature, members in groups.items():
            members.sort(key=lambda index: -_remaining(runs[index]))
            for start in range(0, len(members), self.size):
                chosen = members[start : start + self.size]
                results = self._train_together(signature, [runs[index] for index in chosen])
                yield list(zip(chosen, results, strict=True))

    def _signature(self, run: HeadRun) -> Signature:
        return signature_of(run.config, len(run.train), len(run.validation))

    def _program(self, signature: Signature, config: HeadConfig) -> Program:
        if signature not in self._programs:
            start = time.perf_counter()
            program = Program(signature, config, self._features.shape[1], self.n_classes, self.size)
            program.compile(self._features, self._labels)
            self._programs[signature] = program
            self.compilations += 1
            self.compile_seconds += time.perf_counter() - start
        return self._programs[signature]

    def _train_together(self, signature: Signature, runs: list[HeadRun]) -> list[HeadResult]:
        program = self._program(signature, runs[0].config)
        start = time.perf_counter()
        slots = [*runs, *[runs[-1]] * (self.size - len(runs))]  # padded: rounding stays the same
        schedules = [self._learning_rates(run) for run in runs]
        schedules += [schedules[-1]] * (self.size - len(runs))
        heads = program.inputs(
            [run.config for run in slots],
            np.stack([run.validation for run in slots]),
            np.stack([stream(run.seed, "dropout").integers(2**32, size=2) for run in slots]),
            [self._normalization(run) for run in slots],
        )
        state = program.stack([self._state(program, run).arrays for run in slots])
        curves: list[np.ndarray] = []  # one (4, K) an epoch
        finished: dict[int, tuple[np.ndarray, ...]] = {}
        for done in range(1, max(map(_remaining, runs)) + 1):
            epochs = [_first(run) + min(done, _remaining(run)) - 1 for run in slots]
            orders = [
                run.train[stream(run.seed, "order", epoch).permutation(len(run.train))]
                for run, epoch in zip(slots, epochs, strict=True)
            ]
            rates = [
                table[epoch * program.steps : (epoch + 1) * program.steps]
                for table, epoch in zip(schedules, epochs, strict=True)
            ]
            metrics, state = program.epoch(
                self._features, self._labels, heads, state, orders, rates, epochs
            )
            curves.append(metrics)
            for slot, run in enumerate(runs):
                if done == _remaining(run):
                    finished[slot] = program.take(state, slot)
        share = (time.perf_counter() - start) / len(runs)
        table = np.stack(curves)  # (epochs, 4, K)
        return [
            self._result(program, run, table[: _remaining(run), :, slot], rates, arrays, share)
            for slot, (run, rates) in enumerate(zip(runs, schedules, strict=False))
            for arrays in [finished[slot]]
        ]

    def _result(
        self,
        program: Program,
        run: HeadRun,
        table: np.ndarray,
        rates: np.ndarray,
        arrays: tuple[np.ndarray, ...],
        seconds: float,
    ) -> HeadResult:
        last_steps = np.arange(_first(run) + 1, run.epochs + 1) * program.steps - 1
        loss, accuracy, val_loss, val_accuracy = table.T
        return HeadResult(
            loss,
            accuracy,
            val_loss,
            val_accuracy,
            learning_rate=rates[last_steps],
            state=HeadState(run.epochs, arrays),
            best_weights=program.best_weights(arrays, run.config.dense_width),
            seconds=seconds,
        )

    def _state(self, program: Program, run: HeadRun) -> HeadState:
        return run.state or HeadState(0, program.initial_state(run.config, run.seed))

    def _learning_rates(self, run: HeadRun) -> np.ndarray:
        steps = self.max_epochs * steps_per_epoch(run.config, len(run.train))
        return learning_rates(run.config, steps)

    def _normalization(self, run: HeadRun) -> Statistics | None:
        if not run.config.normalize:
            return None
        key = zlib.crc32(run.train.tobytes())
        if key not in self._statistics:
            self._statistics[key] = row_statistics(self._features_host, run.train)
        return self._statistics[key]


def _first(run: HeadRun) -> int:
    return run.state.epoch if run.state else 0


def _remaining(run: HeadRun) -> int:
    return run.epochs - _first(run)
