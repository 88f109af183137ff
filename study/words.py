"""The words of a search space: what every key accepts, and what an optimizer of Keras takes.

The tables here are the one place to look up a key; `study/grammar.py` reads files with them.
Optimizers and their arguments come from the signatures of `keras.optimizers`.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

Value = bool | int | float | str

LARGEST = 1e30  # numbers beyond it overflow float32 in the arithmetic around them
MOST_WHOLE = 10**9
WIDEST = 65_536  # units of the dense layer
MOST_DROPS = 100
GRID_SAMPLES = 11  # points that Keras Tuner's grid takes from a range: ten and the default


class Domain(NamedTuple):
    """The values one hyperparameter may take."""

    choices: tuple[Value, ...] = ()  # one: fixed; several: a set; none: a range
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    default: Value | None = None  # as the file gives it

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to tune."""
        return len(self.choices) == 1

    @property
    def points(self) -> float:
        """How many distinct values there are; infinite for a range of real numbers."""
        if self.choices:
            return len(self.choices)
        return self.high - self.low + 1 if self.integer else math.inf

    def first(self) -> Value:
        """The default if the file gives one, else the first choice or the middle of the range."""
        if self.default is not None:
            return self.default
        if self.choices:
            return self.choices[0]
        low, high = self.low, self.high
        middle = math.sqrt(low) * math.sqrt(high) if self.log else (low + high) / 2
        middle = min(max(middle, low), high)  # rounding may leave a narrow range
        return round(middle) if self.integer else middle


class OptimizerSpace(NamedTuple):
    """One `[optimizers.NAME]` table."""

    keras_class: str
    learning_rate: Domain
    knobs: dict[str, Domain]  # keyed as in the file, one_minus_ included
    schedules: tuple[str, ...]  # those it is combined with
    restricted: bool  # it names its schedules itself, so its schedule has a name of its own


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
_NOT_KNOBS = {  # arguments of every Keras optimizer that are no hyperparameters of the update rule
    "self", "kwargs", "name", "learning_rate", "loss_scale_factor", "gradient_accumulation_steps",
    "use_ema", "ema_momentum", "ema_overwrite_frequency", "exclude_layers", "exclude_embeddings",
}  # fmt: skip


_PARTS = ("rho", "momentum", "beta")  # averages; beta_1 and beta_2 too
_SIGNED = ("beta_2_decay", "learning_rate_power", "muon_a", "muon_b", "muon_c")


def knob_rule(name: str, keras_default: Any) -> Key:
    """The rule for an optimizer's argument, from its name and the type of its default in Keras."""
    if isinstance(keras_default, bool):
        return Key(keras_default, *_BOOL)
    if isinstance(keras_default, int) and name.endswith("steps"):
        return Key(
            keras_default, lambda v: _whole(v) or (is_number(v) and v == 0), "a whole number", True
        )
    if isinstance(keras_default, str):
        return Key(keras_default, lambda v: isinstance(v, str), "a text")
    if name in _PARTS or name.endswith(("beta_1", "beta_2")):
        return Key(0.0, lambda v: is_number(v) and 0 <= v <= 1, "a number from 0 to 1")
    if name in _SIGNED:
        return Key(0.0, is_number, "a number")
    return Key(0.0, lambda v: is_number(v) and v >= 0, "a number, at least 0")


def keras_arguments(keras_class: str) -> dict[str, Any]:
    """Argument -> default of a class of `keras.optimizers`; learning_rate included."""
    found = {}
    for name, parameter in inspect.signature(keras_optimizers()[keras_class]).parameters.items():
        if name not in _NOT_KNOBS or name == "learning_rate":
            found[name] = parameter.default
    return found


def keras_optimizers() -> dict[str, Any]:
    """Name -> class, for every optimizer of `keras.optimizers` that can train a head."""
    from keras import optimizers  # heavy: kept out of --help

    left_out = ("Optimizer", "LossScaleOptimizer")  # the base class and a wrapper
    return {
        name: value
        for name, value in vars(optimizers).items()
        if inspect.isclass(value)
        and issubclass(value, optimizers.Optimizer)
        and name not in left_out
        and "learning_rate" in inspect.signature(value).parameters  # not so: MultiOptimizer
    }
