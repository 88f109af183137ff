"""The state of one head on the host: fresh, stacked for a program, taken out again, unpadded."""

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


def _same_matrix(one: np.ndarray, other: np.ndarray) -> bool:
    return one.ndim == 2 and np.array_equal(one, other)


class Layout:
    """Knows where everything of a padded head and its built optimizer stands in a `State`."""

    def __init__(self, head: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self.head, self.optimizer = head, optimizer
        self.trainable = head.trainable_variables
        self.statistics = [weight for weight in head.weights if not weight.trainable]
        self.template = State(
            weights=[np.asarray(weight) for weight in self.trainable],
            statistics=[np.asarray(weight) for weight in self.statistics],
            optimizer=[np.asarray(variable) for variable in optimizer.variables],
            best=[np.asarray(weight) for weight in head.weights],
            best_value=np.float32(-1.0),
        )
        self._copied = [
            next((i for i, w in enumerate(self.template.weights) if _same_matrix(w, v)), None)
            for v in self.template.optimizer
        ]  # for each variable of the optimizer, which weight it starts from: ScheduleFreeAdamW's do
        self._beginnings: dict[tuple[int, int], tf.Tensor] = {}

    def fresh(self, config: HeadConfig, seed: int) -> Arrays:
        """A head that begins with the weights of `build_head(config, seed=seed)`."""
        values = self._initial_weights(config, seed)
        state = State(
            weights=self.pick(values, self.trainable),
            statistics=self.pick(values, self.statistics),
            optimizer=self._initial_optimizer(config, self.pick(values, self.trainable)),
            best=values,
            best_value=np.float32(-1.0),
        )
        return tuple(tf.nest.flatten(state))

    def pick(self, values: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Of `values`, in the order of get_weights(), those of these variables."""
        by_id = {id(w): value for w, value in zip(self.head.weights, values, strict=True)}
        return [by_id[id(variable)] for variable in variables]

    def in_order(self, weights: Sequence[Any], statistics: Sequence[Any]) -> list[Any]:
        """Trainable weights and batch-norm statistics as get_weights() orders them."""
        variables = [*self.trainable, *self.statistics]
        by_id = {id(v): x for v, x in zip(variables, [*weights, *statistics], strict=True)}
        return [by_id[id(weight)] for weight in self.head.weights]

    def _initial_weights(self, config: HeadConfig, seed: int) -> list[np.ndarray]:
        seeds = layer_seeds(seed)
        values = []
        for weight in self.head.weights:
            layer, name = weight.path.split("/")[-2:]
            value = np.zeros(weight.shape, np.float32)
            real = real_part(layer, name, config)
            if name == "kernel":
                value[real] = _drawn(seeds[layer], value[real].shape)
            elif name in ("gamma", "moving_variance"):
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
        for variable, start, copied in zip(
            self.optimizer.variables, self.template.optimizer, self._copied, strict=True
        ):
            value = start
            if accumulator is not None and variable.name.endswith("accumulator"):
                value = np.full_like(start, accumulator)
            elif copied is not None:
                value = weights[copied]
            found.append(value)
        return found

    def stack(self, heads: Sequence[Arrays]) -> State:
        """One state of K heads from K states; the same arrays are stacked once."""
        known: dict[tuple[int, ...], tf.Tensor] = {}
        flat = []
        for arrays, start in zip(
            zip(*heads, strict=True), tf.nest.flatten(self.template), strict=True
        ):
            if all(array is start for array in arrays):  # nothing but what every head begins with
                flat.append(self._beginning(start, len(heads)))
                continue
            key = tuple(map(id, arrays))
            if key not in known:
                known[key] = tf.constant(np.stack(arrays))
            flat.append(known[key])
        stacked: State = tf.nest.pack_sequence_as(self.template, flat)
        return stacked

    def _beginning(self, start: np.ndarray, size: int) -> tf.Tensor:
        """`start` for `size` heads: made once, since no program changes what it is given."""
        key = (id(start), size)
        if key not in self._beginnings:
            self._beginnings[key] = tf.constant(np.stack([start] * size))
        return self._beginnings[key]

    def take(self, state: State, slots: Sequence[int]) -> list[Arrays]:
        """The states of some heads of K: views of `state`; copy what you keep."""
        if not slots:
            return []
        flat = [np.asarray(tensor) for tensor in tf.nest.flatten(state)]
        return [tuple(array[slot, ...] for array in flat) for slot in slots]

    def best_weights(self, arrays: Arrays, config: HeadConfig) -> list[np.ndarray]:
        """The best epoch's weights in the order of `get_weights()`, without the padding."""
        state: State = tf.nest.pack_sequence_as(self.template, arrays)
        real = []
        for weight, value in zip(self.head.weights, state.best, strict=True):
            layer, name = weight.path.split("/")[-2:]
            real.append(value[real_part(layer, name, config)].copy())
        return real
