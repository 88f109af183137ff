"""One TOML file comes in, a validated `SearchSpace` goes out.

The space knows three things: how to declare itself on `keras_tuner.HyperParameters` (unique names,
conditional scopes), how to turn the tuner's values into a `HeadConfig`, and what the untuned
default of each optimizer is. `toml_reader.py` reads the file.
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
from study.space.toml_reader import check_space, parse_space_file
from study.space.value_reader import shown

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
        """The same space with only these optimizers, in the space's own order.

        Raises:
            UserError: a name is not in the space.
        """
        wanted = [name.strip() for name in optimizers]
        for name in wanted:
            if name not in self.optimizers:
                raise UserError(
                    f"`optimizers`: {name!r} is not in the search space {self.name}; "
                    f"valid: {', '.join(self.optimizers)}"
                )
        kept = {key: value for key, value in self.optimizers.items() if key in wanted}
        if not kept:
            raise UserError(f"`optimizers`: name at least one of {', '.join(self.optimizers)}")
        return replace(self, optimizers=kept)

    def declare(self, hp: Any, optimizer: str | None = None) -> None:
        """Register every hyperparameter on `hp`; `optimizer` fixes that choice (equal budgets)."""
        names = list(self.optimizers) if optimizer is None else [optimizer]
        if len(names) > 1:
            hp.Choice("optimizer", names)
        else:
            hp.Fixed("optimizer", names[0])
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
                    self._declare_schedules(hp, f"{name}.", space.schedules)

    def _declare_schedules(self, hp: Any, prefix: str, schedules: tuple[str, ...]) -> None:
        choice = f"{prefix}schedule"
        _declare(hp, choice, Domain(choices=schedules))
        for schedule in schedules:
            with _scope(hp, choice, [schedule], schedules):
                for key, domain in self.schedules[schedule].items():
                    _declare(hp, f"{prefix}{schedule}.{key}", domain)

    def resolve(self, values: Mapping[str, Any]) -> HeadConfig:
        """Turn the tuner's values (names as declared) into a `HeadConfig`."""
        name = values["optimizer"]
        space = self.optimizers[name]
        prefix = f"{name}." if space.restricted else ""
        schedule = values[f"{prefix}schedule"]
        return self._config(
            name,
            learning_rate=values[f"{name}.learning_rate"],
            optimizer_hyperparameters={
                key: _typed(values[f"{name}.{key}"], dom)
                for key, dom in space.hyperparameters.items()
            },
            schedule=schedule,
            schedule_hyperparameters={
                key: _typed(values[f"{prefix}{schedule}.{key}"], domain)
                for key, domain in self.schedules[schedule].items()
            },
            head={key: _typed(values[key], domain) for key, domain in self.head.items()},
        )

    def examples(self) -> dict[str, Value]:
        """Every hyperparameter that a record of this space may have, with one possible value."""
        table: dict[str, Value] = {}
        for name in self.optimizers:
            table |= self.default(name).hyperparameters()
        for hyperparameters in self.schedules.values():
            table |= {key: domain.first() for key, domain in hyperparameters.items()}
        return table

    def default(self, name: str) -> HeadConfig:
        """What somebody gets who tunes nothing: Keras's defaults, the space's fixed values."""
        space = self.optimizers[name]
        keras_defaults = keras_arguments(space.keras_class)
        schedule = "constant" if "constant" in space.schedules else space.schedules[0]
        hyperparameters = {}
        for key, domain in space.hyperparameters.items():
            keras_default = keras_defaults[argument_of(key)]
            if domain.fixed or domain.default is not None or keras_default is None:
                hyperparameters[key] = domain.first()
            else:
                hyperparameters[key] = turned(key, keras_default)
        rate = space.learning_rate
        keras_rate = keras_defaults["learning_rate"]
        untuned = rate.fixed or rate.default is not None or keras_rate is None
        return self._config(
            name,
            learning_rate=rate.first() if untuned else keras_rate,
            optimizer_hyperparameters=hyperparameters,
            schedule=schedule,
            schedule_hyperparameters={
                key: dom.first() for key, dom in self.schedules[schedule].items()
            },
            head={key: domain.first() for key, domain in self.head.items()},
        )

    def _config(
        self,
        name: str,
        *,
        learning_rate: Any,
        optimizer_hyperparameters: Mapping[str, Any],
        schedule: str,
        schedule_hyperparameters: Mapping[str, Any],
        head: Mapping[str, Any],
    ) -> HeadConfig:
        arguments = {
            argument_of(key): turned(key, value) for key, value in optimizer_hyperparameters.items()
        }
        return HeadConfig(
            optimizer=name,
            keras_class=self.optimizers[name].keras_class,
            learning_rate=float(learning_rate),
            optimizer_hyperparameters=arguments,
            schedule=schedule,
            schedule_hyperparameters=dict(schedule_hyperparameters),
            loss_hyperparameters={key: value for key, value in head.items() if key in LOSS},
            **{key: value for key, value in head.items() if key not in LOSS},
        )

    def dense_widths(self) -> Sequence[int]:
        """Every width that a head may have."""
        domain = self.head["dense_width"]
        if domain.choices:
            return [int(width) for width in domain.choices]
        return range(int(domain.low), int(domain.high) + 1)

    def points(self, name: str, *, grid: bool = False) -> float:
        """Distinct configurations of one optimizer; with `grid`, those that a grid visits."""

        def count(domains: Iterable[Domain]) -> float:
            return math.prod(min(d.points, GRID_SAMPLES) if grid and not d.choices else d.points
                             for d in domains)  # fmt: skip

        space = self.optimizers[name]
        schedules = sum(count(self.schedules[schedule].values()) for schedule in space.schedules)
        hyperparameters = [
            space.learning_rate,
            *space.hyperparameters.values(),
            *self.head.values(),
        ]
        return count(hyperparameters) * schedules


