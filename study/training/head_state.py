"""The states of heads between the host and a program.

A head's state on the host is a tuple of arrays with padding: made for a new head, stacked into
tensors of K heads for a program, taken out again, and stripped of its padding for the weights that
are kept. Whatever TensorFlow can use in place is not copied.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from jaxtyping import Float, Float32, Shaped

from study.space.head_config import HeadConfig
from study.space.own_optimizers import own_optimizers
from study.training.head import layer_seeds, make_optimizer, real_slices

Arrays = tuple[Shaped[np.ndarray, "..."], ...]  # one head's `State`, flattened, with padding


class State(NamedTuple):
    """What training changes: arrays of one head, or tensors with an axis of K heads first."""

    weights: list[Any]  # trainable
    statistics: list[Any]  # of batch normalization
    optimizer: list[Any]  # variables, iterations included
    best: list[Any]  # all weights of the best epoch, in the order of get_weights()
    best_value: Any  # by which the best epoch was chosen; -1 before the first epoch


class Weight(NamedTuple):
    """A weight of a head, without its numbers."""

    layer: str
    name: str
    shape: tuple[int, ...]
    trainable: bool

    @classmethod
    def of(cls, variable: keras.Variable) -> "Weight":
        """Return the weight of a built head's variable."""
        layer, name = variable.path.split("/")[-2:]
        return cls(layer, name, tuple(variable.shape), variable.trainable)


class StateShape:
    """The contents of the `State` of a padded head and its built optimizer, in order.

    A study holds one per program, so it stores almost none of the arrays' values.
    """

    def __init__(self, head: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self.weights = [Weight.of(weight) for weight in head.weights]
        values = [np.asarray(weight) for weight in head.trainable_variables]
        optimizer_values = [np.asarray(variable) for variable in optimizer.variables]
        self._copied = [
            next((i for i, w in enumerate(values) if w.ndim == 2 and np.array_equal(w, v)), None)
            for v in optimizer_values
        ]  # the weight from which each variable of the optimizer starts, as in ScheduleFreeAdamW
        self._accumulators = [v.name.endswith("accumulator") for v in optimizer.variables]
        best = [np.broadcast_to(np.float32(0), weight.shape) for weight in self.weights]
        self.template = State(
            *self.divided(best),
            optimizer=[
                _light(value if copied is None else np.zeros_like(value))
                for value, copied in zip(optimizer_values, self._copied, strict=True)
            ],
            best=best,
            best_value=np.array(-1, np.float32),
        )

    def divided(self, values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Return trainable weights and statistics of `values`, which are as in get_weights()."""
        found: tuple[list[Any], list[Any]] = ([], [])
        for value, weight in zip(values, self.weights, strict=True):
            found[not weight.trainable].append(value)
        return found

    def in_order(self, weights: Sequence[Any], statistics: Sequence[Any]) -> list[Any]:
        """Return trainable weights and statistics in the order of get_weights()."""
        trainable, others = iter(weights), iter(statistics)
        return [next(trainable if weight.trainable else others) for weight in self.weights]

    def fresh(self, config: HeadConfig, seed: int) -> Arrays:
        """Return the state of a new head, with the weights of `build_head(config, seed=seed)`."""
        values = self._initial_weights(config, seed)
        weights, statistics = self.divided(values)
        optimizer = self._initial_optimizer(config, weights)
        state = State(weights, statistics, optimizer, values, np.array(-1, np.float32))
        return tuple(tf.nest.flatten(state))

    def _initial_weights(self, config: HeadConfig, seed: int) -> list[Float32[np.ndarray, "..."]]:
        seeds = layer_seeds(seed)
        values = []
        for weight in self.weights:
            value = np.zeros(weight.shape, np.float32)
            real = real_slices(weight.layer, weight.name, config)
            if weight.name == "kernel":
                value[real] = _kernel(seeds[weight.layer], value[real].shape)
            elif weight.name in ("gamma", "moving_variance"):
                value[real] = 1.0
            values.append(value)
        return values

    def _initial_optimizer(
        self, config: HeadConfig, weights: list[Float32[np.ndarray, "..."]]
    ) -> list[Shaped[np.ndarray, "..."]]:
        """Return the variables that `optimizer.build` makes for this head."""
        if config.keras_class in own_optimizers():  # its initial values are unknown
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
        """Return one state of K heads from K states; the same arrays are stacked once."""
        known: dict[tuple[int, ...], tf.Tensor] = {}
        flat = []
        for arrays in zip(*heads, strict=True):
            key = tuple(map(id, arrays))
            if key not in known:
                known[key] = _stacked(arrays)
            flat.append(known[key])
        stacked: State = tf.nest.pack_sequence_as(self.template, flat)
        return stacked

    def unpadded(
        self, weights: Sequence[Float32[np.ndarray, "..."]], config: HeadConfig
    ) -> list[Float32[np.ndarray, "..."]]:
        """Return copies of a head's weights, in the order of get_weights(), without padding."""
        return [
            value[real_slices(weight.layer, weight.name, config)].copy()
            for weight, value in zip(self.weights, weights, strict=True)
        ]


def taken(stacked: Any, slots: Sequence[int]) -> list[Arrays]:
    """Return the heads in these slots, flattened, as views: copy what you keep.

    `stacked` is a `State` of K heads, or fields of one; all of it is copied from a GPU.
    """
    flat = [np.asarray(tensor) for tensor in tf.nest.flatten(stacked)] if slots else []
    return [tuple(array[slot, ...] for array in flat) for slot in slots]


def row_tensor(rows: Float[np.ndarray, "..."]) -> tf.Tensor:
    """Return an array as a float32 tensor: on a CPU the same memory, or the same mapped file.

    `tf.convert_to_tensor` would copy it, and read a file that is larger than the memory.
    """
    if tf.config.list_logical_devices("GPU") or not rows.flags.writeable:
        return tf.convert_to_tensor(rows, tf.float32)
    return tf.experimental.dlpack.from_dlpack(np.ascontiguousarray(rows, np.float32).__dlpack__())


def _stacked(arrays: Sequence[Shaped[np.ndarray, "*shape"]]) -> tf.Tensor:
    """Return the arrays with an axis of heads first."""
    first = arrays[0]
    # All heads start with the same array, which repeats one number.
    if first.ndim and not any(first.strides) and all(array is first for array in arrays):
        return tf.fill((len(arrays), *first.shape), first[(0,) * first.ndim])
    stacked = np.stack(arrays)
    return row_tensor(stacked) if stacked.dtype == np.float32 else tf.constant(stacked)


def _light(array: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Return the same numbers; if all are the same, bit by bit, as a view of one of them."""
    first = array.reshape(-1)[:1]
    same = array.size > 1 and array.tobytes() == first.tobytes() * array.size
    return np.broadcast_to(first[0], array.shape) if same else array


@functools.lru_cache(maxsize=64)  # 0.5 MB each at a width of 256
def _kernel(seed: int, shape: tuple[int, int]) -> Float32[np.ndarray, "rows units"]:
    """Return a kernel as `build_head` draws it; the optimizers of a repeat share the first one."""
    return np.asarray(keras.initializers.GlorotUniform(seed=seed)(shape))
