"""One compiled program: epochs, each with its validation, of K heads that share a signature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from study.common.metrics import ACCURACY
from study.space.head_config import HeadConfig
from study.training.epochs import Epoch, Epochs, Inputs
from study.training.head import Statistics
from study.training.head_state import State
from study.training.loss import empty, stacked
from study.training.program_cache import disk_errors, function_of, seal
from study.training.program_key import Signature, key_of


class Program:
    """See the module; it is traced and compiled at once, unless `program_cache` has kept it.

    Args:
        signature: what its heads share.
        config: any configuration of the signature.
        features: (N, n_features), of which only the shape matters.
        labels: (N,), of which only the shape matters.
        n_classes: how many classes.
        size: K.
        metric: what judges an epoch.
    """

    def __init__(
        self,
        signature: Signature,
        config: HeadConfig,
        features: tf.Tensor,
        labels: tf.Tensor,
        n_classes: int,
        size: int,
        metric: str = ACCURACY,
    ) -> None:
        n_features = features.shape[1]
        epochs = Epochs(signature, config, n_features, n_classes, size, metric)
        self.signature, self.size, self.n_features = signature, size, n_features
        self.n_classes, self.metric = n_classes, metric
        self.steps, self.most_epochs = epochs.steps, epochs.most_epochs
        self.layout, self._fed = epochs.layout, tuple(epochs.vectorized.samples)
        self.kept = True  # until it has to be traced
        self._run = self._compiled(epochs, features, labels)

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
                for name in self._fed
            },
            dropout=tf.constant([config.dropout for config in configs], tf.float32),
            units=tf.constant(units, tf.float32),
            seeds=tf.constant(seeds, tf.uint32),
            mean=tf.constant(mean),
            variance=tf.constant(variance),
            validation=tf.constant(validation, tf.int32),
            loss=stacked(self.signature.loss, configs, class_weights),
        )

    def _compiled(self, epochs: Epochs, features: tf.Tensor, labels: tf.Tensor) -> Any:
        """A function of flat tensors; it is compiled, or read, by a call of no epochs."""
        size, signature = self.size, self.signature
        state: State = tf.nest.map_structure(
            lambda value: tf.zeros((size, *np.shape(value)), value.dtype), self.layout.template
        )
        heads = Inputs(
            hyperparameters={name: tf.zeros(size, tf.float64) for name in self._fed},
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
            found = epochs(*tf.nest.pack_sequence_as(arguments, tensors))
            return list(tf.nest.flatten(found))

        def trace() -> Any:
            self.kept = False
            compiled = tf.function(flat, jit_compile=True, autograph=False)
            return compiled.get_concrete_function(*tf.nest.flatten(arguments))

        key = key_of(signature, tuple(features.shape), self.n_classes, size, self.metric)
        run = function_of(key, trace)
        with disk_errors():
            run(tf.nest.flatten(arguments))
        seal()
        return run

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
