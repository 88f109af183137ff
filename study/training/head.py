"""Hyperparameter values come in; a Keras head, its optimizer and its schedule go out.

The head is the blog post's: dense, batch normalization, dropout, softmax, over the pooled features
of the frozen base. `HeadHyperModel` compiles it.
"""

import functools
import threading
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from study.space.head_config import HeadConfig
from study.space.keras_optimizers import optimizer_class

DENSE, DROPOUT, PROBABILITIES = "dense", "dropout", "probabilities"  # layers that draw


class Statistics(NamedTuple):
    """Mean and variance of the training rows, each (n_features,), for `normalize = true`."""

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Statistics":
        """Those of `rows`, (n, n_features).

        A feature that never varies gets variance 1, so it is shifted only: Keras would divide the
        first other value by 1e-7.
        """
        constant = rows.min(axis=0) == rows.max(axis=0)
        return cls(rows.mean(axis=0), np.where(constant, np.float32(1), rows.var(axis=0)))


def steps_per_epoch(config: HeadConfig, n_train: int) -> int:
    """Steps an epoch of `n_train` rows takes; the last one may hold fewer rows."""
    return -(-n_train // rows_per_step(config, n_train))


def rows_per_step(config: HeadConfig, n_train: int) -> int:
    """The batch size in rows, at most all of them."""
    return n_train if isinstance(config.batch_size, str) else min(config.batch_size, n_train)


def layer_seeds(seed: int) -> dict[str, int]:
    """Layer -> the seed of what it draws: initial kernels, and dropout in Keras's own training."""
    drawn = np.random.default_rng(seed).integers(1, 2**31, size=3)
    return {DENSE: int(drawn[0]), DROPOUT: int(drawn[1]), PROBABILITIES: int(drawn[2])}


def real_part(layer: str, weight: str, config: HeadConfig) -> tuple[slice, ...]:
    """Where the numbers of a head stand in a weight of the wider one that it is padded to."""
    units, everything = slice(config.dense_width), slice(None)
    if layer == PROBABILITIES:
        return (units, everything) if weight == "kernel" else (everything,)
    return (everything, units) if weight == "kernel" else (units,)


def build_head(
    config: HeadConfig,
    *,
    n_features: int,
    n_classes: int,
    seed: int,
    statistics: Statistics | None = None,
) -> keras.Model:
    """The head, not compiled: (batch, n_features) -> (batch, n_classes) probabilities.

    Raises:
        ValueError: the configuration normalizes, but there are no `statistics`.
    """
    if config.normalize and statistics is None:
        raise ValueError("normalize = true needs the statistics of the training rows")
    seeds = layer_seeds(seed)
    parts: list[Any] = [keras.Input((n_features,), name="features")]
    if config.normalize and statistics is not None:
        parts.append(
            layers.Normalization(
                mean=statistics.mean, variance=statistics.variance, name="normalize"
            )
        )
    glorot = keras.initializers.GlorotUniform
    parts.append(
        layers.Dense(
            config.dense_width,
            activation=config.activation,
            kernel_initializer=glorot(seed=seeds[DENSE]),
            name=DENSE,
        )
    )
    if config.batch_norm:
        parts.append(layers.BatchNormalization(name="batch_norm"))
    parts.append(layers.Dropout(config.dropout, seed=seeds[DROPOUT], name=DROPOUT))
    parts.append(
        layers.Dense(
            n_classes,
            activation="softmax",
            kernel_initializer=glorot(seed=seeds[PROBABILITIES]),
            name=PROBABILITIES,
        )
    )
    return keras.Sequential(parts, name="head")


def make_optimizer(config: HeadConfig, learning_rate: Any) -> keras.optimizers.Optimizer:
    """The optimizer with this configuration's hyperparameters."""
    keras_class = optimizer_class(config.keras_class)
    return keras_class(learning_rate=learning_rate, **config.optimizer_hyperparameters)


def head_probabilities(
    config: HeadConfig, weights: list[np.ndarray], rows: np.ndarray, statistics: Statistics | None
) -> np.ndarray:
    """What a trained head says about `rows` (n, n_features): (n, n_classes) probabilities."""
    if config.normalize and statistics is not None:
        layer = layers.Normalization(mean=statistics.mean, variance=statistics.variance)
        rows = keras.ops.convert_to_numpy(layer(rows))
    shape = (config.dense_width, config.activation, config.batch_norm)
    head = _untrained_head(
        *shape, n_features=rows.shape[1], n_classes=len(weights[-1]), thread=threading.get_ident()
    )
    head.set_weights(weights)
    return in_pieces(head, rows)


def in_pieces(head: keras.Model, rows: np.ndarray) -> np.ndarray:
    """`head(rows)` for any number of rows (n, n_features): (n, n_classes) probabilities."""
    parts = [head(rows[at : at + 8192], training=False) for at in range(0, len(rows), 8192)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


@functools.lru_cache(maxsize=64)
def _untrained_head(
    dense_width: int,
    activation: str,
    batch_norm: bool,
    *,
    n_features: int,
    n_classes: int,
    thread: int,  # each has its own, since it sets the weights
) -> keras.Model:
    """One head for all runs of a shape: building it costs more than asking it."""
    config = HeadConfig(
        optimizer="",
        keras_class="",
        learning_rate=0.0,
        optimizer_hyperparameters={},
        schedule="constant",
        schedule_hyperparameters={},
        dense_width=dense_width,
        dropout=0.0,
        activation=activation,
        batch_norm=batch_norm,
        batch_size="full",
        normalize=False,
    )
    return build_head(config, n_features=n_features, n_classes=n_classes, seed=1)


def whole_model(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Frozen base and head as one model, from pixels 0..255 to probabilities."""
    backbone.trainable = False
    pixels = keras.Input(backbone.input_shape[1:], name="pixels")
    features = keras.ops.cast(backbone(pixels, training=False), "float32")
    return keras.Model(pixels, head(features), name="winner")
