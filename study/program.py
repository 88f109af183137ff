"""One compiled program: an epoch, with its validation, of K heads that share a signature."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from study.head import Statistics, build_head, steps_per_epoch
from study.headstate import Layout, State
from study.signature import Signature
from study.space import HeadConfig
from study.stateless import Knob, stateless_optimizer
from study.threefry import dropout_noise

VALIDATION_ROWS = 512  # in one piece


class Inputs(NamedTuple):
    """What a head brings along, stacked over K heads."""

    knobs: dict[str, tf.Tensor]  # (K,) float64
    dropout: tf.Tensor  # (K,)
    units: tf.Tensor  # (K, width): 1 for real units, 0 for padding
    seeds: tf.Tensor  # (K, 2) uint32
    mean: tf.Tensor  # (K, n_features)
    variance: tf.Tensor  # (K, n_features)
    validation: tf.Tensor  # (K, n_validation) int32


class Program:
    """See the module. `config` is any configuration of the signature."""

    def __init__(
        self, signature: Signature, config: HeadConfig, n_features: int, n_classes: int, size: int
    ) -> None:
        self.signature, self.size, self.n_features = signature, size, n_features
        self.steps = steps_per_epoch(config, signature.n_train)
        wide = replace(config, dense_width=signature.width, normalize=False)
        self.head = build_head(wide, n_features=n_features, n_classes=n_classes, seed=1)
        self.normalization = layers.Normalization(
            mean=np.zeros(n_features, np.float32), variance=np.ones(n_features, np.float32)
        )
        self.normalization.build((None, n_features))
        self.samples = {k: v for k, v in config.knobs.items() if isinstance(v, float)}
        keras_class = stateless_optimizer(config.keras_class)
        self.optimizer = keras_class(learning_rate=0.01, **config.knobs)
        self.optimizer.build(self.head.trainable_variables)
        self.layout = Layout(self.head, self.optimizer)
        self.rate_index = _index(self.optimizer.variables, self.optimizer._learning_rate)
        self.compile_seconds = 0.0
        self.run = tf.function(self._epoch, jit_compile=True, autograph=False)

    def inputs(
        self,
        configs: Sequence[HeadConfig],
        validation: np.ndarray,
        seeds: np.ndarray,
        normalization: Sequence[Statistics | None],
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
            knobs={
                name: tf.constant([config.knobs[name] for config in configs], tf.float64)
                for name in self.samples
            },
            dropout=tf.constant([config.dropout for config in configs], tf.float32),
            units=tf.constant(units, tf.float32),
            seeds=tf.constant(seeds, tf.uint32),
            mean=tf.constant(mean),
            variance=tf.constant(variance),
            validation=tf.constant(validation, tf.int32),
        )

    def compile(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """Trace and compile, by an epoch of no steps."""
        start = time.perf_counter()
        size, signature = self.size, self.signature
        flat = [
            np.zeros((size, *np.shape(a)), a.dtype) for a in tf.nest.flatten(self.layout.template)
        ]
        state: State = tf.nest.pack_sequence_as(
            self.layout.template, [tf.constant(a) for a in flat]
        )
        heads = Inputs(
            knobs={name: tf.zeros(size, tf.float64) for name in self.samples},
            dropout=tf.zeros(size),
            units=tf.zeros((size, signature.width)),
            seeds=tf.zeros((size, 2), tf.uint32),
            mean=tf.zeros((size, self.n_features)),
            variance=tf.zeros((size, self.n_features)),
            validation=tf.zeros((size, signature.n_validation), tf.int32),
        )
        rows = tf.zeros((size, self.steps, signature.batch), tf.int32)
        rates = tf.zeros((size, self.steps))
        epochs = tf.zeros(size, tf.int32)
        self.run(features, labels, heads, state, rows, rates, epochs, tf.constant(0))
        self.compile_seconds = time.perf_counter() - start

    def epoch(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        heads: Inputs,
        state: State,
        orders: Sequence[np.ndarray],
        rates: Sequence[np.ndarray],
        epochs: Sequence[int],
    ) -> tuple[np.ndarray, State]:
        """Train one epoch: (4, K) loss, accuracy, val_loss, val_accuracy, and the new state."""
        batch = self.signature.batch
        rows = np.empty((len(orders), self.steps * batch), np.int32)
        for slot, order in enumerate(orders):
            rows[slot, : len(order)] = order
            rows[slot, len(order) :] = order[-1]  # masked
        metrics, state = self.run(
            features,
            labels,
            heads,
            state,
            tf.constant(rows.reshape(len(orders), self.steps, batch)),
            tf.constant(np.stack(rates)),
            tf.constant(epochs, tf.int32),
            tf.constant(self.steps),
        )
        return metrics.numpy(), state

    def _epoch(
        self,
        features: tf.Tensor,
        labels: tf.Tensor,
        heads: Inputs,
        state: State,
        rows: tf.Tensor,
        rates: tf.Tensor,
        epochs: tf.Tensor,
        steps: tf.Tensor,
    ) -> tuple[tf.Tensor, State]:
        n_train, batch = self.signature.n_train, self.signature.batch

        def step(i: Any, weights: Any, stats: Any, optimizer: Any, loss: Any, right: Any) -> Any:
            chosen = tf.gather(rows, i, axis=1)  # (K, batch)
            real = tf.minimum(n_train - i * batch, batch)
            mask = tf.range(batch) < real
            noise = dropout_noise(
                heads.seeds, epochs * self.steps + i, heads.dropout, batch, self.signature.width
            )
            optimizer = list(optimizer)
            optimizer[self.rate_index] = tf.gather(rates, i, axis=1)

            def one_head(given: Any) -> Any:
                return self._train_step(given, mask if n_train % batch else None, real)

            weights, stats, optimizer, step_loss, step_right = tf.vectorized_map(
                one_head,
                (
                    tf.gather(features, chosen),
                    tf.gather(labels, chosen),
                    noise * heads.units[:, None, :],
                    heads.mean,
                    heads.variance,
                    heads.knobs,
                    weights,
                    stats,
                    optimizer,
                ),
                fallback_to_while_loop=False,
            )
            count = tf.cast(real, tf.float32)
            return i + 1, weights, stats, optimizer, loss + step_loss * count, right + step_right

        zeros = tf.zeros(self.size)
        _, weights, statistics, optimizer, loss, right = tf.while_loop(
            lambda i, *_: i < steps,
            step,
            (0, state.weights, state.statistics, state.optimizer, zeros, zeros),
        )
        val_loss, val_right = self._validate(features, labels, heads, weights, statistics)
        val_accuracy = val_right / self.signature.n_validation
        better = val_accuracy > state.best_accuracy
        now = self.layout.in_order(weights, statistics)
        best = [
            tf.where(tf.reshape(better, [-1] + [1] * (old.shape.rank - 1)), new, old)
            for new, old in zip(now, state.best, strict=True)
        ]
        metrics = tf.stack(
            [loss / n_train, right / n_train, val_loss / self.signature.n_validation, val_accuracy]
        )
        best_accuracy = tf.where(better, val_accuracy, state.best_accuracy)
        return metrics, State(weights, statistics, optimizer, best, best_accuracy)

    def _train_step(self, given: Any, mask: Any, real: Any) -> Any:
        """One step of one head, as Keras's `train_step` does it."""
        x, y, noise, mean, variance, knobs, weights, statistics, optimizer = given
        with tf.GradientTape() as tape:
            tape.watch(weights)
            outputs, statistics = self._forward(
                x, mean, variance, weights, statistics, noise=noise, mask=mask, training=True
            )
            losses = keras.losses.sparse_categorical_crossentropy(y, outputs)
            hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), y)
            if mask is not None:
                losses, hits = tf.where(mask, losses, 0.0), tf.logical_and(hits, mask)
            loss = tf.reduce_sum(losses) / tf.cast(real, tf.float32)
        gradients = tape.gradient(loss, weights)
        for name, value in knobs.items():
            setattr(self.optimizer, name, Knob(value, self.samples[name]))
        weights, optimizer = self.optimizer.stateless_apply(optimizer, gradients, weights)
        return weights, statistics, optimizer, loss, tf.reduce_sum(tf.cast(hits, tf.float32))

    def _forward(
        self,
        x: Any,
        mean: Any,
        variance: Any,
        weights: list[Any],
        statistics: list[Any],
        *,
        noise: Any = None,
        mask: Any = None,
        training: bool,
    ) -> Any:
        """The head's layers in their order; noise and mask of the rows come from outside."""
        self.normalization.mean, self.normalization.variance = mean, variance
        values = self.layout.in_order(weights, statistics)
        mapping = list(zip(self.head.weights, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            x = self.normalization(x)
            for layer in self.head.layers:
                if isinstance(layer, layers.Dropout):
                    x = x * noise if training else x
                elif isinstance(layer, layers.BatchNormalization):
                    x = layer(x, training=training, mask=mask)
                else:
                    x = layer(x)
        return x, [scope.get_current_value(variable) for variable in self.layout.statistics]

    def _validate(
        self, features: Any, labels: Any, heads: Inputs, weights: Any, statistics: Any
    ) -> tuple[Any, Any]:
        """Sums of loss and hits over the validation rows, each (K,)."""
        count = self.signature.n_validation
        piece = min(count, VALIDATION_ROWS)
        pieces = -(-count // piece)
        padded = tf.pad(heads.validation, [[0, 0], [0, pieces * piece - count]])

        def step(i: Any, loss: Any, right: Any) -> Any:
            rows = tf.slice(padded, [0, i * piece], [self.size, piece])
            mask = tf.range(piece) + i * piece < count

            def one_head(given: Any) -> Any:
                x, y, mean, variance, weights, statistics = given
                outputs, _ = self._forward(x, mean, variance, weights, statistics, training=False)
                losses = keras.losses.sparse_categorical_crossentropy(y, outputs)
                hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), y)
                return (
                    tf.reduce_sum(tf.where(mask, losses, 0.0)),
                    tf.reduce_sum(tf.cast(tf.logical_and(hits, mask), tf.float32)),
                )

            given = (
                tf.gather(features, rows),
                tf.gather(labels, rows),
                heads.mean,
                heads.variance,
                weights,
                statistics,
            )
            found = tf.vectorized_map(one_head, given, fallback_to_while_loop=False)
            return i + 1, loss + found[0], right + found[1]

        zeros = tf.zeros(self.size)
        _, loss, right = tf.while_loop(lambda i, *_: i < pieces, step, (0, zeros, zeros))
        return loss, right


def _index(variables: Sequence[Any], wanted: Any) -> int:
    return next(index for index, variable in enumerate(variables) if variable is wanted)
