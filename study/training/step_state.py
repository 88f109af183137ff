"""Whether steps of a user's optimizer depend on more than its variables.

A compiled program repeats what its code did when it was traced. Python state (a counter in an
attribute, a list, a global) would stand still there, also if it begins to matter only later, and
numbers drawn without a seed would be others in every process.
"""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from study.common.errors import UserError
from study.space.head_config import HeadConfig
from study.space.own_optimizers import own_optimizers
from study.training.head import build_head, make_optimizer

RULES = ("update_step", "apply", "apply_gradients", "_backend_update_step")  # one is its own
BEFORE, AFTER = 2, 4  # steps before state is looked at, and after that
DEEPEST = 4  # objects inside objects


def check_steps(config: HeadConfig) -> None:
    """Refuse an optimizer that Keras would not call, or that makes a schedule of its own.

    Raises:
        UserError: it has no rule, or makes a schedule of its own.
    """
    own, name = own_optimizers()[config.keras_class], config.keras_class
    if not any(getattr(own.keras_class, one) is not getattr(Optimizer, one) for one in RULES):
        raise UserError(
            f"`code` {own.file}: {name} has no `update_step(self, gradient, variable, "
            "learning_rate)`, which Keras 3 calls for each variable; write its rule there"
        )
    optimizer = make_optimizer(config, learning_rate=0.01)
    if isinstance(optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        raise UserError(
            f"`code` {own.file}: {name} makes a schedule of its own, but the search tunes them; "
            "pass `learning_rate` on as it is, and choose schedules in the table "
            "[schedules] of the search space"
        )


def hidden_state(config: HeadConfig) -> str:
    """Return what else than variables decides steps of this optimizer, in words; empty: nothing."""
    changed, weights = _stepped(config)
    if changed:
        return (
            f"its steps change {changed[0]}, which a compiled program would not see; keep it in a "
            "variable (`self.add_variable`), or use `self.iterations`"
        )
    if any(not np.array_equal(*pair) for pair in zip(weights, _stepped(config)[1], strict=True)):
        return (
            "its steps draw random numbers without a seed, so its runs are not reproducible; draw "
            "them with a `keras.random.SeedGenerator` that has one"
        )
    return ""


def _stepped(config: HeadConfig) -> tuple[list[str], list[np.ndarray]]:
    """Return what some steps change besides variables, and the weights after them."""
    head = build_head(config, n_features=6, n_classes=3, seed=1)
    optimizer = make_optimizer(config, learning_rate=0.01)
    optimizer.build(head.trainable_variables)
    rng = np.random.default_rng(1)
    before: dict[str, Any] = {}
    for step in range(BEFORE + AFTER):
        if step == BEFORE:
            before = dict(_state(optimizer))
        gradients = [
            tf.constant(rng.normal(size=weight.shape), tf.float32)
            for weight in head.trainable_variables
        ]
        optimizer.apply(gradients)
    after = dict(_state(optimizer))
    changed = [name for name in after if after[name] != before.get(name)]
    return changed, head.get_weights()


def _state(optimizer: Optimizer) -> Iterator[tuple[str, Any]]:
    """Yield (name in words, value) of all Python state that the optimizer's code can reach."""
    for name, value in vars(optimizer).items():
        yield f"its attribute {name}", _value(value)
    for one in type(optimizer).__mro__:
        if one.__module__.split(".")[0] in ("keras", "builtins", "tensorflow"):
            continue
        for name, value in vars(one).items():
            if not name.startswith("__"):
                yield f"the attribute {name} of its class {one.__name__}", _value(value)
        for name, value in _globals_of(one):
            yield f"the global {name}", _value(value)


def _globals_of(one: type) -> Iterator[tuple[str, Any]]:
    functions = [value for value in vars(one).values() if isinstance(value, FunctionType)]
    for function in functions[:1]:
        for name, value in function.__globals__.items():
            if not name.startswith("__"):
                yield name, value


def _value(value: Any, deep: int = DEEPEST) -> Any:
    """Return something that differs if the value does; variables are no Python state."""
    if isinstance(value, keras.Variable | tf.Variable | ModuleType | type | FunctionType):
        return ""
    if isinstance(value, tf.Tensor | np.ndarray):
        return np.asarray(value).tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if value is None or isinstance(value, str | bytes | bool | int | float | complex):
        return repr(value)
    if not deep:
        return ""
    if isinstance(value, Mapping):
        return [(repr(key), _value(one, deep - 1)) for key, one in value.items()]
    if isinstance(value, list | tuple | deque):
        return [_value(one, deep - 1) for one in value]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return _value(vars(value), deep - 1) if hasattr(value, "__dict__") else ""
