"""Keras's optimizers as pure functions of tensors, so that one program can map them over heads.

Keras has `stateless_apply`, but its TensorFlow backend refuses it: that backend routes every
assignment through `tf.distribute`. `stateless_optimizer` puts the backend-neutral methods of
`BaseOptimizer` back in front of those overrides; every update rule stays Keras's own.
`TracedHyperparameter` lets what Keras reads as a Python number be a traced tensor instead, another
one for each head. Both reach into Keras (pinned in pyproject.toml) and are guarded by the parity
tests.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer


class NotMappableError(TypeError):
    """An optimizer that heads cannot be mapped over; the message says what it does."""


class _Plain(TFOptimizer):
    """Stands before `TFOptimizer` in the order of resolution, and after the optimizer's class."""

    _var_key = BaseOptimizer._var_key
    assign = BaseOptimizer.assign
    assign_add = BaseOptimizer.assign_add
    assign_sub = BaseOptimizer.assign_sub
    stateless_apply = BaseOptimizer.stateless_apply
    _apply_weight_decay = BaseOptimizer._apply_weight_decay
    _backend_apply_gradients = BaseOptimizer._backend_apply_gradients
    _backend_update_step = BaseOptimizer._backend_update_step


@cache
def stateless_optimizer(keras_class: type) -> type[keras.optimizers.Optimizer]:
    """The optimizer's class with a `stateless_apply` that works behind TensorFlow."""
    return type(keras_class.__name__, (keras_class, _Plain), {})


def _float32(value: Any) -> Any:
    return tf.cast(value.exact, tf.float32) if isinstance(value, TracedHyperparameter) else value


def _operator(operation: Callable[[Any, Any], Any], *, swapped: bool = False) -> Any:
    """Like Python's floats: exact with plain numbers, float32 where a tensor comes in."""

    def apply(self: "TracedHyperparameter", other: Any) -> Any:
        if isinstance(other, int | float | TracedHyperparameter):
            pair = (
                self.exact,
                other.exact if isinstance(other, TracedHyperparameter) else float(other),
            )
            samples = (
                self.sample,
                other.sample if isinstance(other, TracedHyperparameter) else other,
            )
            if swapped:
                pair, samples = pair[::-1], samples[::-1]
            return TracedHyperparameter(operation(*pair), operation(*samples))
        pair = (_float32(self), tf.convert_to_tensor(other))
        return operation(*(pair[::-1] if swapped else pair))

    return apply


class TracedHyperparameter:
    """One head's hyperparameter while the program is traced.

    Keras computes `1 - beta_2` in double precision before it meets float32 weights, and tests
    `if self.momentum > 0` in Python: `exact` (a float64 scalar tensor) does the first, `sample`
    (a number of the same sign) answers the second.
    """

    def __init__(self, exact: Any, sample: float) -> None:
        self.exact, self.sample = exact, sample

    def __tf_tensor__(self, dtype: Any = None, name: Any = None) -> Any:
        return tf.cast(self.exact, dtype or tf.float32)

    __add__ = _operator(lambda a, b: a + b)
    __radd__ = _operator(lambda a, b: a + b, swapped=True)
    __sub__ = _operator(lambda a, b: a - b)
    __rsub__ = _operator(lambda a, b: a - b, swapped=True)
    __mul__ = _operator(lambda a, b: a * b)
    __rmul__ = _operator(lambda a, b: a * b, swapped=True)
    __truediv__ = _operator(lambda a, b: a / b)
    __rtruediv__ = _operator(lambda a, b: a / b, swapped=True)
    __pow__ = _operator(lambda a, b: a**b)
    __rpow__ = _operator(lambda a, b: a**b, swapped=True)

    def __neg__(self) -> "TracedHyperparameter":
        return TracedHyperparameter(-self.exact, -self.sample)

    def __bool__(self) -> bool:
        return bool(self.sample)

    def _compared(self, other: object) -> float:
        """The sample; heads of one program agree in its sign, and in nothing else."""
        if other is not None and other != 0:
            raise NotMappableError(f"it compares a hyperparameter with {other!r} in Python")
        return self.sample

    def __eq__(self, other: object) -> bool:
        return self._compared(other) == other

    def __gt__(self, other: float) -> bool:
        return self._compared(other) > other

    def __lt__(self, other: float) -> bool:
        return self._compared(other) < other

    def __ge__(self, other: float) -> bool:
        return self._compared(other) >= other

    def __le__(self, other: float) -> bool:
        return self._compared(other) <= other

    __hash__ = None  # type: ignore[assignment]
