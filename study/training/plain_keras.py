"""A run trained by Keras itself, batch by batch and eagerly: slow, but whatever its optimizer does.

For optimizers that cannot be mapped over heads (see `mappable`): what their code says is done step
by step, Python state and decisions on values included. Such a run cannot be continued.
"""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from study.common.metrics import ACCURACY
from study.training.epoch_metrics import (
    ClassMetric,
    EpochMetrics,
    HalfSums,
    RowSums,
    counted_classes,
    epoch_metrics,
    half_sums,
    judged,
)
from study.training.head import Statistics, rows_per_step
from study.training.hypermodel import HeadHyperModel
from study.training.loss import keras_class_weight, smoothing_of
from study.training.runs import HeadResult, HeadRun, order_of_rows


def train_plainly(
    run: HeadRun,
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    max_epochs: int,
    metric: str = ACCURACY,
    views: np.ndarray | None = None,
    enough: Callable[[], bool] = lambda: False,
) -> HeadResult:
    """Train a run from its first epoch.

    Args:
        run: what to train.
        features: (N, n_features) float32.
        labels: (N,) int32.
        n_classes: how many classes.
        max_epochs: horizon of the schedule.
        metric: what decides between epochs.
        views: (N, n_views) row numbers, see `order_of_rows`.
        enough: asked after every epoch; the rest is left out if it says so.
    """
    start = time.perf_counter()
    config, batch = run.config, rows_per_step(run.config, len(run.train))
    counted = counted_classes(metric, n_classes)
    also = [ClassMetric(metric, counted)] if counted else []
    head = HeadHyperModel(
        None,
        n_features=features.shape[1],
        n_classes=n_classes,
        n_train=len(run.train),
        max_epochs=max_epochs,
        seed=run.seed,
        statistics=Statistics.of(features[run.train]) if config.normalize else None,
    ).build_config(config, also=also)
    head.run_eagerly = True
    weights = keras_class_weight(config, labels[run.train])
    curves: list[EpochMetrics] = []
    rates = []
    best_value, best_weights = -1.0, head.get_weights()
    for epoch in range(run.epochs):
        rows = order_of_rows(run, epoch, views)
        training = RowSums(0.0, 0.0, np.zeros((3, counted), np.float32) if counted else ())
        for at in range(0, len(rows), batch):
            if at + batch >= len(rows):
                rates.append(_learning_rate(head.optimizer))
            training = _step(head, features, labels, rows[at : at + batch], training, weights, also)
        validation = _validation(head, features, labels, run, counted)
        found = epoch_metrics(training, validation, len(rows), len(run.validation), metric)
        curves.append(found)
        if judged(found) > best_value:
            best_value, best_weights = float(judged(found)), head.get_weights()
        if enough():
            break
    return HeadResult(
        _stacked(curves),
        learning_rate=np.array(rates, np.float32),
        state=None,
        best_weights=best_weights,
        seconds=time.perf_counter() - start,
    )


def _step(
    head: keras.Model,
    features: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    sums: RowSums,
    weights: dict[int, float] | None,
    also: Sequence[ClassMetric],
) -> RowSums:
    """One step of Keras's own `train_step`; adds what it saw."""
    head.reset_metrics()
    found = head.train_on_batch(
        features[rows], labels[rows], class_weight=weights, return_dict=True
    )
    count = len(rows)
    counts = sums.counts
    for one in also:
        counts = counts + keras.ops.convert_to_numpy(one.counts)
    return RowSums(sums.loss + found["loss"] * count, sums.hits + found["accuracy"] * count, counts)


def _validation(
    head: keras.Model, features: np.ndarray, labels: np.ndarray, run: HeadRun, counted: int
) -> HalfSums:
    outputs = head(features[run.validation], training=False)
    truth = tf.constant(labels[run.validation], tf.int32)
    return half_sums(truth, outputs, None, smoothing_of(run.config), classes=counted)


def _stacked(curves: Sequence[EpochMetrics]) -> EpochMetrics:
    """The numbers of all epochs, each (epochs, ...)."""
    columns = zip(*curves, strict=True)
    return EpochMetrics(
        *[None if of[0] is None else np.stack([np.float32(one) for one in of]) for of in columns]
    )


def _learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
