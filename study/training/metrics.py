"""What is measured of a head: sums over rows, and from them the numbers of an epoch.

`RowSums` are taken of one head's batch, `EpochMetrics` become the curves of a record.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from study.training.loss import row_losses, row_weights

PLAIN: Mapping[str, Any] = {}  # a loss without hyperparameters


class RowSums(NamedTuple):
    """Sums over the rows that count; scalars of one head, (K,) of a population."""

    loss: Any
    hits: Any  # rows whose largest probability is at their label


class HalfSums(NamedTuple):
    """Sums over validation rows; hits apart for rows at even places, half A, and at odd ones, B."""

    loss: Any
    hits_a: Any
    hits_b: Any


class EpochMetrics(NamedTuple):
    """What an epoch reached: (K,) of a population, (epochs,) as a head's curves."""

    loss: Any  # mean over the training rows, with dropout and weights, as Keras's fit reports it
    accuracy: Any
    val_loss: Any  # without weights
    val_accuracy: Any
    val_hits_a: Any  # validation rows of half A that were named rightly
    val_hits_b: Any


def judged(metrics: EpochMetrics) -> Any:
    """What decides which epoch's weights are kept: the first highest (K,)."""
    return metrics.val_accuracy


def row_sums(
    labels: Any, outputs: Any, mask: Any = None, loss: Mapping[str, Any] = PLAIN
) -> RowSums:
    """Sums over a batch of labels (rows,) and probabilities (rows, classes).

    Args:
        labels: int32.
        outputs: the head's.
        mask: (rows,) which rows count; None if all do.
        loss: its hyperparameters, see `study.training.loss`.
    """
    losses, hits = _of_rows(labels, outputs, mask, loss)
    losses = row_weights(losses, labels, loss)
    return RowSums(tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)))


def half_sums(labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any] = PLAIN) -> HalfSums:
    """The same over validation rows. They are sorted by class, so each half has all classes.

    Class weights do not enter: Keras's fit has them in training only.
    """
    losses, hits = _of_rows(labels, outputs, mask, loss)
    counted = tf.cast(hits, tf.float32)
    even = tf.cast(tf.range(tf.shape(counted)[0]) % 2 == 0, tf.float32)
    in_a = tf.reduce_sum(counted * even)
    return HalfSums(tf.reduce_sum(losses), in_a, tf.reduce_sum(counted) - in_a)


def _of_rows(labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any]) -> tuple[Any, Any]:
    """Loss and hit of each row, (rows,); zero and False where `mask` does not let it count."""
    losses = row_losses(labels, outputs, loss)
    hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), labels)
    if mask is not None:
        losses, hits = tf.where(mask, losses, 0.0), tf.logical_and(hits, mask)
    return losses, hits


def epoch_metrics(
    training: RowSums, validation: HalfSums, n_train: int, n_validation: int
) -> EpochMetrics:
    """The numbers of an epoch from the sums over its rows."""
    return EpochMetrics(
        training.loss / n_train,
        training.hits / n_train,
        validation.loss / n_validation,
        (validation.hits_a + validation.hits_b) / n_validation,
        validation.hits_a,
        validation.hits_b,
    )
