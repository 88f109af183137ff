"""A run that Keras itself trains, batch by batch and eagerly: slow, but right for any optimizer.

Optimizers that cannot be mapped over heads (see `mappable`) are trained so: their code runs step by
step, with its Python state and its decisions on values. Such a run cannot be continued. One runs at
a time, because the random generators of Keras, TensorFlow, NumPy and Python, from which their code
may draw, start from the run's seed and are the process's.
"""

import threading
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from jaxtyping import Int, UInt

from study.common.seeds import derive_seed
from study.training.epoch_metrics import (
    ClassMetric,
    EpochMetrics,
    FoldSums,
    RowSums,
    counted_classes,
    cross_fitted_classes,
    epoch_metrics,
    epoch_values,
    fold_sums,
)
from study.training.head import Statistics, rows_per_step
from study.training.hypermodel import HeadHyperModel
from study.training.loss import row_weights
from study.training.runs import HeadResult, HeadRun, TrainingRules, TrainingTable, order_of_rows

_ONE_AT_A_TIME = threading.Lock()


def train_plainly(
    run: HeadRun,
    table: TrainingTable,
    rules: TrainingRules,
    enough: Callable[[], bool] = lambda: False,
) -> HeadResult:
    """Train a run from its first epoch; stop after any epoch if `enough()` is true."""
    with _ONE_AT_A_TIME:
        keras.utils.set_random_seed(derive_seed(run.seed, "code"))
        return _trained(run, table, rules, enough)


def _trained(
    run: HeadRun, table: TrainingTable, rules: TrainingRules, enough: Callable[[], bool]
) -> HeadResult:
    start = time.perf_counter()
    training = _KerasTraining(run, table, rules)
    curves: list[EpochMetrics] = []
    rates, predicted = [], []
    best_value, weights = -1.0, training.head.get_weights()
    for epoch in range(run.epochs):
        rows = order_of_rows(run, epoch, table.views)
        sums, rate = training.epoch(rows)
        validation, classes = training.validation()
        found = epoch_metrics(sums, validation, len(rows), len(run.validation), rules.metric)
        curves.append(found)
        rates.append(rate)
        predicted.append(classes)
        if run.last_weights or epoch_values(found) > best_value:
            best_value, weights = float(epoch_values(found)), training.head.get_weights()
        if enough():
            break
    of_epochs = _stacked(curves)
    return HeadResult(
        of_epochs,
        learning_rate=np.array(rates, np.float32),
        state=None,
        weights=weights,
        seconds=time.perf_counter() - start,
        classes=cross_fitted_classes(of_epochs, rules.metric, np.stack(predicted))
        if run.keep_classes
        else None,
    )


class _KerasTraining:
    """A compiled head and the rows of its run."""

    def __init__(self, run: HeadRun, table: TrainingTable, rules: TrainingRules) -> None:
        self._run, self._table = run, table
        self._counted = counted_classes(rules.metric, table.n_classes)
        self._also = [ClassMetric(rules.metric, self._counted)] if self._counted else []
        trained = table.labels[run.train]
        self._weights = row_weights(run.config, table.labels, trained, table.sample_weight)
        normalize, train = run.config.normalize, run.train
        self.head = HeadHyperModel(
            None,
            n_features=table.features.shape[1],
            n_classes=table.n_classes,
            n_train=len(train),
            max_epochs=rules.max_epochs,
            seed=run.seed,
            statistics=Statistics.of(table.features[train]) if normalize else None,
        ).build_config(run.config, also=self._also)
        self.head.run_eagerly = True

    def epoch(self, rows: Int[np.ndarray, " n"]) -> tuple[RowSums, float]:
        """Train on all rows; return their sums and the learning rate of the last step."""
        batch = rows_per_step(self._run.config, len(rows))
        counts = np.zeros((3, self._counted), np.float32) if self._counted else ()
        sums, rate = RowSums(0.0, 0.0, counts), 0.0
        for at in range(0, len(rows), batch):
            if at + batch >= len(rows):
                rate = float(keras.ops.convert_to_numpy(self.head.optimizer.learning_rate))
            sums = self._step(rows[at : at + batch], sums)
        return sums, rate

    def _step(self, rows: Int[np.ndarray, " batch"], sums: RowSums) -> RowSums:
        """Take one step of Keras's own `train_step`; return `sums` with these rows added."""
        self.head.reset_metrics()
        found = self.head.train_on_batch(
            self._table.features[rows],
            self._table.labels[rows],
            sample_weight=None if self._weights is None else self._weights[rows],
            return_dict=True,
        )
        count, counts = len(rows), sums.counts
        for one in self._also:
            counts = counts + keras.ops.convert_to_numpy(one.counts)
        return RowSums(
            sums.loss + found["loss"] * count, sums.hits + found["accuracy"] * count, counts
        )

    def validation(self) -> tuple[FoldSums, UInt[np.ndarray, " m"]]:
        """Return the sums over the validation rows, and their predicted classes."""
        rows = self._run.validation
        outputs = self.head(self._table.features[rows], training=False)
        labels = tf.constant(self._table.labels[rows], tf.int32)
        smoothing = self._run.config.label_smoothing
        loss = {"label_smoothing": smoothing} if smoothing else {}  # without class weights
        sums = fold_sums(labels, outputs, None, loss, classes=self._counted)
        small = np.min_scalar_type(self._table.n_classes - 1)
        return sums, np.argmax(outputs, axis=-1).astype(small)


def _stacked(curves: Sequence[EpochMetrics]) -> EpochMetrics:
    """Return the results of all epochs, each (epochs, ...)."""
    columns = zip(*curves, strict=True)
    return EpochMetrics(
        *[None if of[0] is None else np.stack([np.float32(one) for one in of]) for of in columns]
    )
