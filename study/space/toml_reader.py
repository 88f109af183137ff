"""A search-space file comes in, checked domains go out.

Every key is looked up in the tables of this wing, so a misspelt key, a value out of range or a
class that is not an optimizer is refused with the file, the key, the value received and what would
be valid. No name in a file is ever imported or called.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.common.aliases import OPTIMIZER_NAME
from study.common.errors import UserError
from study.common.text import near
from study.space.domains import ONE_MINUS, Domain, OptimizerSpace, argument_of, turned
from study.space.head_config import HEAD, LOSS
from study.space.keras_optimizers import (
    AVERAGE,
    LEARNING_RATE,
    ONE_MINUS_AVERAGE,
    REFUSED,
    argument_rules,
    keras_arguments,
    known_optimizers,
    optimizer_class,
    required_arguments,
)
from study.space.schedule_table import SCHEDULES, schedule_keys
from study.space.value_reader import ValueReader, shown

MAX_FILE_BYTES = 100_000
MOST_DOTS = 200  # in a line: dotted keys cost tomllib time by the square of their depth
TAKEN_NAMES = (  # files and folders of a study, and words used alongside optimizers' names
    "joint", "winner", "predictions", "report", "search", "confirm", "default", "optimizer",
)  # fmt: skip


def parse_space_file(path: Path) -> dict[str, Any]:
    """Return the tables of a search-space file, not checked.

    Raises:
        UserError: the file cannot be read, or is not TOML.
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
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not TOML, a number of thousands of digits
        raise UserError(f"{path}: not valid TOML: {error}") from None


