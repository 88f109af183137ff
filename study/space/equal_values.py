"""Values of a search space that cannot differ where a study runs: one of them is enough.

A batch of more rows than there are is a batch of all rows, and Keras's SGD looks at `nesterov` only
where there is momentum. Left apart, such values are trained again under another name, and a record
says a batch size that was never used.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from study.common.aliases import Value
from study.space.domains import ONE_MINUS, Domain, OptimizerSpace
from study.space.search_space import SearchSpace


def without_equal_values(space: SearchSpace, rows: int) -> tuple[SearchSpace, list[str]]:
    """The space as it can differ on so many training rows, and what became one, in words.

    A space that says nothing twice comes back as it is, its fingerprint too.
    """
    said = []
    head = space.head["batch_size"]
    batch = _within(head, rows)
    if batch != head:
        said.append(
            f"batch_size {_many(head, rows)} means all {rows} training rows: tried once, as {rows}"
        )
        space = _changed(space, ["head"], "batch_size", batch)
        space = replace(space, head={**space.head, "batch_size": batch})
    for name, optimizer in space.optimizers.items():
        if _nesterov_is_idle(optimizer):
            said.append(f"{name}: nesterov changes nothing without momentum: tried once, as false")
            one = Domain(choices=(False,))
            space = _changed(space, ["optimizers", name], "nesterov", one)
            given = {**optimizer.hyperparameters, "nesterov": one}
            changed = {name: optimizer._replace(hyperparameters=given)}
            space = replace(space, optimizers={**space.optimizers, **changed})
    return space, said


def _within(domain: Domain, rows: int) -> Domain:
    """Batch sizes of at most all rows; a single value has no other to be equal to."""
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
        return rows if whole and (isinstance(value, str) or int(value) >= rows) else value

    default = domain.default and used(domain.default)
    return Domain(choices=tuple(dict.fromkeys(map(used, domain.choices))), default=default)


def _many(domain: Domain, rows: int) -> str:
    """The values that are all rows."""
    if not domain.choices:
        return f"above {rows}"
    many = [str(v) for v in domain.choices if isinstance(v, str) or int(v) >= rows]
    return " and ".join(filter(None, (", ".join(many[:-1]), many[-1])))


def _nesterov_is_idle(optimizer: OptimizerSpace) -> bool:
    given, none = optimizer.hyperparameters, Domain(choices=(0.0,))  # Keras's default
    still = given.get("momentum", none).choices == none.choices
    still = still and f"{ONE_MINUS}momentum" not in given
    return optimizer.keras_class == "SGD" and still and not given.get("nesterov", none).fixed


def _changed(space: SearchSpace, path: list[str], key: str, domain: Domain) -> SearchSpace:
    """The space with this domain in its table, so that its fingerprint is another."""
    if domain.choices:
        value: dict[str, Any] = {"choices": list(domain.choices)}
    else:
        scale = "log" if domain.log else "linear"
        value = {"min": domain.low, "max": domain.high, "scale": scale}
    if domain.default is not None:
        value["default"] = domain.default

    def put(table: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
        if not path:
            return {**table, key: value}
        return {**table, path[0]: put(table[path[0]], path[1:])}

    return replace(space, table=put(space.table, path))
