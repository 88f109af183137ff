"""Keras's optimizers as pure functions of tensors, so that one program can map them over heads.

Keras has `stateless_apply`, but not with TensorFlow, whose backend routes every assignment through
`tf.distribute`. `stateless_optimizer` puts the backend-neutral methods of `BaseOptimizer` back in
front of those overrides; every update rule stays Keras's own. A `TracedHyperparameter` is a traced
tensor, different for each head, where Keras expects a Python number. Both use internals of Keras
(pinned in pyproject.toml) and are guarded by the parity tests.
"""

import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer


class NotMappableError(TypeError):
    """An optimizer cannot be mapped over heads; the message says why."""


class _Plain(TFOptimizer):
    """Comes before `TFOptimizer` in the order of resolution, and after the optimizer's class."""

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
    """Return the optimizer's class with a `stateless_apply` that works with TensorFlow."""
    return type(keras_class.__name__, (keras_class, _Plain), {})


def _operator(operation: Callable[[Any, Any], Any]) -> Any:
    """Return a method that is exact with plain numbers and float32 with a tensor."""

    def apply(self: "TracedHyperparameter", other: Any) -> Any:
        if isinstance(other, TracedHyperparameter):
            exact, sample = other.exact, other.sample
        elif isinstance(other, int | float):
            exact, sample = float(other), other
        else:
            return operation(tf.cast(self.exact, tf.float32), tf.convert_to_tensor(other))
        return TracedHyperparameter(operation(self.exact, exact), operation(self.sample, sample))

    return apply


def _comparison(operation: Callable[[Any, Any], bool]) -> Any:
    """Return a method that compares the sample; the heads of a program agree in its sign only."""

    def compare(self: "TracedHyperparameter", other: Any) -> bool:
        if other is not None and other != 0:
            raise NotMappableError(f"it compares a hyperparameter with {other!r} in Python")
        return operation(self.sample, other)

    return compare


class TracedHyperparameter:
    """One head's hyperparameter while the program is traced.

    Keras computes `1 - beta_2` in double precision before float32 weights enter, and tests
    `if self.momentum > 0` in Python: `exact` (a float64 scalar tensor) does the first, `sample`
    (a number with the same sign) answers the second.
    """

    def __init__(self, exact: Any, sample: float) -> None:
        self.exact, self.sample = exact, sample

    def __tf_tensor__(self, dtype: Any = None, name: Any = None) -> Any:
        return tf.cast(self.exact, dtype or tf.float32)

    __add__ = _operator(lambda a, b: a + b)
    __radd__ = _operator(lambda a, b: b + a)
    __sub__ = _operator(lambda a, b: a - b)
    __rsub__ = _operator(lambda a, b: b - a)
    __mul__ = _operator(lambda a, b: a * b)
    __rmul__ = _operator(lambda a, b: b * a)
    __truediv__ = _operator(lambda a, b: a / b)
    __rtruediv__ = _operator(lambda a, b: b / a)
    __pow__ = _operator(lambda a, b: a**b)
    __rpow__ = _operator(lambda a, b: b**a)

    def __neg__(self) -> "TracedHyperparameter":
        return TracedHyperparameter(-self.exact, -self.sample)

    def __bool__(self) -> bool:
        return bool(self.sample)

    __eq__ = _comparison(operator.eq)
    __gt__ = _comparison(operator.gt)
    __lt__ = _comparison(operator.lt)
    __ge__ = _comparison(operator.ge)
    __le__ = _comparison(operator.le)
    __hash__ = None  # type: ignore[assignment]
