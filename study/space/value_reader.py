"""One value of a search-space file comes in, a checked `Domain` goes out.

A wrong value is refused with the file, the key, the value received and what would be valid.
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
from study.space.keys import NUMBER, SIZES, SearchKey, is_number

_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")
_LOOKS = re.compile("plateau|early_?stop|patience")
LOOKS_AT_VALIDATION = (
    "it looks at validation images, which also judge the run, so it would need a third set of "
    "images; choose among the schedules, whose rates depend on the step alone (the best epoch of a "
    "run is found without stopping early)"
)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = 8
_SHORT.maxlevel = 3


class ValueReader:
    """Reads the values of one file, which every error names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def domain(self, where: str, value: Any, spec: SearchKey) -> Domain:
        """Return a fixed value, `{choices = [...]}` or `{min, max, scale}` as a domain."""
        if not isinstance(value, dict):
            return Domain(choices=(self._value(where, value, spec),))
        if "choices" in value:
            self.known(f"{where}.", value, ("choices", "default"))
            return self._choices(where, value, spec)
        self.known(f"{where}.", value, ("min", "max", "scale", "default"))
        return self._range(where, value, spec)

    def _choices(self, where: str, table: dict[str, Any], spec: SearchKey) -> Domain:
        choices, key = table["choices"], f"{where}.choices"
        if not isinstance(choices, list) or not choices:
            rule = "a list of at least one value"
            raise self.error(key, f"received {shown(choices)}, but needs {rule}")
        values = tuple(self._value(key, value, spec) for value in choices)
        if len({(type(value), value) for value in values}) < len(values):
            raise self.error(key, f"received {shown(choices)}, but a value is listed twice")
        inside = SearchKey(0, lambda value: value in values, f"one of {shown(choices)}", True)
        return Domain(choices=values, default=self._default(where, table, spec, inside))

    def _range(self, where: str, table: dict[str, Any], spec: SearchKey) -> Domain:
        for key in ("min", "max"):
            if key not in table:
                raise self.error(f"{where}.{key}", "missing; a range is {min = .., max = ..}")
            self._value(f"{where}.{key}", table[key], NUMBER)
            self._value(f"{where}.{key}", table[key], spec)
        low, high = table["min"], table["max"]
        if low >= high:
            raise self.error(where, f"min must be below max, but received {low!r} and {high!r}")
        scale = table.get("scale", "linear")
        if scale not in ("linear", "log"):
            raise self.error(f"{where}.scale", f"received {shown(scale)}; valid: linear, log")
        if scale == "log" and low <= 0:
            raise self.error(f"{where}.min", f"received {low!r}, but a log scale needs min above 0")
        inside = SearchKey(
            0, lambda v: is_number(v) and low <= v <= high, f"a number from {low} to {high}", True
        )
        default = self._default(where, table, spec, inside)
        if not spec.integer:
            low, high = float(low), float(high)
        return Domain((), low, high, scale == "log", spec.integer, default)

    def _default(
        self, where: str, table: dict[str, Any], spec: SearchKey, inside: SearchKey
    ) -> Value | None:
        """Return the default that a table gives, or None, after both checks."""
        if (default := table.get("default")) is None:
            return None
        return self._value(
            f"{where}.default", self._value(f"{where}.default", default, spec), inside
        )

    def _value(self, where: str, value: Any, spec: SearchKey) -> Value:
        if not spec.check(value):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            size = f", {SIZES}" if number and not is_number(value) and spec.check(0.5) else ""
            raise self.error(where, f"received {shown(value)}, but needs {spec.rule}{size}")
        checked: Value = value
        return float(checked) if is_number(value) and not spec.integer else checked

    def table(self, where: str, value: Any) -> dict[str, Any]:
        """Return a value that must be a table."""
        if not isinstance(value, dict):
            raise self.error(where, f"received {shown(value)}, but needs a table")
        return value

    def known(self, prefix: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse a table with other keys."""
        for key in table:
            if key not in known:
                where = f"{prefix}{key if _BARE.fullmatch(key) else shown(key)}"
                if _LOOKS.search(key.lower()):
                    raise self.error(where, f"not supported: {LOOKS_AT_VALIDATION}")
                raise self.error(where, f"unknown key{near(key, known)}; valid: {', '.join(known)}")

    def error(self, where: str, what: str) -> UserError:
        """Return the error that names file and key."""
        return UserError(f"{self.path}: {where}: {what}")


def shown(value: Any) -> str:
    """Return a value as an error shows it: short, whatever its length, depth or digits."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python does not print it
        return "a number of thousands of digits"
