"""The metrics of a head: sums over rows, and from them the numbers of an epoch.

`RowSums` are sums over one head's batch, `EpochMetrics` become the curves of a record. Where
another metric than accuracy chooses between epochs (`study.common.metrics`), rows are also counted
by class. Most values are tensors inside a traced program and arrays outside, so they are `Any`,
with their shapes in comments.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf
from jaxtyping import Float32, UInt

from study.common.metrics import ACCURACY, from_counts
from study.training.loss import row_losses


class RowSums(NamedTuple):
    """Sums over the rows of a batch: scalars of one head, (K,) of a population."""

    loss: Any
    hits: Any  # number of rows that are classified correctly
    counts: Any = ()  # (3, C) of a head, for `from_counts`; () for accuracy

    @classmethod
    def none(cls, heads: int, classes: int) -> "RowSums":
        """Return the sums of a population over no rows, counted by so many classes."""
        counts = tf.zeros((heads, 3, classes)) if classes else ()
        return cls(tf.zeros(heads), tf.zeros(heads), counts)


class FoldSums(NamedTuple):
    """Sums over validation rows; fold A has the rows at even places, fold B those at odd places."""

    loss: Any
    hits_a: Any
    hits_b: Any
    counts: Any = ()  # (2, 3, C) of a head: of fold A and fold B

    @classmethod
    def none(cls, heads: int, classes: int) -> "FoldSums":
        """Return the sums of a population over no rows, counted by so many classes."""
        counts = tf.zeros((heads, 2, 3, classes)) if classes else ()
        return cls(tf.zeros(heads), tf.zeros(heads), tf.zeros(heads), counts)


Sums = TypeVar("Sums", RowSums, FoldSums)


class EpochMetrics(NamedTuple):
    """Results of an epoch, (K,) of a population; or a head's curves, (epochs,)."""

    loss: Any  # mean over the training rows, with dropout and weights, as in Keras's fit
    accuracy: Any
    val_loss: Any  # without weights
    val_accuracy: Any
    val_hits_a: Any  # validation rows of fold A that are classified correctly
    val_hits_b: Any
    train_metric: Any = None  # the metric that chooses between epochs, unless it is accuracy
    val_metric: Any = None
    val_counts: Any = None  # (K, 2, 3, C) or (epochs, 2, 3, C): of both folds


def epoch_values(metrics: EpochMetrics) -> Any:
    """Return the values by which the best epoch is chosen, the first with the highest value."""
    return metrics.val_accuracy if metrics.val_metric is None else metrics.val_metric


def counted_classes(metric: str, classes: int) -> int:
    """Return by how many classes a metric counts rows: 0 for accuracy."""
    return 0 if metric == ACCURACY else classes


def row_sums(
    labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any], *, classes: int
) -> RowSums:
    """Return the sums over a batch of labels (rows,) and probabilities (rows, C).

    Only the rows in `mask` (rows,) count; all if it is None. For `classes` see `counted_classes`.
    """
    losses, hits = _of_rows(labels, outputs, mask, loss)
    if "class_weight" in loss:
        losses = losses * tf.gather(loss["class_weight"], labels)
    if "sample_weight" in loss:
        losses = losses * loss["sample_weight"]
    sums = RowSums(tf.reduce_sum(losses), tf.reduce_sum(tf.cast(hits, tf.float32)))
    if not classes:
        return sums
    return sums._replace(counts=class_counts(labels, outputs, mask, classes))


def fold_sums(
    labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any], *, classes: int
) -> FoldSums:
    """Return the sums over validation rows, without weights, as Keras's fit has them.

    The rows are sorted by class, so each fold has rows of all classes. See also `row_sums`.
    """
    losses, hits = _of_rows(labels, outputs, mask, loss)
    counted = tf.cast(hits, tf.float32)
    even = tf.cast(tf.range(tf.shape(counted)[0]) % 2 == 0, tf.float32)
    in_a = tf.reduce_sum(counted * even)
    sums = FoldSums(tf.reduce_sum(losses), in_a, tf.reduce_sum(counted) - in_a)
    if not classes:
        return sums
    folds = [even > 0, even == 0]
    if mask is not None:
        folds = [tf.logical_and(fold, mask) for fold in folds]
    return sums._replace(
        counts=tf.stack([class_counts(labels, outputs, fold, classes) for fold in folds])
    )


