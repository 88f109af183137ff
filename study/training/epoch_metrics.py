"""What is measured of a head: sums over rows, and from them the numbers of an epoch.

`RowSums` are taken of one head's batch, `EpochMetrics` become the curves of a record. Where another
metric than accuracy judges (`study.common.metrics`), rows are counted by class, too; accuracy is
measured without that.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf

from study.common.metrics import ACCURACY, from_counts
from study.training.loss import row_losses, row_weights

PLAIN: Mapping[str, Any] = {}  # a loss without hyperparameters


class RowSums(NamedTuple):
    """Sums over the rows that count; scalars of one head, (K,) of a population."""

    loss: Any
    hits: Any  # rows whose largest probability is at their label
    counts: Any = ()  # (3, classes) of a head, as `from_counts` takes them; () for accuracy

    @classmethod
    def none(cls, heads: int, classes: int) -> "RowSums":
        """Over no rows of a population; `classes` are counted."""
        counts = tf.zeros((heads, 3, classes)) if classes else ()
        return cls(tf.zeros(heads), tf.zeros(heads), counts)


class HalfSums(NamedTuple):
    """Sums over validation rows; hits apart for rows at even places, half A, and at odd ones, B."""

    loss: Any
    hits_a: Any
    hits_b: Any
    counts: Any = ()  # (2, 3, classes) of a head: of half A and half B

    @classmethod
    def none(cls, heads: int, classes: int) -> "HalfSums":
        """Over no rows of a population; `classes` are counted."""
        counts = tf.zeros((heads, 2, 3, classes)) if classes else ()
        return cls(tf.zeros(heads), tf.zeros(heads), tf.zeros(heads), counts)


Sums = TypeVar("Sums", RowSums, HalfSums)


class EpochMetrics(NamedTuple):
    """What an epoch reached: (K,) of a population, (epochs,) as a head's curves."""

    loss: Any  # mean over the training rows, with dropout and weights, as Keras's fit reports it
    accuracy: Any
    val_loss: Any  # without weights
    val_accuracy: Any
    val_hits_a: Any  # validation rows of half A that were named rightly
    val_hits_b: Any
    train_metric: Any = None  # the metric that judges, where it is not accuracy
    val_metric: Any = None
    val_counts: Any = None  # (K, 2, 3, classes), or (epochs, 2, 3, classes): of both halves


def judged(metrics: EpochMetrics) -> Any:
    """What decides which epoch's weights are kept: the first highest (K,)."""
    return metrics.val_accuracy if metrics.val_metric is None else metrics.val_metric


def counted_classes(metric: str, classes: int) -> int:
    """By how many classes rows are counted for a metric: none for accuracy."""
    return 0 if metric == ACCURACY else classes


def row_sums(
    labels: Any,
    outputs: Any,
    mask: Any = None,
    loss: Mapping[str, Any] = PLAIN,
    *,
    classes: int = 0,
) -> RowSums:
    """Sums over a batch of labels (rows,) and probabilities (rows, classes).

    Args:
        labels: int32.
        outputs: the head's.
        mask: (rows,) which rows count; None if all do.
        loss: its hyperparameters, see `study.training.loss`.
        classes: that are counted by themselves.
    """
    losses, hits = _of_rows(labels, outputs, mask, loss)
    losses = row_weights(losses, labels, loss)
    sums = RowSums(tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)))
    if not classes:
        return sums
    return sums._replace(counts=class_counts(labels, outputs, mask, classes))


def half_sums(
    labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any] = PLAIN, *, classes: int = 0
) -> HalfSums:
    """The same over validation rows. They are sorted by class, so each half has all classes.

    Class weights do not enter: Keras's fit has them in training only.
    """
    losses, hits = _of_rows(labels, outputs, mask, loss)
    counted = tf.cast(hits, tf.float32)
    even = tf.cast(tf.range(tf.shape(counted)[0]) % 2 == 0, tf.float32)
    in_a = tf.reduce_sum(counted * even)
    sums = HalfSums(tf.reduce_sum(losses), in_a, tf.reduce_sum(counted) - in_a)
    if not classes:
        return sums
    halves = [even > 0, even == 0]
    if mask is not None:
        halves = [tf.logical_and(half, mask) for half in halves]
    return sums._replace(
        counts=tf.stack([class_counts(labels, outputs, half, classes) for half in halves])
    )


