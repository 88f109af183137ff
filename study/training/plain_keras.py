"""A run trained by Keras itself, batch by batch and eagerly: slow, but whatever its optimizer does.

For optimizers that cannot be mapped over heads (see `mappable`): what their code says is done step
by step, Python state and decisions on values included. Such a run cannot be continued.
"""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from study.training.head import Statistics, compiled_head, rows_per_step, steps_per_epoch
from study.training.loss import keras_class_weight, smoothing_of
from study.training.metrics import EpochMetrics, RowSums, epoch_metrics, half_sums, judged
from study.training.runs import HeadResult, HeadRun, order_of_rows


def train_plainly(
    run: HeadRun,
    features: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    *,
    max_epochs: int,
    enough: Callable[[], bool] = lambda: False,
) -> HeadResult:
    """Train a run from its first epoch.

    Args:
        run: what to train.
        features: (N, n_features) float32.
        labels: (N,) int32.
        n_classes: how many classes.
        max_epochs: horizon of the schedule.
        enough: asked after every epoch; the rest is left out if it says so.
    """
    start = time.perf_counter()
    config, batch = run.config, rows_per_step(run.config, len(run.train))
    steps = steps_per_epoch(config, len(run.train))
    head = compiled_head(
        config,
        n_features=features.shape[1],
        n_classes=n_classes,
        seed=run.seed,
        total_steps=max_epochs * steps,
        statistics=Statistics.of(features[run.train]) if config.normalize else None,
    )
    head.run_eagerly = True
    weights = keras_class_weight(config, labels[run.train])
    curves, rates = [], []
    best_value, best_weights = -1.0, head.get_weights()
    for epoch in range(run.epochs):
        rows = order_of_rows(run, epoch)
        training = RowSums(0.0, 0.0)
        for at in range(0, len(rows), batch):
            if at + batch >= len(rows):
                rates.append(_learning_rate(head.optimizer))
            training = _step(head, features, labels, rows[at : at + batch], training, weights)
        found = epoch_metrics(
            training, _validation(head, features, labels, run), len(rows), len(run.validation)
        )
        curves.append([float(value) for value in found])
        if judged(found) > best_value:
            best_value, best_weights = float(judged(found)), head.get_weights()
        if enough():
            break
    return HeadResult(
        EpochMetrics(*np.array(curves, np.float32).T),
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
) -> RowSums:
    """One step of Keras's own `train_step`; adds what it saw."""
    head.reset_metrics()
    found = head.train_on_batch(
        features[rows], labels[rows], class_weight=weights, return_dict=True
    )
    count = len(rows)
    return RowSums(sums.loss + found["loss"] * count, sums.hits + found["accuracy"] * count)


def _validation(head: keras.Model, features: np.ndarray, labels: np.ndarray, run: HeadRun) -> Any:
    outputs = head(features[run.validation], training=False)
    truth = tf.constant(labels[run.validation], tf.int32)
    return half_sums(truth, outputs, None, smoothing_of(run.config))


def _learning_rate(optimizer: keras.optimizers.Optimizer) -> float:
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))
