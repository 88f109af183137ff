"""One TOML file comes in, a validated `SearchSpace` goes out.

A space declares itself on `keras_tuner.HyperParameters` (unique names, conditional scopes), turns
the tuner's values into a `HeadConfig`, and knows the default configuration of each optimizer.
`toml_reader.py` checks the file.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study.common.aliases import Value
from study.common.errors import UserError
from study.space.domains import Domain, OptimizerSpace, argument_of, turned
from study.space.head_config import LOSS, HeadConfig
from study.space.keras_optimizers import keras_arguments
from study.space.toml_reader import SpaceReader, parse_space_file
from study.space.value_reader import shown

DECADES = 100  # times its lower end: a range is wide
GRID_SAMPLES = 11  # points that Keras Tuner's grid takes from a range: ten and the default
OWN_SPACES = Path(__file__).parents[2] / "search_spaces"  # beside the package, also installed


@dataclass(frozen=True)
class SearchSpace:
    """A validated search space."""

    name: str
    head: dict[str, Domain]
    schedules: dict[str, dict[str, Domain]]
    optimizers: dict[str, OptimizerSpace]
    study: dict[str, Any]  # defaults of command-line options
    table: dict[str, Any]  # the TOML as it was read, without [study]

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that decides which trials are possible."""
        text = json.dumps([self.table, list(self.optimizers)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def restrict(self, optimizers: Iterable[str]) -> "SearchSpace":
        """Return the space with only these optimizers, in its own order; refuse other names."""
        wanted = [name.strip() for name in optimizers]
        for name in wanted:
            if name not in self.optimizers:
                raise UserError(
                    f"`optimizers`: {name!r} is not in the search space {self.name}; "
                    f"valid: {', '.join(self.optimizers)}"
                )
        kept = {key: value for key, value in self.optimizers.items() if key in wanted}
        if not kept:
            raise UserError(f"`optimizers`: give at least one of {', '.join(self.optimizers)}")
        return replace(self, optimizers=kept)

    def declare(self, hp: Any, optimizer: str | None = None) -> None:
        """Register every hyperparameter on `hp`; `optimizer` fixes that choice (equal budgets).

        Names, order and conditions of hyperparameters are decided here alone, for stock tuners
        (`HeadHyperModel.build`) and for the oracles.
        """
        names = list(self.optimizers) if optimizer is None else [optimizer]
        _declare(hp, "optimizer", Domain(choices=tuple(names)))
        for key, domain in self.head.items():
            _declare(hp, key, domain)
        shared = [name for name in names if not self.optimizers[name].restricted]
        if shared:
            with _scope(hp, "optimizer", shared, names):
                self._declare_schedules(hp, "", self.optimizers[shared[0]].schedules)
        for name in names:
            space = self.optimizers[name]
            with _scope(hp, "optimizer", [name], names):
                _declare(hp, f"{name}.learning_rate", space.learning_rate)
                for key, domain in space.hyperparameters.items():
                    _declare(hp, f"{name}.{key}", domain)
                if space.restricted:
                    self._declare_schedules(hp, self._prefix(name), space.schedules)

    def _declare_schedules(self, hp: Any, prefix: str, schedules: tuple[str, ...]) -> None:
        choice = f"{prefix}schedule"
        _declare(hp, choice, Domain(choices=schedules))
        for schedule in schedules:
            with _scope(hp, choice, [schedule], schedules):
                for key, domain in self.schedules[schedule].items():
                    _declare(hp, f"{prefix}{schedule}.{key}", domain)

    def _prefix(self, optimizer: str) -> str:
        """Return what the names of an optimizer's schedule begin with."""
        return f"{optimizer}." if self.optimizers[optimizer].restricted else ""

    def resolve(self, values: Mapping[str, Any]) -> HeadConfig:
        """Return the tuner's values (names as declared) as a `HeadConfig`."""
        name = values["optimizer"]
        space, prefix = self.optimizers[name], self._prefix(name)
        schedule = values[f"{prefix}schedule"]
        head: dict[str, Any] = {key: _typed(values[key], one) for key, one in self.head.items()}
        return HeadConfig(
            optimizer=name,
            keras_class=space.keras_class,
            learning_rate=float(values[f"{name}.learning_rate"]),
            optimizer_hyperparameters={
                argument_of(key): turned(key, _typed(values[f"{name}.{key}"], domain))
                for key, domain in space.hyperparameters.items()
            },
            schedule=schedule,
            schedule_hyperparameters={
                key: _typed(values[f"{prefix}{schedule}.{key}"], domain)
                for key, domain in self.schedules[schedule].items()
            },
            loss_hyperparameters={key: value for key, value in head.items() if key in LOSS},
            **{key: value for key, value in head.items() if key not in LOSS},
        )

    def recorded(self, name: str, values: Mapping[str, Any]) -> HeadConfig:
        """Return the configuration of an optimizer whose `hyperparameters` are these."""
        space, schedule = self.optimizers[name], values["schedule"]
        arguments = map(argument_of, space.hyperparameters)
        return HeadConfig(
            optimizer=name,
            keras_class=space.keras_class,
            learning_rate=values["learning_rate"],
            optimizer_hyperparameters={key: values[key] for key in arguments},
            schedule=schedule,
            schedule_hyperparameters={key: values[key] for key in self.schedules[schedule]},
            loss_hyperparameters={key: values[key] for key in self.head if key in LOSS},
            **{key: values[key] for key in self.head if key not in LOSS},
        )

    def default(self, name: str) -> HeadConfig:
        """Return the untuned configuration: Keras's defaults, the space's fixed values."""
        space, prefix = self.optimizers[name], self._prefix(name)
        schedule = "constant" if "constant" in space.schedules else space.schedules[0]
        values: dict[str, Any] = {"optimizer": name, f"{prefix}schedule": schedule}
        values |= {key: domain.first() for key, domain in self.head.items()}
        for key, domain in self.schedules[schedule].items():
            values[f"{prefix}{schedule}.{key}"] = domain.first()
        keras_defaults = keras_arguments(space.keras_class)
        for key, domain in {"learning_rate": space.learning_rate, **space.hyperparameters}.items():
            keras_default = keras_defaults[argument_of(key)]
            given = domain.fixed or domain.default is not None or keras_default is None
            values[f"{name}.{key}"] = domain.first() if given else turned(key, keras_default)
        return self.resolve(values)

    def linear_decades(self) -> list[str]:
        """Return the ranges over decades whose scale the file does not give, with their ends."""
        tables: dict[str, Any] = {"head": self.table.get("head", {})}
        tables |= {f"schedules.{key}": one for key, one in self.table.get("schedules", {}).items()}
        tables |= {f"optimizers.{name}": self.table["optimizers"][name] for name in self.optimizers}
        return [
            f"{where}.{key} ({one['min']} to {one['max']})"
            for where, table in tables.items()
            for key, one in table.items()
            if isinstance(one, dict) and {"min", "max"} <= one.keys() and "scale" not in one
            if 0 < DECADES * one["min"] <= one["max"]
        ]

    def dense_widths(self) -> Sequence[int]:
        """Return every width that a head may have."""
        domain = self.head["dense_width"]
        if domain.choices:
            return [int(width) for width in domain.choices]
        return range(int(domain.low), int(domain.high) + 1)

    def points(self, name: str, *, grid: bool = False) -> float:
        """Return the number of configurations of one optimizer; with `grid`, that a grid visits."""

        def count(domains: Iterable[Domain]) -> float:
            return math.prod(min(d.points, GRID_SAMPLES) if grid and not d.choices else d.points
                             for d in domains)  # fmt: skip

        space = self.optimizers[name]
        schedules = sum(count(self.schedules[schedule].values()) for schedule in space.schedules)
        own = (space.learning_rate, *space.hyperparameters.values())
        return count((*own, *self.head.values())) * schedules


def load_space(space: str) -> SearchSpace:
    """Read and check a search space: `default` (one that comes with the study) or `my.toml`.

    Raises:
        UserError: it is not valid; with file, key, value received and what is valid.
    """
    path = _find(space)
    table = parse_space_file(path)
    if "extends" in table:
        table = _extended(path, table)
    return SearchSpace(name=path.stem, **SpaceReader(path).read(table))


def _find(space: str) -> Path:
    if space in own_spaces():
        return OWN_SPACES / f"{space}.toml"
    path = Path(space)
    try:
        found, folder = path.is_file(), path.is_dir()
    except OSError:  # a name too long, a folder that may not be entered
        found, folder = False, False
    if not found:
        what = "a folder, not a file" if folder else "no such search space and no such file"
        raise UserError(
            f"`space` {space}: {what}; valid names: {', '.join(own_spaces())}, or the path of a "
            ".toml file"
        )
    return path


def own_spaces() -> list[str]:
    """Return the names of the spaces that come with the study."""
    return sorted(path.stem for path in OWN_SPACES.glob("*.toml"))


def _extended(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """Return the space named by `extends`, with the keys and optimizers of `table` in it."""
    base = table.pop("extends")
    if base not in own_spaces():
        raise UserError(
            f"{path}: extends: received {shown(base)}, but needs one of {', '.join(own_spaces())}"
        )
    whole = parse_space_file(OWN_SPACES / f"{base}.toml")
    for key, found in table.items():
        both = isinstance(found, dict) and isinstance(whole.get(key), dict)
        whole[key] = {**whole[key], **found} if both else found
    return whole


def _declare(hp: Any, name: str, domain: Domain) -> None:
    sampling = "log" if domain.log else "linear"
    if domain.fixed:
        hp.Fixed(name, domain.choices[0])
    elif domain.choices:
        choices, default = list(domain.choices), domain.first()
        if len({type(choice) for choice in choices}) > 1:  # Keras Tuner wants one type: [1, "full"]
            choices, default = [str(choice) for choice in choices], str(default)
        hp.Choice(name, choices, default=default)
    elif domain.integer:
        hp.Int(name, int(domain.low), int(domain.high), sampling=sampling, default=domain.first())
    else:
        hp.Float(name, domain.low, domain.high, sampling=sampling, default=domain.first())


def _scope(
    hp: Any, parent: str, values: list[str], all_values: Sequence[str]
) -> AbstractContextManager[Any]:
    """Return a conditional scope, or none where the parent leaves no choice."""
    if len(all_values) == len(values):
        return nullcontext()
    scope: AbstractContextManager[Any] = hp.conditional_scope(parent, values)
    return scope


def _typed(value: Value, domain: Domain) -> Value:
    """Return the choice that is meant: Keras Tuner makes 1 of true, `_declare` strings of a mix."""
    same = (c for c in domain.choices if c == value or str(c) == str(value))
    return next(same, value)
