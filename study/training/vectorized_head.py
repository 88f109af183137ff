"""Keras's head, loss and optimizer as functions of one head's tensors, to be mapped over K heads.

The layers are those of `build_head`, called with the head's weights in their place; the update is
the optimizer's own. Nothing here knows how many heads there are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from study.space.head_config import HeadConfig
from study.training.head import build_head
from study.training.head_state import Layout
from study.training.program_key import Signature
from study.training.stateless_optimizers import TracedHyperparameter, stateless_optimizer


class MappedHead:
    """One head of a signature.

    Args:
        signature: what its program is compiled for.
        config: any configuration of the signature.
        n_features: length of a feature row.
        n_classes: how many classes.
    """

    def __init__(
        self, signature: Signature, config: HeadConfig, n_features: int, n_classes: int
    ) -> None:
        wide = replace(config, dense_width=signature.width, normalize=False)
        self.head = build_head(wide, n_features=n_features, n_classes=n_classes, seed=1)
        self.normalization = layers.Normalization(
            mean=np.zeros(n_features, np.float32),
            variance=np.ones(n_features, np.float32),
            name="normalize",
        )
        self.normalization.build((None, n_features))
        self.samples = {
            k: v for k, v in config.optimizer_hyperparameters.items() if isinstance(v, float)
        }
        keras_class = stateless_optimizer(config.keras_class)
        self.optimizer = keras_class(
            learning_rate=0.01, name="optimizer", **config.optimizer_hyperparameters
        )
        self.optimizer.build(self.head.trainable_variables)
        self.layout = Layout(self.head, self.optimizer)
        self.rate_index = _index(self.optimizer.variables, self.optimizer._learning_rate)

    def train_step(self, given: Any, mask: Any, real: Any) -> Any:
        """One step, as Keras's `train_step` does it.

        Args:
            given: x (batch, n_features), y (batch,), dropout noise (batch, width), mean, variance,
                hyperparameters, weights, statistics, optimizer variables.
            mask: (batch,) which rows count; None if all do.
            real: how many do.

        Returns:
            weights, statistics, optimizer variables, mean loss, number of hits.
        """
        x, y, noise, mean, variance, hyperparameters, weights, statistics, optimizer = given
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
        for name, value in hyperparameters.items():
            setattr(self.optimizer, name, TracedHyperparameter(value, self.samples[name]))
        weights, optimizer = self.optimizer.stateless_apply(optimizer, gradients, weights)
        return weights, statistics, optimizer, loss, tf.reduce_sum(tf.cast(hits, tf.float32))

    def evaluate(self, given: Any, mask: Any) -> Any:
        """Sums of loss and hits over the rows that `mask` (rows,) lets count."""
        x, y, mean, variance, weights, statistics = given
        outputs, _ = self._forward(x, mean, variance, weights, statistics, training=False)
        losses = keras.losses.sparse_categorical_crossentropy(y, outputs)
        hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), y)
        return (
            tf.reduce_sum(tf.where(mask, losses, 0.0)),
            tf.reduce_sum(tf.cast(tf.logical_and(hits, mask), tf.float32)),
        )

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


def _index(variables: Sequence[Any], wanted: Any) -> int:
    return next(index for index, variable in enumerate(variables) if variable is wanted)
