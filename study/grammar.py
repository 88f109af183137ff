"""The words and the grammar of a search-space file: TOML in, checked domains out.

Every key is looked up in a table here or in the signature of Keras's own optimizer, so a misspelt
key, a value out of range or a class that is no optimizer is refused with the file, the key, the
value received and what would be valid. Nothing named in a file is ever imported or called by name.
"""

import inspect
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from study.errors import UserError

Value = bool | int | float | str

MAX_FILE_BYTES = 1_000_000
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
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
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


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _factor(value: Any) -> bool:
    return _number(value) and 0 < value <= 1


_BOOL = (lambda value: isinstance(value, bool), "true or false")
ACTIVATIONS = ("relu", "elu", "gelu", "leaky_relu", "selu", "silu", "softplus", "tanh", "sigmoid")

HEAD: dict[str, Key] = {  # defaults: the blog post's head
    "dense_width": Key(170, _whole, "a whole number of units, at least 1", True),
    "dropout": Key(0.5, lambda v: _number(v) and 0 <= v < 1, "a number from 0 to below 1"),
    "activation": Key("relu", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "batch_norm": Key(True, *_BOOL),
    "batch_size": Key(
        16, lambda v: v == "full" or _whole(v), 'a whole number of rows, or "full"', True
    ),
    "normalize": Key(False, *_BOOL),
}

_FINAL = Key(0.01, _factor, "a number above 0, at most 1")
_WARMUP = Key(0.0, lambda v: _number(v) and 0 <= v < 1, "a part of the run from 0 to below 1")
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
        "power": Key(2.0, lambda v: _number(v) and v > 0, "a number above 0"),
        "warmup": _WARMUP,
    },
    "inverse_time": {"final_factor": _FINAL, "warmup": _WARMUP},
    "steps": {
        "final_factor": _FINAL,
        "drops": Key(2, _whole, "a whole number of drops, at least 1", True),
        "warmup": _WARMUP,
    },
}

