"""A configuration comes in; a Keras head, not compiled, and its optimizer go out.

The head is the blog post's, over the pooled features of the frozen base: dense layer, batch
normalization, dropout, softmax. `HeadHyperModel` compiles it.
"""

import functools
import threading
from typing import Any, NamedTuple

import keras
import numpy as np
from jaxtyping import Float, Float32
from keras import layers

from study.space.head_config import HeadConfig
from study.space.keras_optimizers import optimizer_class

DENSE, DROPOUT, PROBABILITIES = "dense", "dropout", "probabilities"  # layers with random numbers


class Statistics(NamedTuple):
    """Mean and variance of the training rows, for `normalize = true`."""

    mean: Float[np.ndarray, " d"]
    variance: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "n d"]) -> "Statistics":
        """Return the statistics of `rows`.

        A feature that never varies gets variance 1, so it is only shifted: Keras would divide the
        first other value by 1e-7.
        """
        constant = rows.min(axis=0) == rows.max(axis=0)
        return cls(rows.mean(axis=0), np.where(constant, np.float32(1), rows.var(axis=0)))


def steps_per_epoch(config: HeadConfig, n_train: int) -> int:
    """Return the number of steps of an epoch; the last one may have fewer rows."""
    return -(-n_train // rows_per_step(config, n_train))


def rows_per_step(config: HeadConfig, n_train: int) -> int:
    """Return the batch size in rows, at most all of them."""
    return n_train if isinstance(config.batch_size, str) else min(config.batch_size, n_train)


def layer_seeds(seed: int) -> dict[str, int]:
    """Return a seed for each layer: of initial kernels, and of dropout in Keras's own training."""
    drawn = np.random.default_rng(seed).integers(1, 2**31, size=3)
    return {DENSE: int(drawn[0]), DROPOUT: int(drawn[1]), PROBABILITIES: int(drawn[2])}


def real_slices(layer: str, weight: str, config: HeadConfig) -> tuple[slice, ...]:
    """Return the place of a head's numbers in a weight of the padded head."""
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
    """Return the head, not compiled, from features to class probabilities.

    Raises:
        ValueError: the configuration has `normalize = true`, but there are no `statistics`.
    """
    if config.normalize and statistics is None:
        raise ValueError("`normalize` = true needs the statistics of the training rows")
    seeds = layer_seeds(seed)
    glorot = keras.initializers.GlorotUniform
    chain: list[Any] = [keras.Input((n_features,), name="features")]
    if config.normalize and statistics is not None:
        chain.append(layers.Normalization(**statistics._asdict(), name="normalize"))
    chain.append(
        layers.Dense(
            config.dense_width,
            activation=config.activation,
            kernel_initializer=glorot(seed=seeds[DENSE]),
            name=DENSE,
        )
    )
    if config.batch_norm:
        chain.append(layers.BatchNormalization(name="batch_norm"))
    chain.append(layers.Dropout(config.dropout, seed=seeds[DROPOUT], name=DROPOUT))
    chain.append(
        layers.Dense(
            n_classes,
            activation="softmax",
            kernel_initializer=glorot(seed=seeds[PROBABILITIES]),
            name=PROBABILITIES,
        )
    )
    return keras.Sequential(chain, name="head")


def make_optimizer(config: HeadConfig, learning_rate: Any) -> keras.optimizers.Optimizer:
    """Return the optimizer with this configuration's hyperparameters."""
    keras_class = optimizer_class(config.keras_class)
    return keras_class(learning_rate=learning_rate, **config.optimizer_hyperparameters)


def head_probabilities(
    config: HeadConfig,
    weights: list[Float32[np.ndarray, "..."]],
    rows: Float[np.ndarray, "n d"],
    statistics: Statistics | None,
) -> Float32[np.ndarray, "n C"]:
    """Return the probabilities that a trained head gives to the classes of `rows`."""
    if config.normalize and statistics is not None:
        rows = keras.ops.convert_to_numpy(layers.Normalization(**statistics._asdict())(rows))
    shape = (config.dense_width, config.activation, config.batch_norm)
    head = _untrained_head(
        *shape, n_features=rows.shape[1], n_classes=len(weights[-1]), thread=threading.get_ident()
    )
    head.set_weights(weights)
    return in_pieces(head, rows)


def in_pieces(head: keras.Model, rows: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, "n C"]:
    """Return `head(rows)` for any number of rows."""
    pieces = [head(rows[at : at + 8192], training=False) for at in range(0, len(rows), 8192)]
    return np.concatenate([keras.ops.convert_to_numpy(piece) for piece in pieces])


def whole_model(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Return the frozen base and a head as one model, from pixels 0..255 to probabilities."""
    backbone.trainable = False
    pixels = keras.Input(backbone.input_shape[1:], name="pixels")
    features = keras.ops.cast(backbone(pixels, training=False), "float32")
    return keras.Model(pixels, head(features), name="winner")


@functools.lru_cache(maxsize=64)
def _untrained_head(
    dense_width: int,
    activation: str,
    batch_norm: bool,
    *,
    n_features: int,
    n_classes: int,
    thread: int,  # each thread has its own head, since it sets the weights
) -> keras.Model:
    """Return the one head for all runs of a shape: building it takes longer than calling it."""
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
