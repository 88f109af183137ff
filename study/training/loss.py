"""The cross-entropy of a head: labels that are smoothed, classes that weigh the same.

Both are `[head]` keys of a search space. `class_weight = "balanced"` lets a row of class c weigh
n / (C n_c), where n_c of the n training rows are of this class and C classes have any: the weights
of scikit-learn's "balanced" (King and Zeng, "Logistic regression in rare events data", 2001), which
are 1 on average. `label_smoothing = s` asks for 1 - s + s / C at the label and s / C elsewhere
(Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016).

In a program both are numbers that each head brings along: a mapping with the keys `class_weight`,
(C,) float32, and `label_smoothing`, a float64 scalar, or those of them that the search space has.
Keras has weights in training only, and divides the weighted sum by the number of rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from study.space.head_config import HeadConfig
from study.training.smoothed_loss import SmoothedCrossentropy

PLAIN = "sparse_categorical_crossentropy"


def class_weights(config: HeadConfig, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """What a row of each class weighs, (n_classes,) float32.

    Args:
        config: 1 everywhere if it is not balanced.
        labels: (n,) of the training rows; classes that are not among them weigh 0.
        n_classes: how many classes there are.
    """
    if not config.balanced:
        return np.ones(n_classes, np.float32)
    counts = np.bincount(labels, minlength=n_classes)
    equal = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, equal, 0.0).astype(np.float32)


def keras_class_weight(config: HeadConfig, labels: np.ndarray) -> dict[int, float] | None:
    """The same as `model.fit(class_weight=...)` takes it."""
    if not config.balanced:
        return None
    found = class_weights(config, labels, int(labels.max()) + 1)
    return {label: float(weight) for label, weight in enumerate(found)}


def keras_loss(config: HeadConfig) -> str | keras.losses.Loss:
    """The loss as `model.compile` takes it, for class numbers (n,)."""
    return SmoothedCrossentropy(config.label_smoothing) if config.label_smoothing else PLAIN


def smoothing_of(config: HeadConfig) -> dict[str, float]:
    """What the validation loss of one head is computed with."""
    return {"label_smoothing": config.label_smoothing} if config.label_smoothing else {}


def stacked(
    wanted: Sequence[str], configs: Sequence[HeadConfig], weights: Sequence[np.ndarray]
) -> dict[str, tf.Tensor]:
    """What K heads bring along, those of them that are wanted.

    Args:
        wanted: keys of `[head]`.
        configs: of the K heads.
        weights: their class weights, each (n_classes,).
    """
    smoothing = [config.label_smoothing for config in configs]
    every = {
        "class_weight": tf.constant(np.stack(weights)),
        "label_smoothing": tf.constant(smoothing, tf.float64),
    }
    return {key: every[key] for key in wanted}


def empty(wanted: Sequence[str], size: int, n_classes: int) -> dict[str, tf.Tensor]:
    """The same with zeros: all that a program is traced with."""
    every = {
        "class_weight": tf.zeros((size, n_classes)),
        "label_smoothing": tf.zeros(size, tf.float64),
    }
    return {key: every[key] for key in wanted}


def row_losses(labels: Any, outputs: Any, loss: Mapping[str, Any]) -> Any:
    """Cross-entropy of each row, (rows,), without weights.

    Args:
        labels: (rows,) int32.
        outputs: (rows, n_classes) probabilities.
        loss: of the one head.
    """
    if "label_smoothing" not in loss:
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)
    smoothing, classes = loss["label_smoothing"], outputs.shape[-1]
    # Keras's own smoothing asks in Python whether it is 0
    kept = tf.cast(1.0 - smoothing, tf.float32)
    spread = tf.cast(smoothing, tf.float32) / classes
    return keras.losses.categorical_crossentropy(
        tf.one_hot(labels, classes) * kept + spread, outputs
    )


def row_weights(losses: Any, labels: Any, loss: Mapping[str, Any]) -> Any:
    """The losses of rows, (rows,), times what their classes weigh."""
    if "class_weight" not in loss:
        return losses
    return losses * tf.gather(loss["class_weight"], labels)
