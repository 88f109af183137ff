"""The Python state that an optimizer's code can reach, as plain values that can be compared."""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import CellType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.optimizers import Optimizer

from study.space.own_optimizers import own_modules

MOST_VALUES = 100_000  # of one attribute or global
LIBRARIES = ("keras", "tensorflow", "study")  # hold none of the user's


def reachable_state(optimizer: Optimizer) -> dict[str, list[Any]]:
    """Return name in words -> values; variables are no Python state."""
    found: dict[str, Any] = {f"its attribute {name}": one for name, one in vars(optimizer).items()}
    outside: dict[str, Any] = {}
    own = own_modules()
    for one in type(optimizer).__mro__:
        if _library_of(one) in (*LIBRARIES, "builtins"):
            continue
        own.add(one.__module__)
        for name, value in vars(one).items():
            if isinstance(value, FunctionType):
                found[f"what the method {one.__name__}.{name} keeps"] = value
                outside |= value.__globals__
            elif not name.startswith("__"):
                found[f"the attribute {name} of its class {one.__name__}"] = value
    found |= {f"the global {name}": value for name, value in outside.items()}
    state = {name: _values(value, own) for name, value in found.items()}
    state["Python's random numbers"] = [random.getstate()]
    state["NumPy's random numbers"] = [repr(np.random.get_state())]
    return state


def _values(value: Any, own: set[str]) -> list[Any]:
    """Return all plain values inside a value, in the order in which they are reached."""
    values: list[Any] = []
    seen: dict[int, Any] = {}  # keeps what it has seen, so that no id is used again
    todo = [value]
    while todo and len(seen) + len(values) < MOST_VALUES:
        one = todo.pop()
        if one is None or isinstance(one, str | bytes | bool | int | float | complex):
            values.append(repr(one))
        elif isinstance(one, tf.Tensor | np.ndarray):
            values.append(np.asarray(one).tobytes())
        elif id(one) not in seen:
            seen[id(one)] = one
            todo.extend(_inside(one, own))
    return values


def _inside(value: Any, own: set[str]) -> Iterator[Any]:
    """Yield what a container, a function of the user's or any object holds."""
    if isinstance(value, keras.Variable | tf.Variable):
        return
    if isinstance(value, Mapping):
        yield from map(repr, value)
        yield from value.values()
    elif isinstance(value, list | tuple | deque):
        yield from value
    elif isinstance(value, set | frozenset):
        yield from sorted(map(repr, value))
    elif isinstance(value, CellType):
        with suppress(ValueError):  # it is empty
            yield value.cell_contents
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, GeneratorType):
        yield from (value.gi_frame.f_lasti, value.gi_frame.f_locals) if value.gi_frame else ()
    elif isinstance(value, FunctionType):
        if value.__module__ in own:
            cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
            yield from (cell for name, cell in cells if name != "__class__")  # as of super()
            yield from (value.__defaults__, value.__kwdefaults__, vars(value))
    elif isinstance(value, type | ModuleType):
        name = value.__module__ if isinstance(value, type) else value.__name__
        yield from vars(value).values() if name in own else ()
    elif isinstance(value, Optimizer):
        yield vars(value)
    elif not {*LIBRARIES} & {*map(_library_of, type(value).__mro__)}:
        with suppress(Exception):  # a lock or a file refuses
            yield value.__reduce_ex__(4)  # what `pickle` would keep


def _library_of(one: type) -> str:
    return one.__module__.partition(".")[0]
