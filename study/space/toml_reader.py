"""A search-space file comes in, checked domains go out.

Every key is looked up in the tables of `study/words.py`, so a misspelt key, a value out of range
or a class that is no optimizer is refused with the file, the key, the value received and what
would be valid. Nothing named in a file is ever imported or called by name.
"""

import re
import reprlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from study.common.aliases import Value
from study.common.errors import UserError
from study.space.domains import Domain, OptimizerSpace
from study.space.keras_optimizers import argument_rule, keras_arguments, keras_optimizers
from study.space.schema import BY_STEPS, HEAD, LEARNING_RATE, SCHEDULES, Key, is_number

MAX_FILE_BYTES = 100_000
MOST_DOTS = 200  # in a line: dotted keys cost tomllib time by the square of their depth
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_BARE = re.compile(r"[A-Za-z0-9_-]{1,60}")
TAKEN_NAMES = (  # files and folders of a study, and words that stand beside optimizers' names
    "joint", "winner", "predictions", "report", "search", "confirm", "default", "optimizer",
)  # fmt: skip
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = 8
_SHORT.maxlevel = 3


class Tables(NamedTuple):
    """A search-space file, checked."""

    head: dict[str, Domain]
    schedules: dict[str, dict[str, Domain]]
    optimizers: dict[str, OptimizerSpace]
    study: dict[str, Any]  # defaults of command-line options
    table: dict[str, Any]  # as it was read, without [study]


