"""Optimizers of Keras: one entry for each class, and their arguments from Keras's signatures."""

import inspect
from typing import Any

from study.space.keys import Key, is_factor, is_number, is_part, is_whole, switch

# Class of keras.optimizers -> whether units of zero weight and zero gradient stay out of its
# results, so that heads of several widths can share a program. Not so: Adafactor (means over a
# variable's elements), Muon (scales by a matrix's shape).
OPTIMIZERS: dict[str, bool] = {
    "Adadelta": True,
    "Adafactor": False,
    "Adagrad": True,
    "Adam": True,
    "Adamax": True,
    "AdamW": True,
    "Ftrl": True,
    "Lamb": True,
    "Lion": True,
    "Muon": False,
    "Nadam": True,
    "RMSprop": True,
    "ScheduleFreeAdamW": True,
    "SGD": True,
}
_LEFT_OUT = {  # arguments of every Keras optimizer that are no hyperparameters of the update rule
    "self", "kwargs", "name", "learning_rate", "loss_scale_factor", "gradient_accumulation_steps",
    "use_ema", "ema_momentum", "ema_overwrite_frequency", "exclude_layers", "exclude_embeddings",
}  # fmt: skip
_AVERAGES = ("rho", "momentum")  # beta_1 and beta_2 too; at 1 nothing new ever comes in
_SIGNED = ("beta_2_decay", "learning_rate_power", "muon_a", "muon_b", "muon_c")
AVERAGE = Key(0.0, is_part, "a number from 0 to below 1")
ONE_MINUS_AVERAGE = Key(0.0, is_factor, "a number above 0, at most 1")


def argument_rule(name: str, keras_default: Any) -> Key:
    """The rule for an optimizer's argument, from its name and the type of its default in Keras."""
    if isinstance(keras_default, bool):
        return switch(keras_default)
    if isinstance(keras_default, int) and name.endswith("steps"):
        return Key(
            keras_default,
            lambda v: is_whole(v) or (is_number(v) and v == 0),
            "a whole number",
            True,
        )
    if isinstance(keras_default, str):
        return Key(keras_default, lambda v: isinstance(v, str), "a text")
    if name in _AVERAGES or name.endswith(("beta_1", "beta_2")):
        return AVERAGE
    if name in _SIGNED:
        return Key(0.0, is_number, "a number")
    return Key(0.0, lambda v: is_number(v) and v >= 0, "a number, at least 0")


def argument_rules(keras_class: str) -> dict[str, Key]:
    """Argument -> rule of a class of `keras.optimizers`, learning_rate left out."""
    arguments = keras_arguments(keras_class)
    del arguments["learning_rate"]
    return {name: argument_rule(name, default) for name, default in arguments.items()}


def keras_arguments(keras_class: str) -> dict[str, Any]:
    """Argument -> default of a class of `keras.optimizers`; learning_rate included."""
    found = {}
    for name, parameter in inspect.signature(keras_optimizers()[keras_class]).parameters.items():
        if name not in _LEFT_OUT or name == "learning_rate":
            found[name] = parameter.default
    return found


def keras_optimizers() -> dict[str, Any]:
    """Name -> class, for those of `OPTIMIZERS` that this Keras has."""
    from keras import optimizers  # heavy: kept out of --help

    return {name: vars(optimizers)[name] for name in OPTIMIZERS if name in vars(optimizers)}
