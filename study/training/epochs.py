"""What a program computes: epochs, each with its validation, of K heads that share a signature.

Dropout draws random bits that depend on nothing but a head's key, the step, the row and the unit,
so neither padding nor the other heads change them: Threefry-2x32 with 20 rounds (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", 2011), as JAX uses it. TensorFlow's own stateless
generators take one key for a whole tensor and cannot be mapped over heads.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from study.space.head_config import HeadConfig
from study.training.epoch_metrics import (
    FoldSums,
    RowSums,
    added,
    as_table,
    epoch_metrics,
    epoch_values,
    table_rows,
)
from study.training.head import steps_per_epoch
from study.training.head_state import State
from study.training.program_key import ProgramShape, Signature
from study.training.vectorized_head import EvaluationBatch, TrainingBatch, VectorizedHead

VALIDATION_ROWS = 512  # in one piece; even, so that a fold has the same places in every piece
CALL_ROWS = 16_384  # most training rows of a head in one call of several epochs
CALL_EPOCHS = 32  # at most

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


class RowTensors(NamedTuple):
    """The rows that all heads share."""

    features: Any  # (R, d)
    labels: Any  # (R,) int32
    sample_weight: Any = ()  # (R,) float32; () unless the program is `weighted`


class Inputs(NamedTuple):
    """What K heads need in all epochs; tensors, so their shapes are not checked."""

    hyperparameters: dict[str, tf.Tensor]  # (K,) float64
    dropout: tf.Tensor  # (K,)
    units: tf.Tensor  # (K, width): 1 for real units, 0 for padding
    seeds: tf.Tensor  # (K, 2) uint32
    mean: tf.Tensor  # (K, d)
    variance: tf.Tensor  # (K, d)
    validation: tf.Tensor  # (K, n_validation) int32
    loss: dict[str, tf.Tensor]  # see `study.training.loss`; empty for the plain one


class Epoch(NamedTuple):
    """What K heads need in one epoch; in a call of a program all have an axis of epochs first."""

    rows: Any  # (K, steps, batch) int32: the training rows in their order
    rates: Any  # (K, steps): learning rates
    numbers: Any  # (K,) int32: number of the epoch, counted from 0


class Epochs:
    """A function of tensors, to be traced; it holds a Keras head and an optimizer."""

    def __init__(self, signature: Signature, config: HeadConfig, shape: ProgramShape) -> None:
        self.signature, self.shape = signature, shape
        self.steps = steps_per_epoch(config, signature.n_train)
        self.most_epochs = min(max(CALL_ROWS // signature.n_train, 1), CALL_EPOCHS)  # in one call
        self.vectorized = VectorizedHead(signature, config, shape)
        self.state_shape = self.vectorized.state_shape

    def __call__(
        self, rows: RowTensors, heads: Inputs, state: State, given: Epoch, count: Any
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """Return tables, predicted classes and the new state; zeros after `count` epochs.

        The tables are (most_epochs, rows, K), the classes (most_epochs, K, n_validation) int32.
        """
        size, lines = self.shape.size, table_rows(self.shape.metric, self.shape.n_classes)
        metrics = tf.TensorArray(tf.float32, self.most_epochs, element_shape=(lines, size))
        classes = tf.TensorArray(
            tf.int32, self.most_epochs, element_shape=(size, self.signature.n_validation)
        )

        def epoch(index: Any, metrics: Any, classes: Any, state: State) -> Any:
            now = Epoch(*[tf.gather(inputs, index) for inputs in given])
            found, predicted, state = self._epoch(rows, heads, state, now)
            return index + 1, metrics.write(index, found), classes.write(index, predicted), state

        _, metrics, classes, state = tf.while_loop(
            lambda index, *_: index < count, epoch, (0, metrics, classes, state)
        )
        return metrics.stack(), classes.stack(), state

    def _epoch(
        self, rows: RowTensors, heads: Inputs, state: State, now: Epoch
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        """Train and validate one epoch; return its table, predicted classes and the new state."""
        signature = self.signature
        weights, statistics, optimizer, training = self._train(rows, heads, state, now)
        validation, predicted = self._validate(rows, heads, weights, statistics)
        metrics = epoch_metrics(
            training, validation, signature.n_train, signature.n_validation, self.shape.metric
        )
        better = epoch_values(metrics) > state.best_value
        best = [
            tf.where(tf.reshape(better, [-1] + [1] * (old.shape.rank - 1)), new, old)
            for new, old in zip(
                self.state_shape.in_order(weights, statistics), state.best, strict=True
            )
        ]
        best_value = tf.where(better, epoch_values(metrics), state.best_value)
        state = State(weights, statistics, optimizer, best, best_value)
        return as_table(metrics), predicted, state

    def _train(self, rows: RowTensors, heads: Inputs, state: State, now: Epoch) -> Any:
        """Take all steps; return weights, statistics, optimizer variables and sums (K,)."""
        n_train, batch, vectorized = self.signature.n_train, self.signature.batch, self.vectorized

        def step(i: Any, weights: Any, statistics: Any, optimizer: Any, sums: RowSums) -> Any:
            chosen = tf.gather(now.rows, i, axis=1)  # (K, batch)
            real = tf.minimum(n_train - i * batch, batch)
            mask = tf.range(batch) < real if n_train % batch else None
            noise = dropout_noise(
                heads.seeds, now.numbers * self.steps + i, heads.dropout, batch,
                self.signature.width,
            )  # fmt: skip
            optimizer = list(optimizer)
            optimizer[vectorized.rate_index] = tf.gather(now.rates, i, axis=1)
            weighted = self.shape.weighted
            of_rows = {"sample_weight": tf.gather(rows.sample_weight, chosen)} if weighted else {}
            given = TrainingBatch(
                rows=tf.gather(rows.features, chosen),
                labels=tf.gather(rows.labels, chosen),
                noise=noise * heads.units[:, None, :],
                mean=heads.mean,
                variance=heads.variance,
                loss=heads.loss | of_rows,
                hyperparameters=heads.hyperparameters,
                weights=weights,
                statistics=statistics,
                optimizer=optimizer,
            )
            done = tf.vectorized_map(
                lambda one: vectorized.train_step(one, mask, real),
                given,
                fallback_to_while_loop=False,
            )
            return i + 1, done.weights, done.statistics, done.optimizer, added(sums, done.sums)

        nothing = RowSums.none(self.shape.size, vectorized.counted)
        start = (0, state.weights, state.statistics, state.optimizer, nothing)
        return tf.while_loop(lambda i, *_: i < self.steps, step, start)[1:]

    def _validate(
        self, rows: RowTensors, heads: Inputs, weights: Any, statistics: Any
    ) -> tuple[FoldSums, tf.Tensor]:
        """Return sums over the validation rows, each (K,), and their classes (K, n_validation)."""
        count = self.signature.n_validation
        piece = min(count, VALIDATION_ROWS)
        pieces = -(-count // piece)
        padded = tf.pad(heads.validation, [[0, 0], [0, pieces * piece - count]])
        size = self.shape.size
        classes = tf.TensorArray(tf.int32, pieces, element_shape=(size, piece))

        def step(i: Any, sums: FoldSums, classes: Any) -> Any:
            chosen = tf.slice(padded, [0, i * piece], [size, piece])
            mask = tf.range(piece) + i * piece < count
            given = EvaluationBatch(
                rows=tf.gather(rows.features, chosen),
                labels=tf.gather(rows.labels, chosen),
                mean=heads.mean,
                variance=heads.variance,
                loss=heads.loss,
                weights=weights,
                statistics=statistics,
            )
            found, predicted = tf.vectorized_map(
                lambda one: self.vectorized.evaluate(one, mask), given, fallback_to_while_loop=False
            )
            return i + 1, added(sums, found), classes.write(i, predicted)

        start = (0, FoldSums.none(size, self.vectorized.counted), classes)
        _, sums, classes = tf.while_loop(lambda i, *_: i < pieces, step, start)
        found = tf.transpose(classes.stack(), [1, 0, 2])  # (K, pieces, piece)
        return sums, tf.reshape(found, (size, pieces * piece))[:, :count]


def dropout_noise(seeds: Any, steps: Any, rates: Any, rows: int, units: int) -> Any:
    """Return (K, rows, units) factors: 0 with a head's dropout rate, else 1 / (1 - rate).

    The key is made of `seeds` (K, 2) uint32 and the number of the step, `steps` (K,) int32.
    """
    half = -(-rows // 2)  # two words for each counter: rows 2i and 2i + 1
    key = (seeds[:, 0], tf.bitwise.bitwise_xor(seeds[:, 1], tf.cast(steps, tf.uint32)))
    key = (key[0][:, None, None], key[1][:, None, None])
    pairs = tf.cast(tf.range(half), tf.uint32)[None, :, None]
    columns = tf.cast(tf.range(units), tf.uint32)[None, None, :]
    shape = (seeds.shape[0], half, units)
    words = threefry(key, (tf.broadcast_to(pairs, shape), tf.broadcast_to(columns, shape)))
    bits = tf.reshape(tf.stack(words, axis=2), (shape[0], 2 * half, units))[:, :rows]
    high = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    uniform = tf.cast(tf.cast(high, tf.int32), tf.float32) * 2.0**-24
    rates = rates[:, None, None]
    return tf.where(uniform >= rates, 1.0 / (1.0 - rates), 0.0)


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return two random words for every pair of key and counter words; all uint32, broadcast."""
    parity = tf.bitwise.bitwise_xor(key[0], key[1])
    schedule = (*key, tf.bitwise.bitwise_xor(parity, tf.constant(0x1BD11BDA, tf.uint32)))
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for bits in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            left, right = tf.constant(bits, tf.uint32), tf.constant(32 - bits, tf.uint32)
            x1 = tf.bitwise.bitwise_or(
                tf.bitwise.left_shift(x1, left), tf.bitwise.right_shift(x1, right)
            )
            x1 = tf.bitwise.bitwise_xor(x1, x0)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return x0, x1
