"""One compiled program: epochs, each with its validation, of K heads that share a signature."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from study.common.metrics import ACCURACY
from study.space.head_config import HeadConfig
from study.training.dropout_noise import dropout_noise
from study.training.head import Statistics, steps_per_epoch
from study.training.head_state import State
from study.training.loss import empty, stacked
from study.training.metrics import (
    HalfSums,
    RowSums,
    added,
    as_table,
    counted_classes,
    epoch_metrics,
    judged,
    table_rows,
)
from study.training.program_cache import disk_errors, function_of, seal
from study.training.program_key import Signature, key_of
from study.training.vectorized_head import EvaluationBatch, TrainingBatch, VectorizedHead

VALIDATION_ROWS = 512  # in one piece; even, so that a row's half is that of its place
CALL_ROWS = 16_384  # training rows a head sees in one call, if they are several epochs
CALL_EPOCHS = 32  # at most


class Inputs(NamedTuple):
    """What a head brings along, stacked over K heads."""

    hyperparameters: dict[str, tf.Tensor]  # (K,) float64
    dropout: tf.Tensor  # (K,)
    units: tf.Tensor  # (K, width): 1 for real units, 0 for padding
    seeds: tf.Tensor  # (K, 2) uint32
    mean: tf.Tensor  # (K, n_features)
    variance: tf.Tensor  # (K, n_features)
    validation: tf.Tensor  # (K, n_validation) int32
    loss: dict[str, tf.Tensor]  # see `study.training.loss`; empty where the plain one is meant


class Epoch(NamedTuple):
    """What K heads bring along for one epoch; in a call, one axis more in front: its epochs."""

    rows: Any  # (K, steps, batch) int32: the training rows in their order
    rates: Any  # (K, steps): learning rates
    numbers: Any  # (K,) int32: which epoch it is, counted from 0


class Program:
    """See the module. `config` is any configuration of the signature, `metric` what judges."""

    def __init__(
        self,
        signature: Signature,
        config: HeadConfig,
        n_features: int,
        n_classes: int,
        size: int,
        metric: str = ACCURACY,
    ) -> None:
        self.signature, self.size, self.n_features = signature, size, n_features
        self.n_classes, self.metric = n_classes, metric
        self.counted = counted_classes(metric, n_classes)
        self.steps = steps_per_epoch(config, signature.n_train)
        self.most_epochs = min(max(CALL_ROWS // signature.n_train, 1), CALL_EPOCHS)  # in one call
        self.vectorized = VectorizedHead(signature, config, n_features, n_classes, self.counted)
        self.layout = self.vectorized.layout
        self.kept = True  # until it has to be traced
        self._run: Any = None  # once compiled

    def inputs(
        self,
        configs: Sequence[HeadConfig],
        validation: np.ndarray,
        seeds: np.ndarray,
        normalization: Sequence[Statistics | None],
        class_weights: Sequence[np.ndarray],
    ) -> Inputs:
        """Stack what K heads bring along."""
        size, width = len(configs), self.signature.width
        mean = np.zeros((size, self.n_features), np.float32)
        variance = np.ones((size, self.n_features), np.float32)
        for slot, found in enumerate(normalization):
            if found is not None:
                mean[slot], variance[slot] = found
        units = np.arange(width) < np.array([[config.dense_width] for config in configs])
        return Inputs(
            hyperparameters={
                name: tf.constant(
                    [config.optimizer_hyperparameters[name] for config in configs], tf.float64
                )
                for name in self.vectorized.samples
            },
            dropout=tf.constant([config.dropout for config in configs], tf.float32),
            units=tf.constant(units, tf.float32),
            seeds=tf.constant(seeds, tf.uint32),
            mean=tf.constant(mean),
            variance=tf.constant(variance),
            validation=tf.constant(validation, tf.int32),
            loss=stacked(self.signature.loss, configs, class_weights),
        )

    def compile(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """Trace and compile, by a call of no epochs, unless `program_cache` has kept it."""
        size, signature = self.size, self.signature
        state: State = tf.nest.map_structure(
            lambda value: tf.zeros((size, *np.shape(value)), value.dtype), self.layout.template
        )
        heads = Inputs(
            hyperparameters={name: tf.zeros(size, tf.float64) for name in self.vectorized.samples},
            dropout=tf.zeros(size),
            units=tf.zeros((size, signature.width)),
            seeds=tf.zeros((size, 2), tf.uint32),
            mean=tf.zeros((size, self.n_features)),
            variance=tf.zeros((size, self.n_features)),
            validation=tf.zeros((size, signature.n_validation), tf.int32),
            loss=empty(signature.loss, size, self.n_classes),
        )
        given = self._stacked([])
        arguments = (features, labels, heads, state, given, tf.constant(0))

        def flat(*tensors: Any) -> list[Any]:
            found = self._epochs(*tf.nest.pack_sequence_as(arguments, tensors))
            return list(tf.nest.flatten(found))

        def trace() -> Any:
            self.kept = False
            compiled = tf.function(flat, jit_compile=True, autograph=False)
            return compiled.get_concrete_function(*tf.nest.flatten(arguments))

        key = key_of(signature, tuple(features.shape), self.n_classes, size, self.metric)
        self._run = function_of(key, trace)
        with disk_errors():
            self._run(tf.nest.flatten(arguments))
        seal()

    def train(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        heads: Inputs,
        state: State,
        orders: Sequence[Sequence[np.ndarray]],
        rates: Sequence[Sequence[np.ndarray]],
        numbers: Sequence[Sequence[int]],
    ) -> tuple[np.ndarray, State]:
        """Train up to `most_epochs` epochs.

        Args:
            features: (N, n_features).
            labels: (N,).
            heads: what the heads bring along.
            state: their state before.
            orders: for each epoch and head, the training rows in their order.
            rates: for each epoch and head, (steps,) learning rates.
            numbers: for each epoch and head, which epoch it is, counted from 0.

        Returns:
            (epochs, rows, K), an `as_table` of each epoch; and the new state.
        """
        batch = self.signature.batch
        epochs = []
        for order, rate, number in zip(orders, rates, numbers, strict=True):
            rows = np.empty((self.size, self.steps * batch), np.int32)
            for slot, row in enumerate(order):
                rows[slot, : len(row)] = row
                rows[slot, len(row) :] = row[-1]  # masked
            epochs.append(Epoch(rows.reshape(self.size, self.steps, batch), rate, number))
        count = tf.constant(len(epochs))
        given = self._stacked(epochs)
        metrics, *flat = self._run(tf.nest.flatten((features, labels, heads, state, given, count)))
        state = tf.nest.pack_sequence_as(self.layout.template, flat)
        return metrics.numpy()[: len(epochs)], state

    def _stacked(self, epochs: Sequence[Epoch]) -> Epoch:
        """Room for `most_epochs`, filled with these."""
        size, most = self.size, self.most_epochs
        rows = np.zeros((most, size, self.steps, self.signature.batch), np.int32)
        rates = np.zeros((most, size, self.steps), np.float32)
        numbers = np.zeros((most, size), np.int32)
        for index, epoch in enumerate(epochs):
            rows[index], rates[index], numbers[index] = epoch
        return Epoch(tf.constant(rows), tf.constant(rates), tf.constant(numbers))

    def _epochs(
        self, features: Any, labels: Any, heads: Inputs, state: State, given: Epoch, count: Any
    ) -> tuple[tf.Tensor, State]:
        """`count` epochs; (most_epochs, rows, K), zero beyond `count`, and the new state."""
        metrics = tf.TensorArray(
            tf.float32,
            self.most_epochs,
            element_shape=(table_rows(self.metric, self.n_classes), self.size),
        )

        def epoch(index: Any, metrics: Any, state: State) -> Any:
            now = Epoch(*[tf.gather(part, index) for part in given])
            found, state = self._epoch(features, labels, heads, state, now)
            return index + 1, metrics.write(index, found), state

        _, metrics, state = tf.while_loop(
            lambda index, *_: index < count, epoch, (0, metrics, state)
        )
        return metrics.stack(), state

    def _epoch(
        self, features: Any, labels: Any, heads: Inputs, state: State, now: Epoch
    ) -> tuple[tf.Tensor, State]:
        """One epoch and its validation: its table (rows, K) and the new state."""
        signature = self.signature
        weights, statistics, optimizer, training = self._train(features, labels, heads, state, now)
        validation = self._validate(features, labels, heads, weights, statistics)
        metrics = epoch_metrics(
            training, validation, signature.n_train, signature.n_validation, self.metric
        )
        better = judged(metrics) > state.best_value
        best = [
            tf.where(tf.reshape(better, [-1] + [1] * (old.shape.rank - 1)), new, old)
            for new, old in zip(self.layout.in_order(weights, statistics), state.best, strict=True)
        ]
        best_value = tf.where(better, judged(metrics), state.best_value)
        state = State(weights, statistics, optimizer, best, best_value)
        return as_table(metrics), state

    def _train(self, features: Any, labels: Any, heads: Inputs, state: State, now: Epoch) -> Any:
        """All steps of an epoch: weights, statistics, optimizer variables and sums (K,)."""
        n_train, batch, vectorized = self.signature.n_train, self.signature.batch, self.vectorized

        def step(i: Any, weights: Any, statistics: Any, optimizer: Any, sums: RowSums) -> Any:
            chosen = tf.gather(now.rows, i, axis=1)  # (K, batch)
            real = tf.minimum(n_train - i * batch, batch)
            mask = tf.range(batch) < real if n_train % batch else None
            noise = dropout_noise(
                heads.seeds, now.numbers * self.steps + i, heads.dropout, batch,
                self.signature.width,
            )  # fmt: skip
            optimizer = list(optimizer)
            optimizer[vectorized.rate_index] = tf.gather(now.rates, i, axis=1)
            given = TrainingBatch(
                rows=tf.gather(features, chosen),
                labels=tf.gather(labels, chosen),
                noise=noise * heads.units[:, None, :],
                mean=heads.mean,
                variance=heads.variance,
                loss=heads.loss,
                hyperparameters=heads.hyperparameters,
                weights=weights,
                statistics=statistics,
                optimizer=optimizer,
            )
            done = tf.vectorized_map(
                lambda one: vectorized.train_step(one, mask, real),
                given,
                fallback_to_while_loop=False,
            )
            return i + 1, done.weights, done.statistics, done.optimizer, added(sums, done.sums)

        nothing = RowSums.none(self.size, self.counted)
        start = (0, state.weights, state.statistics, state.optimizer, nothing)
        return tf.while_loop(lambda i, *_: i < self.steps, step, start)[1:]

    def _validate(
        self, features: Any, labels: Any, heads: Inputs, weights: Any, statistics: Any
    ) -> HalfSums:
        """Sums over the validation rows, each (K,)."""
        count = self.signature.n_validation
        piece = min(count, VALIDATION_ROWS)
        pieces = -(-count // piece)
        padded = tf.pad(heads.validation, [[0, 0], [0, pieces * piece - count]])

        def step(i: Any, sums: HalfSums) -> Any:
            rows = tf.slice(padded, [0, i * piece], [self.size, piece])
            mask = tf.range(piece) + i * piece < count
            given = EvaluationBatch(
                rows=tf.gather(features, rows),
                labels=tf.gather(labels, rows),
                mean=heads.mean,
                variance=heads.variance,
                loss=heads.loss,
                weights=weights,
                statistics=statistics,
            )
            found = tf.vectorized_map(
                lambda one: self.vectorized.evaluate(one, mask),
                given,
                fallback_to_while_loop=False,
            )
            return i + 1, added(sums, found)

        start = (0, HalfSums.none(self.size, self.counted))
        found: HalfSums = tf.while_loop(lambda i, *_: i < pieces, step, start)[1]
        return found
