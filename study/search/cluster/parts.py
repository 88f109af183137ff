"""Many images are dealt out to workers, some at a time; what is said of them comes in their order.

What a lost worker had is dealt out again. Each worker has the next part there when one ends.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from study.common.errors import UserError
from study.common.text import printable
from study.features.extract import Picture
from study.search.cluster.remote import Remote
from study.training.places import LOOK_AGAIN, MOST_LOSSES, PlaceLostError

PARTS_AHEAD = 2  # at each worker
T = TypeVar("T", Path, Picture)


class Part(NamedTuple, Generic[T]):
    """Some of the images."""

    first: int  # their position
    images: Sequence[T]
    losses: int = 0  # of workers that had them


class Answer(NamedTuple, Generic[T]):
    """What a worker says of a part."""

    images: Sequence[T]
    found: Any
    remote: Remote


def in_parts(
    images: Sequence[T],
    size: int,
    remotes: Callable[[], list[Remote]],
    method: str,
    *arguments: Any,
) -> Iterator[Answer[T]]:
    """Answers in the order of the images; one that is there waits for those before it.

    Args:
        images: files, or pictures of them.
        size: of a part, at most.
        remotes: the workers that can be asked now, at least one.
        method: of `Worker`, called with the arguments and a part.
        arguments: what every part shares.

    Raises:
        UserError: what the workers or `remotes` raise; or a part kills one worker after the other.
    """
    firsts = range(0, len(images), size)
    waiting = deque(Part(first, images[first : first + size]) for first in firsts)
    flying: dict[Future[Any], tuple[Remote, Part[T]]] = {}
    come: dict[int, Answer[T]] = {}
    done = 0
    while done < len(images):
        for remote, part in _dealt(remotes(), waiting, flying):
            flying[remote.ask(method, *arguments, part.images)] = remote, part
        for future in wait(flying, LOOK_AGAIN, FIRST_COMPLETED).done:
            remote, part = flying.pop(future)
            try:
                come[part.first] = Answer(part.images, future.result(), remote)
            except PlaceLostError as error:
                if part.losses == MOST_LOSSES:
                    raise UserError(_deadly(part.images, error)) from error
                waiting.appendleft(part._replace(losses=part.losses + 1))
        while done in come:
            answer = come.pop(done)
            done += len(answer.images)
            yield answer


def _dealt(
    remotes: list[Remote],
    waiting: deque[Part[T]],
    flying: dict[Future[Any], tuple[Remote, Part[T]]],
) -> Iterator[tuple[Remote, Part[T]]]:
    """Give every worker as much as it can take, the earliest images first."""
    load = Counter(remote.number for remote, _ in flying.values())
    while waiting:
        remote = min(remotes, key=lambda one: load[one.number])
        if load[remote.number] >= PARTS_AHEAD:
            return
        load[remote.number] += 1
        yield remote, waiting.popleft()


def _deadly(images: Sequence[Path] | Sequence[Picture], error: PlaceLostError) -> str:
    first, last = (
        printable(one if isinstance(one, Path) else one.path) for one in (images[0], images[-1])
    )
    return (
        f"`cluster`: {MOST_LOSSES + 1} workers were lost one after the other, each with the images "
        f"from {first} to {last} ({error}): give their machines more memory, or leave `cluster` out"
    )