def load_space(space: str) -> SearchSpace:
    """Read and check a search space: `default` (one that comes with the study) or `my.toml`.

    Raises:
        UserError: with file, key, value received and what is valid.
    """
    path = _find(space)
    table = parse_space_file(path)
    if "extends" in table:
        table = _extended(path, table)
    return SearchSpace(name=path.stem, **check_space(path, table)._asdict())


def _extended(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    """The space named by `extends`, with the keys, schedules and optimizers of `table` in it."""
    base = table.pop("extends")
    if base not in own_spaces():
        raise UserError(
            f"{path}: extends: received {shown(base)}, but needs one of {', '.join(own_spaces())}"
        )
    whole = parse_space_file(OWN_SPACES / f"{base}.toml")
    for part, found in table.items():
        both = isinstance(found, dict) and isinstance(whole.get(part), dict)
        whole[part] = {**whole[part], **found} if both else found
    return whole


def own_spaces() -> list[str]:
    """Names of the spaces that come with the study."""
    return sorted(path.stem for path in OWN_SPACES.glob("*.toml"))


def _find(space: str) -> Path:
    own = own_spaces()
    if space in own:
        return OWN_SPACES / f"{space}.toml"
    path = Path(space)
    try:
        found, folder = path.is_file(), path.is_dir()
    except OSError:  # a name too long, a folder that may not be entered
        found, folder = False, False
    if not found:
        what = "a folder, not a file" if folder else "no such search space and no such file"
        raise UserError(
            f"`space` {space}: {what}; valid names: {', '.join(own)}, or the path of a .toml file"
        )
    return path


def _typed(value: Value, domain: Domain) -> Value:
    """The choice that is meant: Keras Tuner makes 1 of true, and `_declare` text of mixed ones."""
    same = (c for c in domain.choices if c == value or str(c) == str(value))
    return next(same, value)


def _scope(
    hp: Any, parent: str, values: list[str], all_values: Sequence[str]
) -> AbstractContextManager[Any]:
    """A conditional scope, or none where the parent leaves no choice."""
    if len(all_values) == len(values):
        return nullcontext()
    scope: AbstractContextManager[Any] = hp.conditional_scope(parent, values)
    return scope


def _declare(hp: Any, name: str, domain: Domain) -> None:
    if domain.fixed:
        hp.Fixed(name, domain.choices[0])
    elif domain.choices:
        choices, default = list(domain.choices), domain.first()
        if len({type(choice) for choice in choices}) > 1:  # Keras Tuner wants one type: [1, "full"]
            choices, default = [str(choice) for choice in choices], str(default)
        hp.Choice(name, choices, default=default)
    elif domain.integer:
        sampling = "log" if domain.log else "linear"
        hp.Int(name, int(domain.low), int(domain.high), sampling=sampling, default=domain.first())
    else:
        sampling = "log" if domain.log else "linear"
        hp.Float(name, domain.low, domain.high, sampling=sampling, default=domain.first())
