"""One value of a search-space file comes in, a checked `Domain` goes out.

Whatever is wrong is refused with the file, the key, the value received and what would be valid.
"""

import re
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from study.common.aliases import Value
from study.common.errors import UserError
from study.common.text import near
from study.space.domains import Domain
from study.space.keys import SearchKey, is_number

_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = 8
_SHORT.maxlevel = 3


class ValueReader:
    """Reads the values of one file; it exists so that every sentence can name the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def domain(self, where: str, value: Any, spec: SearchKey) -> Domain:
        """A fixed value, `{choices = [...]}` or `{min, max, scale}`, each with a default."""
        if not isinstance(value, dict):
            return Domain(choices=(self._value(where, value, spec),))
        if "choices" in value:
            self.known(f"{where}.", value, ("choices", "default"))
            return self._choices(where, value, spec)
        self.known(f"{where}.", value, ("min", "max", "scale", "default"))
        return self._range(where, value, spec)

    def _choices(self, where: str, table: dict[str, Any], spec: SearchKey) -> Domain:
        choices = table["choices"]
        if not isinstance(choices, list) or not choices:
            raise self.error(
                f"{where}.choices",
                f"received {shown(choices)}, but needs a list of at least one value",
            )
        values = tuple(self._value(f"{where}.choices", value, spec) for value in choices)
        if len({(type(value), value) for value in values}) < len(values):
            raise self.error(
                f"{where}.choices", f"received {shown(choices)}, but a value stands twice"
            )
        default = table.get("default")
        if default is not None:
            default = self._value(f"{where}.default", default, spec)
            if default not in values:
                raise self.error(
                    f"{where}.default", f"received {default!r}, not one of {shown(choices)}"
                )
        return Domain(choices=values, default=default)

    def _range(self, where: str, table: dict[str, Any], spec: SearchKey) -> Domain:
        for key in ("min", "max"):
            if key not in table:
                raise self.error(f"{where}.{key}", "missing; a range is {min = .., max = ..}")
            if not is_number(table[key]):
                raise self.error(
                    f"{where}.{key}", f"received {shown(table[key])}, but needs a number"
                )
            self._value(f"{where}.{key}", table[key], spec)
        low, high = table["min"], table["max"]
        if low >= high:
            raise self.error(where, f"min must be below max, but received {low!r} and {high!r}")
        scale = table.get("scale", "linear")
        if scale not in ("linear", "log"):
            raise self.error(f"{where}.scale", f"received {shown(scale)}; valid: linear, log")
        if scale == "log" and low <= 0:
            raise self.error(f"{where}.min", f"received {low!r}, but a log scale needs min above 0")
        default = table.get("default")
        if default is not None:
            default = self._value(f"{where}.default", default, spec)
            if not (is_number(default) and low <= default <= high):
                raise self.error(
                    f"{where}.default", f"received {default!r}, but needs {low} to {high}"
                )
        if spec.integer:
            return Domain((), low, high, scale == "log", True, default)
        return Domain((), float(low), float(high), scale == "log", False, default)

    def _value(self, where: str, value: Any, spec: SearchKey) -> Value:
        if not spec.check(value):
            raise self.error(where, f"received {shown(value)}, but needs {spec.rule}")
        checked: Value = value
        return float(checked) if is_number(value) and not spec.integer else checked

    def table(self, where: str, value: Any) -> dict[str, Any]:
        """A value that has to be a table."""
        if not isinstance(value, dict):
            raise self.error(where, f"received {shown(value)}, but needs a table")
        return value

    def known(self, prefix: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse a table with other keys."""
        for key in table:
            if key not in known:
                where = f"{prefix}{key if _BARE.fullmatch(key) else shown(key)}"
                raise self.error(where, f"unknown key{near(key, known)}; valid: {', '.join(known)}")

    def error(self, where: str, what: str) -> UserError:
        """The sentence that names file and key."""
        return UserError(f"{self.path}: {where}: {what}")


def shown(value: Any) -> str:
    """A value as a sentence shows it: short, whatever its length, depth or digits."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python prints no number of thousands of digits
        return "a number of thousands of digits"