_BY_STEPS = {"decay_steps", "decay_rate"}  # the other way to give an exponential decay
_LEARNING_RATE = Key(0.0, lambda v: _number(v) and v > 0, "a number above 0")
_NOT_KNOBS = {  # arguments of every Keras optimizer that are no hyperparameters of the update rule
    "self", "kwargs", "name", "learning_rate", "loss_scale_factor", "gradient_accumulation_steps",
    "use_ema", "ema_momentum", "ema_overwrite_frequency", "exclude_layers", "exclude_embeddings",
}  # fmt: skip


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
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UserError(f"{path}: larger than {MAX_FILE_BYTES} bytes, so not a search space")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
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
                or not (key in _BY_STEPS or (key == "final_factor" and _BY_STEPS & keys.keys()))
            }
        return found

    def _one_parametrization(self, name: str, keys: dict[str, Any]) -> None:
        given = _BY_STEPS & keys.keys()
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
        if not name or not all(letter.isalnum() or letter in "_-" for letter in name):
            raise self._error(where, "a name consists of letters, digits, _ and -")
        classes = keras_optimizers()
        keras_class = table.get("class")
        if not isinstance(keras_class, str) or keras_class not in classes:
            raise self._error(
                f"{where}.class",
                f"received {keras_class!r}, but needs a class of keras.optimizers: "
                + ", ".join(classes),
            )
        arguments = keras_arguments(keras_class)
        known = [*arguments, *(f"one_minus_{key}" for key in arguments if key != "learning_rate")]
        self._known(f"{where}.", table, ["class", "schedules", *known])
        knobs = {}
        for key, value in table.items():
            if key in ("class", "schedules", "learning_rate"):
                continue
            argument = key.removeprefix("one_minus_")
            if key != argument and argument in table:
                raise self._error(f"{where}.{key}", f"given beside {argument}; keep one of the two")
            knobs[key] = self._domain(f"{where}.{key}", value, _knob(arguments[argument]))
        rate = table.get("learning_rate", arguments["learning_rate"])
        chosen = table.get("schedules")
        space = OptimizerSpace(
            keras_class=keras_class,
            learning_rate=self._domain(f"{where}.learning_rate", rate, _LEARNING_RATE),
            knobs=knobs,
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
            or any(name not in schedules for name in names)
            or len(set(names)) < len(names)
        ):
            raise self._error(
                f"{where}.schedules",
                f"received {chosen!r}, but needs a list of this file's schedules: "
                + ", ".join(schedules),
            )
        return tuple(names)

    def _accepted_by_keras(self, where: str, space: OptimizerSpace) -> None:
        """Let Keras check the ends of every range (momentum must lie in [0, 1], and so on)."""
        keras_class = keras_optimizers()[space.keras_class]
        for key, domain in space.knobs.items():
            argument = key.removeprefix("one_minus_")
            for value in domain.choices or (domain.low, domain.high):
                setting = 1 - value if key != argument and _number(value) else value  # type: ignore[operator]
                try:
                    keras_class(**{argument: setting})
                except (ValueError, TypeError) as error:
                    raise self._error(
                        f"{where}.{key}", f"{value!r} is refused by {space.keras_class}: {error}"
                    ) from None

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
            raise self._error(f"{where}.choices", f"received {choices!r}, needs at least one value")
        values = tuple(self._value(f"{where}.choices", value, spec) for value in choices)
        if len({(type(value), value) for value in values}) < len(values):
            raise self._error(f"{where}.choices", f"received {choices!r}, but a value stands twice")
        default = table.get("default")
        if default is not None and default not in choices:
            raise self._error(f"{where}.default", f"received {default!r}, not one of {choices!r}")
        return Domain(choices=values, default=default)

    def _range(self, where: str, table: dict[str, Any], spec: Key) -> Domain:
        for key in ("min", "max"):
            if key not in table:
                raise self._error(f"{where}.{key}", "missing; a range is {min = .., max = ..}")
            if not _number(table[key]):
                raise self._error(f"{where}.{key}", f"received {table[key]!r}, needs a number")
            self._value(f"{where}.{key}", table[key], spec)
        low, high = table["min"], table["max"]
        if low >= high:
            raise self._error(where, f"min must be below max, but received {low!r} and {high!r}")
        scale = table.get("scale", "linear")
        if scale not in ("linear", "log"):
            raise self._error(f"{where}.scale", f"received {scale!r}; valid: linear, log")
        if scale == "log" and low <= 0:
            raise self._error(
                f"{where}.min", f"received {low!r}, but a log scale needs min above 0"
            )
        default = table.get("default")
        if default is not None and not (_number(default) and low <= default <= high):
            raise self._error(f"{where}.default", f"received {default!r}, not from {low} to {high}")
        if spec.integer:
            return Domain((), low, high, scale == "log", True, default)
        return Domain((), float(low), float(high), scale == "log", False, default)

    def _value(self, where: str, value: Any, spec: Key) -> Value:
        if not spec.check(value):
            raise self._error(where, f"received {value!r}, but needs {spec.rule}")
        checked: Value = value
        return float(checked) if _number(value) and not spec.integer else checked

    def _table(self, where: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._error(where, f"received {value!r}, but needs a table")
        return value

    def _known(self, prefix: str, table: Mapping[str, Any], known: Any) -> None:
        for key in table:
            if key not in known:
                raise self._error(f"{prefix}{key}", f"unknown key; valid: {', '.join(known)}")

    def _error(self, where: str, what: str) -> UserError:
        return UserError(f"{self.path}: {where}: {what}")


def _knob(keras_default: Any) -> Key:
    """The rule for an optimizer's argument, from the type of its default in Keras."""
    if isinstance(keras_default, bool):
        return Key(keras_default, *_BOOL)
    if isinstance(keras_default, int):
        return Key(
            keras_default, lambda v: isinstance(v, int) and _number(v), "a whole number", True
        )
    if isinstance(keras_default, str):
        return Key(keras_default, lambda v: isinstance(v, str), "a text")
    return Key(0.0, _number, "a number")


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
    }
