"""Replace values of a search space that cannot differ where a study runs by one of them.

A batch of more rows than there are is a batch of all rows, and Keras's SGD uses `nesterov` only
with momentum. If both values stayed, the same run would be trained again under another name, and a
record would give a batch size that was never used.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from study.common.aliases import Value
from study.common.text import join
from study.space.domains import ONE_MINUS, Domain, OptimizerSpace
from study.space.search_space import SearchSpace


def without_equal_values(space: SearchSpace, rows: int) -> tuple[SearchSpace, list[str]]:
    """Return the space for this number of training rows, and sentences on what was replaced.

    A space without equal values comes back as it is, its fingerprint too.
    """
    replaced = []
    given = space.head["batch_size"]
    batch = _within(given, rows)
    if batch != given:
        replaced.append(
            f"batch_size {_many(given, rows)} means all {rows} training rows: tried once, as {rows}"
        )
        space = _changed(space, ["head"], "batch_size", batch)
        space = replace(space, head={**space.head, "batch_size": batch})
    for name, optimizer in space.optimizers.items():
        if _nesterov_is_idle(optimizer):
            replaced.append(
                f"{name}: nesterov changes nothing without momentum: tried once, as false"
            )
            one = Domain(choices=(False,))
            space = _changed(space, ["optimizers", name], "nesterov", one)
            hyperparameters = {**optimizer.hyperparameters, "nesterov": one}
            changed = {name: optimizer._replace(hyperparameters=hyperparameters)}
            space = replace(space, optimizers={**space.optimizers, **changed})
    return space, replaced


def _within(domain: Domain, rows: int) -> Domain:
    """Return batch sizes of at most all rows; a single value is kept, it duplicates no other."""
    if domain.fixed:
        return domain
    if not domain.choices:
        high = min(int(domain.high), rows)
        if high == domain.high:
            return domain
        if high <= domain.low:
            return Domain(choices=(rows,))
        return domain._replace(high=high, default=domain.default and min(int(domain.default), rows))
    whole = any(isinstance(value, int) and value >= rows for value in domain.choices)

    def used(value: Value) -> Value:
        return rows if whole and _is_all(value, rows) else value

    default = domain.default and used(domain.default)
    return Domain(choices=tuple(dict.fromkeys(map(used, domain.choices))), default=default)


def _is_all(value: Value, rows: int) -> bool:
    return isinstance(value, str) or int(value) >= rows  # the one string is "full"


def _many(domain: Domain, rows: int) -> str:
    """Return the values that mean all rows."""
    if not domain.choices:
        return f"above {rows}"
    return join([str(value) for value in domain.choices if _is_all(value, rows)])


def _nesterov_is_idle(optimizer: OptimizerSpace) -> bool:
    given, none = optimizer.hyperparameters, Domain(choices=(0.0,))  # Keras's default
    still = given.get("momentum", none).choices == none.choices
    still = still and f"{ONE_MINUS}momentum" not in given
    return optimizer.keras_class == "SGD" and still and not given.get("nesterov", none).fixed


def _changed(space: SearchSpace, path: Sequence[str], key: str, domain: Domain) -> SearchSpace:
    """Return the space with this domain in its table, so that its fingerprint changes."""
    if domain.choices:
        value: dict[str, Any] = {"choices": list(domain.choices)}
    else:
        scale = "log" if domain.log else "linear"
        value = {"min": domain.low, "max": domain.high, "scale": scale}
    if domain.default is not None:
        value["default"] = domain.default
    table = inner = copy.deepcopy(space.table)
    for name in path:
        inner = inner[name]
    inner[key] = value
    return replace(space, table=table)
