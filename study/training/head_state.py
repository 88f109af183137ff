"""The state of one head on the host: fresh, stacked for a program, taken out again, unpadded.

Feature rows, or states of heads -> what TensorFlow takes for them, if possible not a copy.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from study.space.head_config import HeadConfig
from study.space.own_optimizers import own_optimizers
from study.training.head import layer_seeds, make_optimizer, real_part

Arrays = tuple[np.ndarray, ...]  # a `State` of one head, flattened, with the padding


def row_tensor(features: np.ndarray) -> tf.Tensor:
    """A float32 array as TensorFlow sees it: on a CPU the same memory, or the same mapped file.

    `tf.convert_to_tensor` would copy it, and read a file that is larger than the memory.
    """
    if tf.config.list_logical_devices("GPU") or not features.flags.writeable:
        return tf.convert_to_tensor(features, tf.float32)
    rows = np.ascontiguousarray(features, np.float32)  # the same object if it is one already
    return tf.experimental.dlpack.from_dlpack(np.asarray(rows).__dlpack__())


class State(NamedTuple):
    """What training changes: arrays of one head, or tensors stacked over K heads."""

    weights: list[Any]  # trainable
    statistics: list[Any]  # of batch normalization
    optimizer: list[Any]  # its variables, iterations included
    best: list[Any]  # all weights of the best epoch, in the order of get_weights()
    best_value: Any  # by which it was judged; -1 before the first epoch


@functools.lru_cache(maxsize=64)  # 0.5 MB each at a width of 256
def _drawn(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """A kernel as `build_head` draws it; the optimizers of a repeat begin with the same ones."""
    return np.asarray(keras.initializers.GlorotUniform(seed=seed)(shape))


def _light(array: np.ndarray) -> np.ndarray:
    """The same numbers; where they are all the same, bit by bit, a view of one of them."""
    first = array.reshape(-1)[:1]
    same = array.size > 1 and array.tobytes() == first.tobytes() * array.size
    return np.broadcast_to(first[0], array.shape) if same else array


def _stacked(arrays: Sequence[np.ndarray]) -> tf.Tensor:
    """The arrays with one axis more in front."""
    first = arrays[0]
    # nothing but one number that every head begins with
    if first.ndim and not any(first.strides) and all(array is first for array in arrays):
        return tf.fill((len(arrays), *first.shape), first[(0,) * first.ndim])
    stacked = np.stack(arrays)
    return row_tensor(stacked) if stacked.dtype == np.float32 else tf.constant(stacked)


def _same_matrix(one: np.ndarray, other: np.ndarray) -> bool:
    return one.ndim == 2 and np.array_equal(one, other)


class Weight(NamedTuple):
    """A weight of a head, without its numbers."""

    layer: str
    name: str
    shape: tuple[int, ...]
    trainable: bool

    @classmethod
    def of(cls, variable: keras.Variable) -> "Weight":
        """That of a built head's variable."""
        layer, name = variable.path.split("/")[-2:]
        return cls(layer, name, tuple(variable.shape), variable.trainable)