class SpaceReader(ValueReader):
    """Reads the tables of one file."""

    def read(self, table: dict[str, Any]) -> dict[str, Any]:
        """Check all tables and return every field of a `SearchSpace` except its name.

        Raises:
            UserError: with file, key, value received and what is valid.
        """
        self.known("", table, ("extends", "study", "head", "schedules", "optimizers"))
        study = self.table("study", table.pop("study", {}))
        schedules = self._schedules(self.table("schedules", table.get("schedules", {})))
        optimizers = self.table("optimizers", table.get("optimizers", {}))
        if not optimizers:
            raise self.error("optimizers", "missing; name at least one [optimizers.NAME]")
        self._optimizer_names(optimizers)
        return {
            "head": self._head(self.table("head", table.get("head", {}))),
            "schedules": schedules,
            "optimizers": {
                name: self._optimizer(name, self.table(f"optimizers.{name}", value), schedules)
                for name, value in optimizers.items()
            },
            "study": study,
            "table": table,
        }

    def _optimizer_names(self, names: Mapping[str, Any]) -> None:
        """Refuse a name that cannot be a file, a folder and an argument on every system."""
        seen: dict[str, str] = {}
        for name in names:
            where = f"optimizers.{shown(name)}"
            if not OPTIMIZER_NAME.fullmatch(name):
                raise self.error(
                    where,
                    "not a valid name; it consists of letters a to z, digits, _ and -, "
                    "begins with a letter or digit, and is at most 40 characters long",
                )
            lower = name.lower()
            if lower in TAKEN_NAMES:
                taken = ", ".join(TAKEN_NAMES)
                raise self.error(where, f"this name is taken; not available: {taken}")
            if lower in seen:
                same = f"differs from {seen[lower]} only in case; files would collide"
                raise self.error(where, same)
            seen[lower] = name

    def _head(self, table: dict[str, Any]) -> dict[str, Domain]:
        self.known("head.", table, HEAD)
        domains = {
            key: self.domain(f"head.{key}", table.get(key, spec.default), spec)
            for key, spec in HEAD.items()
        }
        idle = {key for key, spec in LOSS.items() if domains[key].choices == (spec.default,)}
        return {key: domain for key, domain in domains.items() if key not in idle}

    def _schedules(self, table: dict[str, Any]) -> dict[str, dict[str, Domain]]:
        self.known("schedules.", table, SCHEDULES)
        return {
            name: self._schedule(name, self.table(f"schedules.{name}", value))
            for name, value in (table or {"constant": {}}).items()
        }

    def _schedule(self, name: str, table: dict[str, Any]) -> dict[str, Domain]:
        """Return every key of the kind, given or not, but only one of the two ways to decay."""
        keys, instead = schedule_keys(name), SCHEDULES[name].instead
        self.known(f"schedules.{name}.", table, keys)
        given = instead & table.keys()
        if given and (given != instead or "final_factor" in table):
            raise self.error(
                f"schedules.{name}",
                f"{', '.join(sorted(table))}: give either final_factor, or "
                f"{' together with '.join(key for key in keys if key in instead)}",
            )
        without = {"final_factor"} if given else instead
        return {
            key: self.domain(f"schedules.{name}.{key}", table.get(key, spec.default), spec)
            for key, spec in keys.items()
            if key not in without
        }

    def _optimizer(
        self, name: str, table: dict[str, Any], schedules: dict[str, dict[str, Domain]]
    ) -> OptimizerSpace:
        where = f"optimizers.{name}"
        if "class" not in table:
            raise self.error(where, _without_class(name, table))
        keras_class = self._class(where, table["class"])
        rules = argument_rules(keras_class)
        rules |= {f"{ONE_MINUS}{key}": ONE_MINUS_AVERAGE for key in rules if rules[key] is AVERAGE}
        for key in table.keys() & REFUSED.keys():
            raise self.error(f"{where}.{key}", f"not supported: {REFUSED[key]}")
        self.known(f"{where}.", table, ["class", "schedules", "learning_rate", *rules])
        hyperparameters = {}
        for key, value in table.items():
            if key in rules:
                argument = argument_of(key)
                if key != argument and argument in table:
                    raise self.error(
                        f"{where}.{key}", f"{argument} is given, too; keep one of the two"
                    )
                hyperparameters[key] = self.domain(f"{where}.{key}", value, rules[key])
        arguments = keras_arguments(keras_class)
        if "learning_rate" not in arguments:
            raise self.error(f"{where}.class", f"{keras_class} has no argument learning_rate")
        rate = table.get("learning_rate", arguments["learning_rate"])
        if rate is None:
            raise self.error(f"{where}.learning_rate", f"missing; {keras_class} has no default")
        chosen = table.get("schedules")
        space = OptimizerSpace(
            keras_class=keras_class,
            learning_rate=self.domain(f"{where}.learning_rate", rate, LEARNING_RATE),
            hyperparameters=hyperparameters,
            schedules=tuple(schedules) if chosen is None else self._names(where, chosen, schedules),
            restricted=chosen is not None,
        )
        self._accepted(where, space)
        return space

    def _class(self, where: str, given: Any) -> str:
        classes = known_optimizers()
        if isinstance(given, str) and given in classes:
            return given
        raise self.error(
            f"{where}.class",
            f"received {shown(given)}{near(given, classes)}, but needs a class of "
            f"keras.optimizers: {', '.join(classes)}; or a class of your own, whose file is "
            "given with `code`",
        )

    def _names(
        self, where: str, chosen: Any, schedules: Mapping[str, dict[str, Domain]]
    ) -> tuple[str, ...]:
        valid = [*schedules]  # a list: a wrong name may be a table
        names = chosen if isinstance(chosen, list) else []
        if not names or any(name not in valid or names.count(name) > 1 for name in names):
            rule = f"a list of this file's schedules: {', '.join(valid)}"
            raise self.error(f"{where}.schedules", f"received {shown(chosen)}, but needs {rule}")
        return tuple(names)

    def _accepted(self, where: str, space: OptimizerSpace) -> None:
        """Let the class check the ends of every range (momentum from 0 to 1, and so on)."""
        keras_class, domains = optimizer_class(space.keras_class), space.hyperparameters
        first = {argument_of(key): turned(key, one.first()) for key, one in domains.items()}
        needed = {"learning_rate": space.learning_rate.first()}
        needed |= {key: first[key] for key in required_arguments(space.keras_class) & first.keys()}
        for key, domain in domains.items():
            for value in domain.choices or (domain.low, domain.high):
                try:
                    keras_class(**{**needed, argument_of(key): turned(key, value)})
                except (ValueError, TypeError) as error:
                    raise self.error(
                        f"{where}.{key}", f"{value!r} is refused by {space.keras_class}: {error}"
                    ) from None
        chosen = {argument_of(key) for key, domain in domains.items() if domain.choices}
        try:  # some arguments exclude each other: clipnorm and clipvalue
            keras_class(**needed | {key: first[key] for key in chosen})
        except (ValueError, TypeError) as error:
            raise self.error(where, f"refused by {space.keras_class}: {error}") from None


def _without_class(name: str, table: Mapping[str, Any]) -> str:
    """Return what is wrong with the table of an optimizer that has no class."""
    for key, inside in table.items():
        if isinstance(inside, dict) and "class" in inside:
            return (
                f"has no class, but a table {shown(key)} inside; the dot in "
                f"[optimizers.{name}.{key}] makes one: write [optimizers.{name}_{key}]"
            )
    return (
        'has no class; add a line such as class = "Adam" (a table of this file replaces the one of '
        "`extends` whole, so repeat what it should keep)"
    )
