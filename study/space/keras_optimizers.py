"""Optimizers of Keras and their arguments, from the signatures of `keras.optimizers`."""

import inspect
from typing import Any

from study.space.schema import _BOOL, Key, _whole, is_number

_LEFT_OUT = {  # arguments of every Keras optimizer that are no hyperparameters of the update rule
    "self", "kwargs", "name", "learning_rate", "loss_scale_factor", "gradient_accumulation_steps",
    "use_ema", "ema_momentum", "ema_overwrite_frequency", "exclude_layers", "exclude_embeddings",
}  # fmt: skip
_PARTS = ("rho", "momentum", "beta")  # averages; beta_1 and beta_2 too
_SIGNED = ("beta_2_decay", "learning_rate_power", "muon_a", "muon_b", "muon_c")


def argument_rule(name: str, keras_default: Any) -> Key:
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
        if name not in _LEFT_OUT or name == "learning_rate":
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
