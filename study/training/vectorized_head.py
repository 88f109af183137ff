"""Keras's head, loss and optimizer as functions of one head's tensors, to be mapped over K heads.

The layers are those of `build_head`, called with the head's weights in place of their own; the
update is the optimizer's own. Nothing here depends on how many heads there are. All tensors are
traced, so their shapes stand in comments and are not checked.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from study.space.head_config import HeadConfig
from study.space.keras_optimizers import optimizer_class
from study.training.epoch_metrics import FoldSums, RowSums, counted_classes, fold_sums, row_sums
from study.training.head import build_head
from study.training.head_state import StateShape
from study.training.program_key import ProgramShape, Signature
from study.training.stateless_optimizers import (
    NotMappableError,
    TracedHyperparameter,
    stateless_optimizer,
)


class TrainingBatch(NamedTuple):
    """What one head needs in one step."""

    rows: Any  # (batch, d)
    labels: Any  # (batch,)
    noise: Any  # (batch, width): factors of dropout, 0 in padded units
    mean: Any  # (d,)
    variance: Any  # (d,)
    hyperparameters: dict[str, Any]  # float64 scalars of the optimizer
    loss: dict[str, Any]  # hyperparameters, see `study.training.loss`
    weights: list[Any]
    statistics: list[Any]  # of batch normalization
    optimizer: list[Any]  # variables


class TrainingStep(NamedTuple):
    """What a step returns of one head: its new state and the sums over the batch."""

    weights: list[Any]
    statistics: list[Any]
    optimizer: list[Any]
    sums: RowSums


class EvaluationBatch(NamedTuple):
    """What one head needs to evaluate a piece of the validation rows."""

    rows: Any  # (rows, d)
    labels: Any  # (rows,)
    mean: Any  # (d,)
    variance: Any  # (d,)
    loss: dict[str, Any]
    weights: list[Any]
    statistics: list[Any]


class VectorizedHead:
    """One head of a signature, which any of its configurations describes."""

    def __init__(self, signature: Signature, config: HeadConfig, shape: ProgramShape) -> None:
        self.counted = counted_classes(shape.metric, shape.n_classes)
        n_features = shape.rows[1]
        wide = replace(config, dense_width=signature.width, normalize=False)
        self.head = build_head(wide, n_features=n_features, n_classes=shape.n_classes, seed=1)
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
                    f"it does not keep its argument {argument} in an attribute of that name"
                )
        self.optimizer.build(self.head.trainable_variables)
        self.statistics = [weight for weight in self.head.weights if not weight.trainable]
        self.state_shape = StateShape(self.head, self.optimizer)
        rate = self.optimizer._learning_rate
        self.rate_index = next(
            index for index, variable in enumerate(self.optimizer.variables) if variable is rate
        )

    def train_step(self, batch: TrainingBatch, mask: Any, real: Any) -> TrainingStep:
        """Take one step, as Keras's `train_step` does, on the `real` rows in `mask` (batch,)."""
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

    def evaluate(self, batch: EvaluationBatch, mask: Any) -> tuple[FoldSums, Any]:
        """Return sums over the rows that count by `mask` (rows,), and the classes of all rows."""
        outputs, _ = self._forward(batch, training=False)
        sums = fold_sums(batch.labels, outputs, mask, batch.loss, classes=self.counted)
        return sums, tf.argmax(outputs, axis=-1, output_type=tf.int32)

    def _forward(
        self,
        batch: TrainingBatch | EvaluationBatch,
        *,
        noise: Any = None,
        mask: Any = None,
        training: bool,
    ) -> Any:
        """Call the head's layers; return probabilities and the new statistics."""
        self.normalization.mean, self.normalization.variance = batch.mean, batch.variance
        values = self.state_shape.in_order(batch.weights, batch.statistics)
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
