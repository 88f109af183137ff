"""Keras's head, loss and optimizer as functions of one head's tensors, to be mapped over K heads.

The layers are those of `build_head`, called with the head's weights in their place; the update is
the optimizer's own. Nothing here knows how many heads there are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from study.space.head_config import HeadConfig
from study.space.keras_optimizers import optimizer_class
from study.training.epoch_metrics import HalfSums, RowSums, half_sums, row_sums
from study.training.head import build_head
from study.training.head_state import StateShape
from study.training.program_key import Signature
from study.training.stateless_optimizers import (
    NotMappableError,
    TracedHyperparameter,
    stateless_optimizer,
)


class TrainingBatch(NamedTuple):
    """What one head sees in one step."""

    rows: Any  # (batch, n_features)
    labels: Any  # (batch,)
    noise: Any  # (batch, width): of dropout, 0 in padded units
    mean: Any  # (n_features,)
    variance: Any  # (n_features,)
    hyperparameters: dict[str, Any]  # float64 scalars
    loss: dict[str, Any]  # its hyperparameters, see `study.training.loss`
    weights: list[Any]
    statistics: list[Any]  # of batch normalization
    optimizer: list[Any]  # its variables


class TrainingStep(NamedTuple):
    """What a step changes, and its sums over the batch."""

    weights: list[Any]
    statistics: list[Any]
    optimizer: list[Any]
    sums: RowSums


class EvaluationBatch(NamedTuple):
    """What one head is asked about."""

    rows: Any  # (rows, n_features)
    labels: Any  # (rows,)
    mean: Any  # (n_features,)
    variance: Any  # (n_features,)
    loss: dict[str, Any]
    weights: list[Any]
    statistics: list[Any]


class VectorizedHead:
    """One head of a signature.

    Args:
        signature: what its program is compiled for.
        config: any configuration of the signature.
        n_features: length of a feature row.
        n_classes: how many classes.
        counted: by how many classes rows are counted, see `counted_classes`.
    """

    def __init__(
        self,
        signature: Signature,
        config: HeadConfig,
        n_features: int,
        n_classes: int,
        counted: int = 0,
    ) -> None:
        self.counted = counted
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
        keras_class = stateless_optimizer(optimizer_class(config.keras_class))
        self.optimizer = keras_class(learning_rate=0.01, **config.optimizer_hyperparameters)
        self.optimizer.name = "optimizer"  # the same in every process
        for argument, value in self.samples.items():
            if getattr(self.optimizer, argument, None) != value:
                raise NotMappableError(
                    f"it keeps its argument {argument} in no attribute of that name"
                )
        self.optimizer.build(self.head.trainable_variables)
        self.statistics = [weight for weight in self.head.weights if not weight.trainable]
        self.layout = StateShape(self.head, self.optimizer)
        self.rate_index = _index(self.optimizer.variables, self.optimizer._learning_rate)

    def train_step(self, batch: TrainingBatch, mask: Any, real: Any) -> TrainingStep:
        """One step, as Keras's `train_step` does it.

        Args:
            batch: what the head sees.
            mask: (batch,) which rows count; None if all do.
            real: how many do.
        """
        count = tf.cast(real, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(batch.weights)
            outputs, statistics = self._forward(batch, noise=batch.noise, mask=mask, training=True)
            sums = row_sums(batch.labels, outputs, mask, batch.loss, classes=self.counted)
            loss = sums.loss / count
        gradients = tape.gradient(loss, batch.weights)
        for name, value in batch.hyperparameters.items():
            setattr(self.optimizer, name, TracedHyperparameter(value, self.samples[name]))
        weights, optimizer = self.optimizer.stateless_apply(
            batch.optimizer, gradients, batch.weights
        )
        return TrainingStep(weights, statistics, optimizer, sums._replace(loss=loss * count))

    def evaluate(self, batch: EvaluationBatch, mask: Any) -> HalfSums:
        """Sums over the rows that `mask` (rows,) lets count."""
        outputs, _ = self._forward(batch, training=False)
        return half_sums(batch.labels, outputs, mask, batch.loss, classes=self.counted)

    def _forward(
        self,
        batch: TrainingBatch | EvaluationBatch,
        *,
        noise: Any = None,
        mask: Any = None,
        training: bool,
    ) -> Any:
        """The head's layers in their order; noise and mask of the rows come from outside."""
        self.normalization.mean, self.normalization.variance = batch.mean, batch.variance
        values = self.layout.in_order(batch.weights, batch.statistics)
        mapping = list(zip(self.head.weights, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            x = self.normalization(batch.rows)
            for layer in self.head.layers:
                if isinstance(layer, layers.Dropout):
                    x = x * noise if training else x
                elif isinstance(layer, layers.BatchNormalization):
                    x = layer(x, training=training, mask=mask)
                else:
                    x = layer(x)
        return x, [scope.get_current_value(variable) for variable in self.statistics]


def _index(variables: Sequence[Any], wanted: Any) -> int:
    return next(index for index, variable in enumerate(variables) if variable is wanted)
