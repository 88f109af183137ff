"""The words of a search space: what every key accepts, and what an optimizer of Keras takes.

The tables here are the one place to look up a key; `study/grammar.py` reads files with them.
Optimizers and their arguments come from the signatures of `keras.optimizers`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from study.common.aliases import Value

LARGEST = 1e30  # numbers beyond it overflow float32 in the arithmetic around them
MOST_WHOLE = 10**9
WIDEST = 65_536  # units of the dense layer
MOST_DROPS = 100
GRID_SAMPLES = 11  # points that Keras Tuner's grid takes from a range: ten and the default


class Key(NamedTuple):
    """What one key accepts."""

    default: Value
    check: Callable[[Any], bool]
    rule: str
    integer: bool = False


def is_number(value: Any) -> bool:
    """Whether a value from a file is a finite number of a sane size, and not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -LARGEST <= value <= LARGEST  # false for NaN too


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WHOLE


def _factor(value: Any) -> bool:
    return is_number(value) and 0 < value <= 1


_BOOL = (lambda value: isinstance(value, bool), "true or false")
ACTIVATIONS = ("relu", "elu", "gelu", "leaky_relu", "selu", "silu", "softplus", "tanh", "sigmoid")
HEAD: dict[str, Key] = {  # defaults: the blog post's head
    "dense_width": Key(
        170,
        lambda v: _whole(v) and v <= WIDEST,
        f"a whole number of units, 1 to {WIDEST:,}",
        True,
    ),
    "dropout": Key(0.5, lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1"),
    "activation": Key("relu", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "batch_norm": Key(True, *_BOOL),
    "batch_size": Key(
        16, lambda v: v == "full" or _whole(v), 'a whole number of rows, or "full"', True
    ),
    "normalize": Key(False, *_BOOL),
}
_FINAL = Key(0.01, _factor, "a number above 0, at most 1")
_WARMUP = Key(0.0, lambda v: is_number(v) and 0 <= v < 1, "a part of the run from 0 to below 1")
SCHEDULES: dict[str, dict[str, Key]] = {
    "constant": {"warmup": _WARMUP},
    "exponential": {
        "final_factor": _FINAL,
        "staircase": Key(False, *_BOOL),
        "decay_steps": Key(0, _whole, "a whole number of steps, at least 1", True),
        "decay_rate": Key(0.0, _factor, "a number above 0, at most 1"),
        "warmup": _WARMUP,
    },
    "cosine": {"final_factor": _FINAL, "warmup": _WARMUP},
    "linear": {"final_factor": _FINAL, "warmup": _WARMUP},
    "polynomial": {
        "final_factor": _FINAL,
        "power": Key(2.0, lambda v: is_number(v) and v > 0, "a number above 0"),
        "warmup": _WARMUP,
    },
    "inverse_time": {"final_factor": _FINAL, "warmup": _WARMUP},
    "steps": {
        "final_factor": _FINAL,
        "drops": Key(
            2,
            lambda v: _whole(v) and v <= MOST_DROPS,
            f"a whole number of drops, 1 to {MOST_DROPS}",
            True,
        ),
        "warmup": _WARMUP,
    },
}
BY_STEPS = {"decay_steps", "decay_rate"}  # the other way to give an exponential decay
LEARNING_RATE = Key(0.0, lambda v: is_number(v) and v > 0, "a number above 0")