def added(one: Sums, other: Sums) -> Sums:
    """Add two sums."""
    return type(one)(*[a + b for a, b in zip(one, other, strict=True)])


def class_counts(labels: Any, outputs: Any, mask: Any, classes: int) -> Any:
    """Return (3, C) float32: rows of each class predicted correctly, predicted, and there."""
    numbers = tf.range(classes)
    predicted = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32)[:, None], numbers)
    there = tf.equal(labels[:, None], numbers)  # (rows, C)
    if mask is not None:
        predicted, there = (tf.logical_and(found, mask[:, None]) for found in (predicted, there))
    found = tf.stack([tf.logical_and(predicted, there), predicted, there])
    return tf.reduce_sum(tf.cast(found, tf.float32), axis=1)


def metric_of(metric: str, counts: Any) -> Any:
    """Return a metric, (...) float32, from counts by class (..., 3, C)."""
    return tf.cast(from_counts(metric, tf.cast(counts, tf.float64), keras.ops), tf.float32)


def epoch_metrics(
    training: RowSums, validation: FoldSums, n_train: int, n_validation: int, metric: str
) -> EpochMetrics:
    """Return the results of an epoch from the sums over its rows."""
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
    """Return the number of rows of `as_table`."""
    return _numbers(metric) + 2 * 3 * counted_classes(metric, classes)


def as_table(found: EpochMetrics) -> Any:
    """Return an epoch as a program returns it: (rows, K) float32."""
    if found.val_counts is None:
        return tf.stack([number for number in found if number is not None])
    counts = tf.reshape(found.val_counts, (found.val_counts.shape[0], -1))
    return tf.concat([tf.stack(list(found[:-1])), tf.transpose(counts)], axis=0)


def from_table(
    table: Float32[np.ndarray, "epochs rows"], metric: str, classes: int
) -> EpochMetrics:
    """Return a head's curves from its column in the tables of its epochs."""
    numbers = _numbers(metric)
    found = EpochMetrics(*table[:, :numbers].T.copy())
    if metric == ACCURACY:
        return found
    return found._replace(val_counts=table[:, numbers:].reshape(-1, 2, 3, classes).copy())


def cross_fitted_classes(
    found: EpochMetrics, metric: str, classes: UInt[np.ndarray, "epochs m"]
) -> UInt[np.ndarray, " m"]:
    """Return the class predicted for each validation row, each fold at the best epoch of the other.

    In each fold the metric, which is in the head's curves, chooses the first of equal epochs.
    """
    folds = np.stack([found.val_hits_a, found.val_hits_b], axis=1)
    if metric != ACCURACY:
        folds = from_counts(metric, np.asarray(found.val_counts, np.float64))
    chosen_a, chosen_b = np.argmax(folds, axis=0)
    even = np.arange(classes.shape[1]) % 2 == 0
    fitted: UInt[np.ndarray, " m"] = np.where(even, classes[chosen_b], classes[chosen_a])
    return fitted


@keras.saving.register_keras_serializable(package="optimizer_study")
class ClassMetric(keras.metrics.Metric):
    """Balanced accuracy or macro F1 for Keras's own training, without weights of rows."""

    def __init__(self, metric: str, classes: int) -> None:
        super().__init__(name=metric)
        self.metric, self.classes = metric, classes
        self.counts = self.add_weight(shape=(3, classes), initializer="zeros", name="counts")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild it."""
        return {"metric": self.metric, "classes": self.classes}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: labels (rows,) or (rows, 1), and probabilities (rows, C)."""
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        self.counts.assign_add(class_counts(labels, y_pred, None, self.classes))

    def result(self) -> Any:
        """Return the metric over all batches since the last reset."""
        return metric_of(self.metric, self.counts.value)


def _of_rows(labels: Any, outputs: Any, mask: Any, loss: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return loss and hit of each row, (rows,); 0 and False for rows that do not count."""
    losses = row_losses(labels, outputs, loss)
    hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), labels)
    if mask is not None:
        losses, hits = tf.where(mask, losses, 0.0), tf.logical_and(hits, mask)
    return losses, hits


def _numbers(metric: str) -> int:
    """Return the number of results of an epoch, counts by class left out."""
    return 6 if metric == ACCURACY else 8
