"""The check of each kind of key in a search-space file, and its rule in words."""

from collections.abc import Callable
from typing import Any, NamedTuple

from study.common.aliases import Value

LARGEST = 1e30  # numbers beyond it overflow float32 in the arithmetic around them
SMALLEST = 1e-37  # numbers below it, but 0, are 0 in float32
SIZES = f"of a size that float32 has: 0, or {SMALLEST} to {LARGEST}"
MOST_WHOLE = 10**9


class SearchKey(NamedTuple):
    """What one key accepts."""

    default: Value
    check: Callable[[Any], bool]
    rule: str
    integer: bool = False


def is_number(value: Any) -> bool:
    """Return whether a value from a file is a finite number of a sane size, not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return value == 0 or SMALLEST <= abs(value) <= LARGEST  # false for NaN too


def is_whole(value: Any) -> bool:
    """Return whether it is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WHOLE


def is_factor(value: Any) -> bool:
    """Return whether it is a number above 0, at most 1."""
    return is_number(value) and 0 < value <= 1


def is_fraction(value: Any) -> bool:
    """Return whether it is a number from 0 to below 1."""
    return is_number(value) and 0 <= value < 1


NUMBER = SearchKey(0.0, is_number, "a number")


def switch(default: bool) -> SearchKey:
    """Return the rule for true or false."""
    return SearchKey(default, lambda value: isinstance(value, bool), "true or false")


def whole(default: int, unit: str, most: int = MOST_WHOLE) -> SearchKey:
    """Return the rule for a whole number of `unit`, 1 to `most`."""
    rule = f"1 to {most:,}" if most < MOST_WHOLE else "at least 1"
    return SearchKey(
        default,
        lambda value: is_whole(value) and value <= most,
        f"a whole number of {unit}, {rule}",
        integer=True,
    )