def added(one: Sums, other: Sums) -> Sums:
    """Both together."""
    return type(one)(*[a + b for a, b in zip(one, other, strict=True)])


def class_counts(labels: Any, outputs: Any, mask: Any, classes: int) -> Any:
    """(3, classes) float32: rows of a class named rightly, rows named as it, rows of it."""
    numbers = tf.range(classes)
    named = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32)[:, None], numbers)
    there = tf.equal(labels[:, None], numbers)  # (rows, classes)
    if mask is not None:
        named, there = (tf.logical_and(found, mask[:, None]) for found in (named, there))
    found = tf.stack([tf.logical_and(named, there), named, there])
    return tf.reduce_sum(tf.cast(found, tf.float32), axis=1)


def metric_of(metric: str, counts: Any) -> Any:
    """(...) float32 of counts by class (..., 3, classes), inside a program or outside."""
    return tf.cast(from_counts(metric, tf.cast(counts, tf.float64), keras.ops), tf.float32)


def _of_rows(labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any]) -> tuple[Any, Any]:
    """Loss and hit of each row, (rows,); zero and False where `mask` does not let it count."""
    losses = row_losses(labels, outputs, loss)
    hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), labels)
    if mask is not None:
        losses, hits = tf.where(mask, losses, 0.0), tf.logical_and(hits, mask)
    return losses, hits


def epoch_metrics(
    training: RowSums,
    validation: HalfSums,
    n_train: int,
    n_validation: int,
    metric: str = ACCURACY,
) -> EpochMetrics:
    """The numbers of an epoch from the sums over its rows; `metric` is what judges."""
    found = EpochMetrics(
        training.loss / n_train,
        training.hits / n_train,
        validation.loss / n_validation,
        (validation.hits_a + validation.hits_b) / n_validation,
        validation.hits_a,
        validation.hits_b,
    )
    if metric == ACCURACY:
        return found
    return found._replace(
        train_metric=metric_of(metric, training.counts),
        val_metric=metric_of(metric, tf.reduce_sum(validation.counts, axis=-3)),
        val_counts=validation.counts,
    )


def table_rows(metric: str, classes: int) -> int:
    """How many rows `as_table` has."""
    return _numbers(metric) + 2 * 3 * counted_classes(metric, classes)


def as_table(found: EpochMetrics) -> Any:
    """(rows, K) float32: what a program gives back of an epoch."""
    if found.val_counts is None:
        return tf.stack([number for number in found if number is not None])
    counts = tf.reshape(found.val_counts, (found.val_counts.shape[0], -1))
    return tf.concat([tf.stack(list(found[:-1])), tf.transpose(counts)], axis=0)


def from_table(table: np.ndarray, metric: str, classes: int) -> EpochMetrics:
    """A head's curves from the tables of its epochs, (epochs, rows)."""
    numbers = _numbers(metric)
    found = EpochMetrics(*table[:, :numbers].T.copy())
    if metric == ACCURACY:
        return found
    return found._replace(val_counts=table[:, numbers:].reshape(-1, 2, 3, classes).copy())


def _numbers(metric: str) -> int:
    """Of an epoch, besides counts by class."""
    return 6 if metric == ACCURACY else 8


@keras.saving.register_keras_serializable(package="optimizer_study")
class ClassMetric(keras.metrics.Metric):
    """A metric from counts by class for Keras's own training, by its name; rows have no weights.

    Args:
        metric: `balanced_accuracy` or `macro_f1`.
        classes: how many.
    """

    def __init__(self, metric: str, classes: int) -> None:
        super().__init__(name=metric)
        self.metric, self.classes = metric, classes
        self.counts = self.add_weight(shape=(3, classes), initializer="zeros", name="counts")

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"metric": self.metric, "classes": self.classes}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: labels (rows,) or (rows, 1), and probabilities (rows, classes)."""
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        self.counts.assign_add(class_counts(labels, y_pred, None, self.classes))

    def result(self) -> Any:
        """Over all batches since the last reset."""
        return metric_of(self.metric, self.counts.value)