def read_space_file(path: Path) -> Tables:
    """Read and check a search-space file.

    Raises:
        UserError: with file, key, value received and what is valid.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_FILE_BYTES:
        raise UserError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes, so not a search space")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        if max(line.count(".") for line in text.split("\n")) > MOST_DOTS:
            raise RecursionError
        table = tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not TOML, a number of thousands of digits
        raise UserError(f"{path}: not valid TOML: {error}") from None
    return _Reader(path).read(table)


class _Reader:
    """Reads the tables of one file; it exists so that every sentence can name the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, table: dict[str, Any]) -> Tables:
        self._known("", table, ("study", "head", "schedules", "optimizers"))
        study = self._table("study", table.pop("study", {}))
        schedules = self._schedules(self._table("schedules", table.get("schedules", {})))
        optimizers = self._table("optimizers", table.get("optimizers", {}))
        if not optimizers:
            raise self._error("optimizers", "missing; name at least one [optimizers.NAME]")
        self._optimizer_names(optimizers)
        return Tables(
            head=self._head(self._table("head", table.get("head", {}))),
            schedules=schedules,
            optimizers={
                name: self._optimizer(name, self._table(f"optimizers.{name}", value), schedules)
                for name, value in optimizers.items()
            },
            study=study,
            table=table,
        )

    def _optimizer_names(self, names: Mapping[str, Any]) -> None:
        """A name becomes a file, a folder and a word on the command line, on every system."""
        seen: dict[str, str] = {}
        for name in names:
            where = f"optimizers.{_shown(name)}"
            if not _NAME.fullmatch(name):
                raise self._error(
                    where,
                    "not a valid name; it consists of letters a to z, digits, _ and -, "
                    "begins with a letter or digit, and is at most 40 characters long",
                )
            lower = name.lower()
            if lower in TAKEN_NAMES:
                raise self._error(
                    where, f"this name is taken; not available: {', '.join(TAKEN_NAMES)}"
                )
            if lower in seen:
                raise self._error(
                    where, f"differs from {seen[lower]} only in case; files would collide"
                )
            seen[lower] = name

    def _head(self, table: dict[str, Any]) -> dict[str, Domain]:
        self._known("head.", table, HEAD)
        return {
            key: self._domain(f"head.{key}", table.get(key, spec.default), spec)
            for key, spec in HEAD.items()
        }

    def _schedules(self, table: dict[str, Any]) -> dict[str, dict[str, Domain]]:
        self._known("schedules.", table, SCHEDULES)
        found = {}
        for name, value in (table or {"constant": {}}).items():
            keys = self._table(f"schedules.{name}", value)
            self._known(f"schedules.{name}.", keys, SCHEDULES[name])
            self._one_parametrization(name, keys)
            found[name] = {
                key: self._domain(f"schedules.{name}.{key}", keys.get(key, spec.default), spec)
                for key, spec in SCHEDULES[name].items()
                if key in keys
                or not (key in BY_STEPS or (key == "final_factor" and BY_STEPS & keys.keys()))
            }
        return found

    def _one_parametrization(self, name: str, keys: dict[str, Any]) -> None:
        given = BY_STEPS & keys.keys()
        if given and (len(given) == 1 or "final_factor" in keys):
            raise self._error(
                f"schedules.{name}",
                f"{', '.join(sorted(keys))}: give either final_factor, or decay_steps together "
                "with decay_rate",
            )

    def _optimizer(
        self, name: str, table: dict[str, Any], schedules: dict[str, dict[str, Domain]]
    ) -> OptimizerSpace:
        where = f"optimizers.{name}"
        classes = keras_optimizers()
        keras_class = table.get("class")
        if not isinstance(keras_class, str) or keras_class not in classes:
            raise self._error(
                f"{where}.class",
                f"received {_shown(keras_class)}, but needs a class of keras.optimizers: "
                + ", ".join(classes),
            )
        arguments = keras_arguments(keras_class)
        numbers = [
            key for key, default in arguments.items() if argument_rule(key, default).check(0.5)
        ]
        known = [*arguments, *(f"one_minus_{key}" for key in numbers if key != "learning_rate")]
        self._known(f"{where}.", table, ["class", "schedules", *known])
        hyperparameters = {}
        for key, value in table.items():
            if key in ("class", "schedules", "learning_rate"):
                continue
            argument = key.removeprefix("one_minus_")
            if key != argument and argument in table:
                raise self._error(f"{where}.{key}", f"given beside {argument}; keep one of the two")
            spec = argument_rule(argument, arguments[argument])
            hyperparameters[key] = self._domain(f"{where}.{key}", value, spec)
        rate = table.get("learning_rate", arguments["learning_rate"])
        chosen = table.get("schedules")
        space = OptimizerSpace(
            keras_class=keras_class,
            learning_rate=self._domain(f"{where}.learning_rate", rate, LEARNING_RATE),
            hyperparameters=hyperparameters,
            schedules=tuple(schedules) if chosen is None else self._names(where, chosen, schedules),
            restricted=chosen is not None,
        )
        self._accepted_by_keras(where, space)
        return space

    def _names(
        self, where: str, chosen: Any, schedules: Mapping[str, dict[str, Domain]]
    ) -> tuple[str, ...]:
        names = chosen if isinstance(chosen, list) else []
        if (
            not names
            or any(not isinstance(name, str) or name not in schedules for name in names)
            or len(set(names)) < len(names)
        ):
            raise self._error(
                f"{where}.schedules",
                f"received {_shown(chosen)}, but needs a list of this file's schedules: "
                + ", ".join(schedules),
            )
        return tuple(names)

    def _accepted_by_keras(self, where: str, space: OptimizerSpace) -> None:
        """Let Keras check the ends of every range (momentum must lie in [0, 1], and so on)."""
        keras_class = keras_optimizers()[space.keras_class]
        for key, domain in space.hyperparameters.items():
            argument = key.removeprefix("one_minus_")
            for value in domain.choices or (domain.low, domain.high):
                setting = 1 - value if key != argument and is_number(value) else value  # type: ignore[operator]
                try:
                    keras_class(**{argument: setting})
                except (ValueError, TypeError) as error:
                    raise self._error(
                        f"{where}.{key}", f"{value!r} is refused by {space.keras_class}: {error}"
                    ) from None
        first = {
            key.removeprefix("one_minus_"): domain for key, domain in space.hyperparameters.items()
        }
        together = {key: domain.first() for key, domain in first.items() if domain.choices}
        try:
            keras_class(**together)  # some arguments exclude each other: clipnorm and clipvalue
        except (ValueError, TypeError) as error:
            raise self._error(where, f"refused by {space.keras_class}: {error}") from None

    def _domain(self, where: str, value: Any, spec: Key) -> Domain:
        if not isinstance(value, dict):
            return Domain(choices=(self._value(where, value, spec),))
        if "choices" in value:
            self._known(f"{where}.", value, ("choices", "default"))
            return self._choices(where, value, spec)
        self._known(f"{where}.", value, ("min", "max", "scale", "default"))
        return self._range(where, value, spec)

    def _choices(self, where: str, table: dict[str, Any], spec: Key) -> Domain:
        choices = table["choices"]
        if not isinstance(choices, list) or not choices:
            raise self._error(
                f"{where}.choices",
                f"received {_shown(choices)}, but needs a list of at least one value",
            )
        values = tuple(self._value(f"{where}.choices", value, spec) for value in choices)
        if len({(type(value), value) for value in values}) < len(values):
            raise self._error(
                f"{where}.choices", f"received {_shown(choices)}, but a value stands twice"
            )
        default = table.get("default")
        if default is not None:
            default = self._value(f"{where}.default", default, spec)
            if default not in values:
                raise self._error(
                    f"{where}.default", f"received {default!r}, not one of {_shown(choices)}"
                )
        return Domain(choices=values, default=default)

    def _range(self, where: str, table: dict[str, Any], spec: Key) -> Domain:
        for key in ("min", "max"):
            if key not in table:
                raise self._error(f"{where}.{key}", "missing; a range is {min = .., max = ..}")
            if not is_number(table[key]):
                raise self._error(
                    f"{where}.{key}", f"received {_shown(table[key])}, but needs a number"
                )
            self._value(f"{where}.{key}", table[key], spec)
        low, high = table["min"], table["max"]
        if low >= high:
            raise self._error(where, f"min must be below max, but received {low!r} and {high!r}")
        scale = table.get("scale", "linear")
        if scale not in ("linear", "log"):
            raise self._error(f"{where}.scale", f"received {_shown(scale)}; valid: linear, log")
        if scale == "log" and low <= 0:
            raise self._error(
                f"{where}.min", f"received {low!r}, but a log scale needs min above 0"
            )
        default = table.get("default")
        if default is not None:
            default = self._value(f"{where}.default", default, spec)
            if not (is_number(default) and low <= default <= high):
                raise self._error(
                    f"{where}.default", f"received {default!r}, but needs {low} to {high}"
                )
        if spec.integer:
            return Domain((), low, high, scale == "log", True, default)
        return Domain((), float(low), float(high), scale == "log", False, default)

    def _value(self, where: str, value: Any, spec: Key) -> Value:
        if not spec.check(value):
            raise self._error(where, f"received {_shown(value)}, but needs {spec.rule}")
        checked: Value = value
        return float(checked) if is_number(value) and not spec.integer else checked

    def _table(self, where: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(where, f"received {_shown(value)}, but needs a table")
        return value

    def _known(self, prefix: str, table: Mapping[str, Any], known: Any) -> None:
        for key in table:
            if key not in known:
                where = f"{prefix}{key if _BARE.fullmatch(key) else _shown(key)}"
                raise self._error(where, f"unknown key; valid: {', '.join(known)}")

    def _error(self, where: str, what: str) -> UserError:
        return UserError(f"{self.path}: {where}: {what}")


def _shown(value: Any) -> str:
    """A value as a sentence shows it: short, whatever its length, depth or digits."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python prints no number of thousands of digits
        return "a number of thousands of digits"
