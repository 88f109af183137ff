"""Which machines a worker can begin on, and whether a worker fits the others and the driver."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from study.common.errors import UserError
from study.common.text import join
from study.training.places import PlaceLostError


class Likeness(NamedTuple):
    """What workers of one study share."""

    kind: str
    dtype: str
    rounding: str  # of `rounding_digest`


def machines(*, gpu: bool) -> Iterator[tuple[str, dict[str, float], int]]:
    """(node, resources of a worker, how many workers) of those that have what is needed.

    A worker computes on a whole GPU, which TensorFlow cannot share, or on all cores of a machine.
    """
    import ray

    for node in ray.nodes():
        has = node["Resources"]
        cpus, gpus = has.get("CPU", 0.0), int(has.get("GPU", 0.0))
        if node["Alive"] and gpu and gpus:
            yield node["NodeID"], {"num_gpus": 1, "num_cpus": cpus // gpus}, gpus
        elif node["Alive"] and not gpu and cpus >= 1:
            yield node["NodeID"], {"num_cpus": cpus}, 1


def fits(one: Likeness, recorded: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    """Whether a worker is what `recorded` says, as far as it does."""
    return all(getattr(one, key) == recorded.get(key, getattr(one, key)) for key in keys)


def told(answer: Future[Any]) -> Any:
    """Its answer; whatever goes wrong before it can work refuses it.

    Raises:
        UserError: it cannot begin.
        PlaceLostError: it is gone.
    """
    try:
        return answer.result()
    except (UserError, PlaceLostError):
        raise
    except MemoryError as error:
        raise UserError("the rows do not fit into its memory") from error
    except Exception as error:
        raise UserError(f"it cannot begin ({type(error).__name__}: {error})") from error


def check_identity(found: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Compare what `Worker.identity` says there and here.

    Raises:
        UserError: it has another version of this program or a package.
    """
    other = [
        f"{name} {found.get(name)}, here {own[name]}"
        for name in own
        if found.get(name) != own[name]
    ]
    if other:
        raise UserError(
            f"it has another version of {join(other)}: install the same program and packages on "
            "every machine"
        )


def unlike(one: Likeness, like: Likeness) -> str:
    """How a worker differs from the others, in words."""
    if one[:2] != like[:2]:
        return (
            f"it computes on a {one.kind} in {one.dtype}, the others on a {like.kind} in "
            f"{like.dtype}"
        )
    return (
        f"it rounds otherwise than the others ({one.rounding}, they {like.rounding}), so its runs "
        "would differ in their last digits: another processor, or another number of threads"
    )
