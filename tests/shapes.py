"""Checks the shapes that annotations name while tests run with `--shapes`, and no other type.

`jaxtyping`'s import hook hands every function and dataclass of `study` to `check_shapes`; beartype
does the checking. mypy sees all other types before any test runs.
"""

import typing
from types import FunctionType
from typing import Any

from beartype import beartype
from jaxtyping import AbstractArray


def check_shapes(checked: Any) -> Any:
    """Return a function that checks the shapes of its arrays; anything else as it is."""
    if not isinstance(checked, FunctionType):
        return checked
    hints = {name: hint for name, hint in checked.__annotations__.items() if _has_shape(hint)}
    if not hints:
        return checked
    checked.__annotations__ = hints
    return beartype(checked)


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_has_shape(part) for part in typing.get_args(hint))
