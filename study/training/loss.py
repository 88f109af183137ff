"""The cross-entropy of a head: smoothed or weighted as the search space and the data say.

`class_weight = "balanced"` gives a row of class c the weight n / (C n_c), where n_c of the n
training rows are of this class and C classes have any: the weights of scikit-learn's "balanced"
(King and Zeng, "Logistic regression in rare events data", 2001), 1 on average. Keras uses weights
in training only, and divides the weighted sum by the number of rows. `label_smoothing = s` makes
the target 1 - s + s / C at the label and s / C elsewhere (Szegedy et al., "Rethinking the Inception
architecture for computer vision", 2016). In a program both are inputs of each head: a mapping with
the keys `class_weight`, (C,) float32, and `label_smoothing`, a float64 scalar, or with one or none
of them. Weights of the user's own rows are multiplied by those of their class; in a training batch
they are `sample_weight`, (batch,) float32, of that mapping. Tensors are traced, so they are `Any`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from jaxtyping import Float32, Int

from study.space.head_config import HeadConfig
from study.training.smoothed_loss import SmoothedCrossentropy


def class_weights(
    config: HeadConfig, labels: Int[np.ndarray, " n"], n_classes: int
) -> Float32[np.ndarray, " C"]:
    """Return the weight of a row of each class: 0 for a class without training rows."""
    if not config.balanced:
        return np.ones(n_classes, np.float32)
    counts = np.bincount(labels, minlength=n_classes)
    equal = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    weights: np.ndarray = np.where(counts > 0, equal, 0.0).astype(np.float32)
    return weights


def keras_class_weight(
    config: HeadConfig, labels: Int[np.ndarray, " n"]
) -> dict[int, float] | None:
    """Return the weights for `model.fit(class_weight=...)`; None if all classes weigh 1."""
    if not config.balanced:
        return None
    found = class_weights(config, labels, int(labels.max()) + 1)
    return {label: float(weight) for label, weight in enumerate(found)}


def row_weights(
    config: HeadConfig,
    labels: Int[np.ndarray, " R"],
    trained: Int[np.ndarray, " n"],
    own: Float32[np.ndarray, " R"] | None,
) -> Float32[np.ndarray, " R"] | None:
    """Return the weights of rows for `sample_weight` of Keras, which takes no `class_weight` then.

    They are the `own` weights times those of the classes, which are balanced over the labels
    `trained`; None if all rows weigh 1.
    """
    if not config.balanced:
        return own
    found: np.ndarray = class_weights(config, trained, int(labels.max()) + 1)[labels]
    return found if own is None else (found * own).astype(np.float32)


def keras_loss(config: HeadConfig) -> str | keras.losses.Loss:
    """Return the loss for `model.compile`, for labels that are class numbers."""
    if config.label_smoothing:
        return SmoothedCrossentropy(config.label_smoothing)
    return "sparse_categorical_crossentropy"


def stacked(
    wanted: Sequence[str],
    configs: Sequence[HeadConfig],
    weights: Sequence[Float32[np.ndarray, " C"]],
) -> dict[str, tf.Tensor]:
    """Return the wanted hyperparameters of K heads, whose class weights are `weights`."""
    smoothing = [config.label_smoothing for config in configs]
    every = {
        "class_weight": tf.constant(np.stack(weights)),
        "label_smoothing": tf.constant(smoothing, tf.float64),
    }
    return {key: every[key] for key in wanted}


def row_losses(labels: Any, outputs: Any, loss: Mapping[str, Any]) -> Any:
    """Return the cross-entropy (rows,), without weights, of probabilities (rows, C)."""
    if "label_smoothing" not in loss:
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)
    smoothing, classes = loss["label_smoothing"], outputs.shape[-1]
    # Keras's own smoothing tests in Python whether it is 0.
    kept = tf.cast(1.0 - smoothing, tf.float32)
    spread = tf.cast(smoothing, tf.float32) / classes
    return keras.losses.categorical_crossentropy(
        tf.one_hot(labels, classes) * kept + spread, outputs
    )
