"""Optimizers by class name: Keras's, one entry for each, and the user's own.

What a class may be given is read from its signature.
"""

import inspect
from typing import Any

from study.space.keys import MOST_WHOLE, SearchKey, is_factor, is_number, is_part, is_whole, switch
from study.space.own_optimizers import own_optimizers

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
_LEFT_OUT = ("self", "args", "kwargs", "name", "learning_rate")
_AVERAGED_WEIGHTS = (
    "averaged weights reach the head only where Keras copies them, so no epoch could be judged"
)
REFUSED = {  # arguments of every Keras optimizer that are no hyperparameters here, and why
    "loss_scale_factor": "it is for float16, and heads train in float32",
    "gradient_accumulation_steps": "choose a larger batch_size in [head] instead",
    "use_ema": _AVERAGED_WEIGHTS,
    "ema_momentum": _AVERAGED_WEIGHTS,
    "ema_overwrite_frequency": _AVERAGED_WEIGHTS,
    "exclude_from_weight_decay": "it is a method of Keras's; all weights of the head are decayed",
    "exclude_layers": "a head's layers are all trained alike",
    "exclude_embeddings": "a head has no embeddings",
}
AVERAGE = SearchKey(0.0, is_part, "a number from 0 to below 1")  # at 1 nothing new ever comes in
ONE_MINUS_AVERAGE = SearchKey(0.0, is_factor, "a number above 0, at most 1")
NUMBER = SearchKey(0.0, is_number, "a number")
NOT_NEGATIVE = SearchKey(0.0, lambda v: is_number(v) and v >= 0, "a number, at least 0")
ARGUMENTS = {  # that are something else than their default's type says
    **dict.fromkeys(("beta_1", "beta_2", "adam_beta_1", "adam_beta_2", "rho", "momentum"), AVERAGE),
    **dict.fromkeys(("beta_2_decay", "learning_rate_power", "muon_a", "muon_b", "muon_c"), NUMBER),
}
STEPS = ("ns_steps", "warmup_steps")  # whole numbers from 0


def argument_rule(
    name: str, default: Any, *, own: bool = False, annotation: Any = None
) -> SearchKey:
    """Return the rule for an optimizer's argument: from the table, else from its default's type.

    Args:
        name: of the argument.
        default: as the signature has it; None if it has none.
        own: an argument of a user's class, which knows itself what it takes.
        annotation: in the signature.
    """
    if isinstance(default, bool):
        return switch(default)
    if isinstance(default, int) and name in STEPS:
        return SearchKey(
            default, lambda v: is_whole(v) or (is_number(v) and v == 0), "a whole number", True
        )
    if isinstance(default, str):
        return SearchKey(default, lambda v: isinstance(v, str), "a text")
    if name in ARGUMENTS:
        return ARGUMENTS[name]
    if own and (annotation in (int, "int") or (isinstance(default, int) and default > 1)):
        return SearchKey(0, _is_integer, "a whole number", True)
    return NUMBER if own else NOT_NEGATIVE


def _is_count(value: Any) -> bool:
    return is_whole(value) or (is_number(value) and value == 0)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST_WHOLE


def argument_rules(keras_class: str) -> dict[str, SearchKey]:
    """Argument -> rule of an optimizer's class, learning_rate left out."""
    own = keras_class in own_optimizers()
    return {
        name: argument_rule(name, _default(found), own=own, annotation=found.annotation)
        for name, found in _parameters(optimizer_class(keras_class)).items()
        if name not in _LEFT_OUT and name not in REFUSED
    }


def keras_arguments(keras_class: str) -> dict[str, Any]:
    """Argument -> default of an optimizer's class, None without one; learning_rate included."""
    return {
        name: _default(found)
        for name, found in _parameters(optimizer_class(keras_class)).items()
        if name == "learning_rate" or (name not in _LEFT_OUT and name not in REFUSED)
    }


def required_arguments(keras_class: str) -> set[str]:
    """Arguments of an optimizer's class that have no default; learning_rate left out."""
    return {
        name
        for name, found in _parameters(optimizer_class(keras_class)).items()
        if found.default is found.empty and found.kind is found.POSITIONAL_OR_KEYWORD
    } - set(_LEFT_OUT)


def _default(parameter: inspect.Parameter) -> Any:
    return None if parameter.default is inspect.Parameter.empty else parameter.default


def _parameters(keras_class: type) -> dict[str, inspect.Parameter]:
    """What `__init__` takes; behind **kwargs also what those of the classes above it take."""
    found: dict[str, inspect.Parameter] = {}
    for base in keras_class.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        found |= {name: one for name, one in parameters.items() if name not in found}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            break
    return found


def optimizer_class(name: str) -> Any:
    """The class of this name, Keras's or the user's.

    Raises:
        ValueError: there is none.
    """
    found = known_optimizers()
    if name not in found:
        raise ValueError(f"there is no optimizer class {name}")
    return found[name]


def known_optimizers() -> dict[str, Any]:
    """Name -> class of all that may stand as `class` in a search space."""
    return keras_optimizers() | {name: own.keras_class for name, own in own_optimizers().items()}


def keras_optimizers() -> dict[str, Any]:
    """Name -> class, for those of `OPTIMIZERS` that this Keras has."""
    from keras import optimizers  # heavy: kept out of --help

    return {name: vars(optimizers)[name] for name in OPTIMIZERS if name in vars(optimizers)}