class StateShape:
    """Knows where everything of a padded head and its built optimizer stands in a `State`.

    A study has a layout for each of its programs, so it keeps next to none of their numbers.
    """

    def __init__(self, head: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self.weights = [Weight.of(weight) for weight in head.weights]
        values = [np.asarray(weight) for weight in head.trainable_variables]
        optimizer_values = [np.asarray(variable) for variable in optimizer.variables]
        self._copied = [
            next((i for i, w in enumerate(values) if _same_matrix(w, v)), None)
            for v in optimizer_values
        ]  # for each variable of the optimizer, which weight it starts from: ScheduleFreeAdamW's do
        self._accumulators = [v.name.endswith("accumulator") for v in optimizer.variables]
        best = [np.broadcast_to(np.float32(0), weight.shape) for weight in self.weights]
        self.template = State(
            weights=self.trainable(best),
            statistics=self.statistics(best),
            optimizer=[
                _light(value if copied is None else np.zeros_like(value))
                for value, copied in zip(optimizer_values, self._copied, strict=True)
            ],
            best=best,
            best_value=np.float32(-1.0),
        )

    def trainable(self, values: Sequence[Any]) -> list[Any]:
        """Of `values`, in the order of get_weights(), those that an optimizer changes."""
        return [v for v, weight in zip(values, self.weights, strict=True) if weight.trainable]

    def statistics(self, values: Sequence[Any]) -> list[Any]:
        """Of `values`, in the order of get_weights(), those of batch normalization."""
        return [v for v, weight in zip(values, self.weights, strict=True) if not weight.trainable]

    def in_order(self, weights: Sequence[Any], statistics: Sequence[Any]) -> list[Any]:
        """Trainable weights and batch-norm statistics as get_weights() orders them."""
        trainable, others = iter(weights), iter(statistics)
        return [next(trainable if weight.trainable else others) for weight in self.weights]

    def fresh(self, config: HeadConfig, seed: int) -> Arrays:
        """A head that begins with the weights of `build_head(config, seed=seed)`."""
        values = self._initial_weights(config, seed)
        weights = self.trainable(values)
        state = State(
            weights=weights,
            statistics=self.statistics(values),
            optimizer=self._initial_optimizer(config, weights),
            best=values,
            best_value=np.float32(-1.0),
        )
        return tuple(tf.nest.flatten(state))

    def _initial_weights(self, config: HeadConfig, seed: int) -> list[np.ndarray]:
        seeds = layer_seeds(seed)
        values = []
        for weight in self.weights:
            value = np.zeros(weight.shape, np.float32)
            real = real_part(weight.layer, weight.name, config)
            if weight.name == "kernel":
                value[real] = _drawn(seeds[weight.layer], value[real].shape)
            elif weight.name in ("gamma", "moving_variance"):
                value[real] = 1.0
            values.append(value)
        return values

    def _initial_optimizer(self, config: HeadConfig, weights: list[np.ndarray]) -> list[Any]:
        """What `optimizer.build` leaves, with this head's hyperparameters and weights in it."""
        if config.keras_class in own_optimizers():  # nobody knows what it starts from
            optimizer = make_optimizer(config, learning_rate=0.01)
            optimizer.build([keras.Variable(weight) for weight in weights])
            return [np.asarray(variable) for variable in optimizer.variables]
        accumulator = config.optimizer_hyperparameters.get("initial_accumulator_value")
        found = []
        for start, copied, accumulates in zip(
            self.template.optimizer, self._copied, self._accumulators, strict=True
        ):
            value = start
            if accumulator is not None and accumulates:
                value = np.broadcast_to(start.dtype.type(accumulator), start.shape)
            elif copied is not None:
                value = weights[copied]
            found.append(value)
        return found

    def stack(self, heads: Sequence[Arrays]) -> State:
        """One state of K heads from K states; the same arrays are stacked once."""
        known: dict[tuple[int, ...], tf.Tensor] = {}
        flat = []
        for arrays in zip(*heads, strict=True):
            key = tuple(map(id, arrays))
            if key not in known:
                known[key] = _stacked(arrays)
            flat.append(known[key])
        stacked: State = tf.nest.pack_sequence_as(self.template, flat)
        return stacked

    def best_weights(self, best: Sequence[np.ndarray], config: HeadConfig) -> list[np.ndarray]:
        """The best epoch's weights in the order of `get_weights()`, without the padding; copies."""
        return [
            value[real_part(weight.layer, weight.name, config)].copy()
            for weight, value in zip(self.weights, best, strict=True)
        ]


def taken(stacked: Any, slots: Sequence[int]) -> list[Arrays]:
    """Some heads of K, flattened: views of what is on the host then; copy what you keep.

    Args:
        stacked: a `State`, or a part of one, of K heads; it is copied from a GPU as a whole.
        slots: which heads.
    """
    flat = [np.asarray(tensor) for tensor in tf.nest.flatten(stacked)] if slots else []
    return [tuple(array[slot, ...] for array in flat) for slot in slots]
