"""Optimizers by class name, Keras's and the user's own, and the rules for their arguments.

What a class accepts is read from its signature.
"""

import inspect
from typing import Any

from study.common.text import printable
from study.space.keys import (
    MOST_WHOLE,
    NUMBER,
    SearchKey,
    is_factor,
    is_fraction,
    is_number,
    switch,
)
from study.space.own_optimizers import own_optimizers

OPTIMIZERS = (  # classes of keras.optimizers
    "Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "Ftrl", "Lamb", "Lion", "Muon",
    "Nadam", "RMSprop", "ScheduleFreeAdamW", "SGD",
)  # fmt: skip
# Units of zero weight and zero gradient stay out of the results of the others, so that heads of
# several widths can share a program. Adafactor takes means over a variable's elements, Muon scales
# by a matrix's shape.
NOT_PADDED = ("Adafactor", "Muon")
_AVERAGED_WEIGHTS = (
    "averaged weights reach the head only where Keras copies them, so no epoch could be judged"
)
REFUSED = {  # arguments of every Keras optimizer that are not hyperparameters here, and why
    "loss_scale_factor": "it is for float16, and heads train in float32",
    "gradient_accumulation_steps": "choose a larger batch_size in [head] instead",
    "use_ema": _AVERAGED_WEIGHTS,
    "ema_momentum": _AVERAGED_WEIGHTS,
    "ema_overwrite_frequency": _AVERAGED_WEIGHTS,
    "exclude_from_weight_decay": "it is a method of Keras's; all weights of the head are decayed",
    "exclude_layers": "all layers of a head are trained in the same way",
    "exclude_embeddings": "a head has no embeddings",
}
_LEFT_OUT = ("self", "name", *REFUSED)
AVERAGE = SearchKey(0.0, is_fraction, "a number from 0 to below 1")  # at 1 nothing new is added
ONE_MINUS_AVERAGE = SearchKey(
    0.0,
    lambda v: is_factor(v) and 1 - v < 1,
    "a number above 0, at most 1 (1 minus it must differ from 1)",
)
LEARNING_RATE = SearchKey(0.0, lambda v: is_number(v) and v > 0, "a number above 0")
NOT_NEGATIVE = SearchKey(0.0, lambda v: is_number(v) and v >= 0, "a number, at least 0")
# Arguments whose default's type says too little: by name, else by how the name ends.
ARGUMENTS = {
    **dict.fromkeys(("rho", "momentum"), AVERAGE),
    **dict.fromkeys(("beta_2_decay", "learning_rate_power", "muon_a", "muon_b", "muon_c"), NUMBER),
}
ENDINGS = {"beta_1": AVERAGE, "beta_2": AVERAGE}  # adam_beta_1, or a user's slow_beta_1


def argument_rules(keras_class: str) -> dict[str, SearchKey]:
    """Return argument -> rule of an optimizer's class, without learning_rate."""
    own = keras_class in own_optimizers()
    found = _parameters(keras_class)
    return {name: _rule(one, own=own) for name, one in found.items() if name != "learning_rate"}


def _rule(argument: inspect.Parameter, *, own: bool) -> SearchKey:
    """Return an argument's rule: from the tables, else from its default's type.

    Numbers of a user's `own` class may be negative: it checks its arguments itself.
    """
    name, default = argument.name, _default(argument)
    if isinstance(default, bool):
        return switch(default)
    if isinstance(default, int) and name.endswith("steps"):
        return SearchKey(
            default, lambda v: _is_integer(v) and v >= 0, "a whole number, at least 0", True
        )
    if isinstance(default, str):
        return SearchKey(default, lambda v: isinstance(v, str) and printable(v) == v, "plain text")
    known = ARGUMENTS.get(name) or ENDINGS.get(name[-len("beta_1") :])
    if known is not None:
        return known
    if own and (argument.annotation in (int, "int") or (isinstance(default, int) and default > 1)):
        return SearchKey(0, _is_integer, "a whole number", True)
    return NUMBER if own else NOT_NEGATIVE


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST_WHOLE


def keras_arguments(keras_class: str) -> dict[str, Any]:
    """Return argument -> default of an optimizer's class; None where there is none."""
    return {name: _default(one) for name, one in _parameters(keras_class).items()}


def required_arguments(keras_class: str) -> set[str]:
    """Return the arguments of an optimizer's class without a default, except learning_rate."""
    found = _parameters(keras_class)
    return {name for name, one in found.items() if one.default is one.empty} - {"learning_rate"}


def _default(argument: inspect.Parameter) -> Any:
    return None if argument.default is argument.empty else argument.default


def _parameters(keras_class: str) -> dict[str, inspect.Parameter]:
    """Return the arguments that a search space may give; behind **kwargs also the parents'."""
    found: dict[str, inspect.Parameter] = {}
    for base in optimizer_class(keras_class).__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        found |= {name: one for name, one in parameters.items() if name not in found}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    return {
        name: one
        for name, one in found.items()
        if name not in _LEFT_OUT and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }


def optimizer_class(name: str) -> Any:
    """Return the class of this name, Keras's or the user's; a `ValueError` if there is none."""
    found = known_optimizers()
    if name not in found:
        raise ValueError(f"there is no optimizer class {name}")
    return found[name]


def known_optimizers() -> dict[str, Any]:
    """Return name -> class of all that a search space may give as `class`."""
    return keras_optimizers() | {name: own.keras_class for name, own in own_optimizers().items()}


def keras_optimizers() -> dict[str, Any]:
    """Return name -> class of those in `OPTIMIZERS` that this Keras has."""
    from keras import optimizers  # heavy: kept out of --help

    return {name: vars(optimizers)[name] for name in OPTIMIZERS if name in vars(optimizers)}
