"""One compiled program: epochs, each with its validation, of K heads that share a signature."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from jaxtyping import Float32, Int, Int32

from study.space.head_config import HeadConfig
from study.training.epochs import Epoch, Epochs, Inputs, RowTensors
from study.training.head import Statistics
from study.training.head_state import State
from study.training.loss import stacked
from study.training.program_cache import disk_errors, forget_compiled, function_of, seal
from study.training.program_key import ProgramShape, Signature, key_of


class Program:
    """A program, compiled at once unless `program_cache` has kept it; see `Programs.of`."""

    def __init__(
        self, signature: Signature, config: HeadConfig, shape: ProgramShape, rows: RowTensors
    ) -> None:
        epochs = Epochs(signature, config, shape)
        self.signature, self.shape = signature, shape
        self.steps, self.most_epochs = epochs.steps, epochs.most_epochs
        self.state_shape = epochs.state_shape
        self._hyperparameters = tuple(epochs.vectorized.samples)
        self.kept = True  # until it has to be traced
        self._run = self._compiled(epochs, config, rows)

    def inputs(
        self,
        configs: Sequence[HeadConfig],
        validation: Int[np.ndarray, "K m"],
        seeds: Int[np.ndarray, "K 2"],
        normalization: Sequence[Statistics | None],
        class_weights: Sequence[Float32[np.ndarray, " C"]],
    ) -> Inputs:
        """Return the inputs of K heads, stacked."""
        size, width, n_features = len(configs), self.signature.width, self.shape.rows[1]
        mean = np.zeros((size, n_features), np.float32)
        variance = np.ones((size, n_features), np.float32)
        for slot, statistics in enumerate(normalization):
            if statistics is not None:
                mean[slot], variance[slot] = statistics
        units = np.arange(width) < np.array([[config.dense_width] for config in configs])
        return Inputs(
            hyperparameters={
                name: tf.constant(
                    [config.optimizer_hyperparameters[name] for config in configs], tf.float64
                )
                for name in self._hyperparameters
            },
            dropout=tf.constant([config.dropout for config in configs], tf.float32),
            units=tf.constant(units, tf.float32),
            seeds=tf.constant(seeds, tf.uint32),
            mean=tf.constant(mean),
            variance=tf.constant(variance),
            validation=tf.constant(validation, tf.int32),
            loss=stacked(self.signature.loss, configs, class_weights),
        )

    def train(
        self,
        rows: RowTensors,
        heads: Inputs,
        state: State,
        orders: Sequence[Sequence[Int[np.ndarray, " n"]]],
        rates: Sequence[Sequence[Float32[np.ndarray, " steps"]]],
        numbers: Sequence[Sequence[int]],
    ) -> tuple[Float32[np.ndarray, "E rows K"], Int32[np.ndarray, "E K m"], State]:
        """Train up to `most_epochs` epochs.

        Each epoch and head has its training rows in their order, the learning rates of its steps,
        and the number of the epoch, counted from 0.

        Returns:
            an `as_table` of each epoch, the class that each head predicts for each of its
            validation rows after it, and the new state.
        """
        size, batch = self.shape.size, self.signature.batch
        epochs = []
        for order, rate, number in zip(orders, rates, numbers, strict=True):
            chosen = np.empty((size, self.steps * batch), np.int32)
            for slot, row in enumerate(order):
                chosen[slot, : len(row)] = row
                chosen[slot, len(row) :] = row[-1]  # masked
            epochs.append(Epoch(chosen.reshape(size, self.steps, batch), rate, number))
        count = tf.constant(len(epochs))
        given = self._stacked(epochs)
        arguments = tf.nest.flatten((rows, heads, state, given, count))
        metrics, classes, *flat = self._run(arguments)
        state = tf.nest.pack_sequence_as(self.state_shape.template, flat)
        return metrics.numpy()[: len(epochs)], classes.numpy()[: len(epochs)], state

    def _compiled(self, epochs: Epochs, config: HeadConfig, rows: RowTensors) -> Any:
        """Return a function of flat tensors, compiled, or read, by a call of no epochs."""
        size, signature = self.shape.size, self.signature
        state: State = tf.nest.map_structure(
            lambda value: tf.zeros((size, *np.shape(value)), value.dtype), self.state_shape.template
        )
        heads = self.inputs(
            [config] * size,
            np.zeros((size, signature.n_validation), np.int32),
            np.zeros((size, 2), np.int64),
            [None] * size,
            [np.ones(self.shape.n_classes, np.float32)] * size,
        )
        arguments = (rows, heads, state, self._stacked([]), tf.constant(0))

        def flat(*tensors: Any) -> list[Any]:
            found = epochs(*tf.nest.pack_sequence_as(arguments, tensors))
            return list(tf.nest.flatten(found))

        def trace() -> Any:
            self.kept = False
            compiled = tf.function(flat, jit_compile=True, autograph=False)
            return compiled.get_concrete_function(*tf.nest.flatten(arguments))

        run = function_of(key_of(signature, self.shape), trace)
        try:
            with disk_errors():
                run(tf.nest.flatten(arguments))
        except tf.errors.InvalidArgumentError:  # what is kept under its name is another program
            if not forget_compiled():
                raise
            again = trace()  # under a name of this process: XLA tries no other twice

            def run(flat: list[Any]) -> list[Any]:
                return list(again(*flat))

            run(tf.nest.flatten(arguments))
        seal()
        return run

    def _stacked(self, epochs: Sequence[Epoch]) -> Epoch:
        """Return room for `most_epochs`, filled with `epochs`."""
        size, most = self.shape.size, self.most_epochs
        rows = np.zeros((most, size, self.steps, self.signature.batch), np.int32)
        rates = np.zeros((most, size, self.steps), np.float32)
        numbers = np.zeros((most, size), np.int32)
        for index, epoch in enumerate(epochs):
            rows[index], rates[index], numbers[index] = epoch
        return Epoch(tf.constant(rows), tf.constant(rates), tf.constant(numbers))
