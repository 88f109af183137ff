"""Images on their way to workers, what is seen in them and their rows on the way back, in order.

They are dealt out in bundles. What a lost worker had is dealt out again. Each worker has the next
bundle there when one ends.

A worker says of a file what this process would: it has this program and these packages. Whatever it
cannot use is looked at here, too, so what is wrong with a file is told from what is wrong with a
machine: one without the folder would make a problem of every file.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from study.common.errors import UserError
from study.common.text import printable
from study.data.load_images import map_in_threads
from study.data.pixels.decoding import Inspected
from study.features.backbone import Backbone
from study.features.extract import RowSource, RowSources, batch_size
from study.machines.remote import Remote
from study.machines.worker import SAME_PATH, RowOrder
from study.machines.workers import Workers
from study.training.places import MOST_LOSSES, POLL_SECONDS, PlaceLostError

BUNDLES_AHEAD = 2  # at each worker
FEWEST = 2048  # files: of small images so many are looked at here until a worker is there
FILES_AT_ONCE = 128  # in a bundle: of 64 each costs twice as much, of 512 no less
IMAGES_AT_ONCE = 64  # in a bundle, rounded to whole batches
T = TypeVar("T", Path, RowSource)
S = TypeVar("S")


class Bundle(NamedTuple, Generic[T]):
    """Some of the images."""

    first: int  # their position
    images: Sequence[T]
    losses: int = 0  # of workers that had them


class Returned(NamedTuple, Generic[T]):
    """What a worker says of a bundle."""

    images: Sequence[T]
    found: Any
    remote: Remote


def map_on_workers(
    function: Callable[[Path], S], files: Sequence[Path], *, workers: Workers
) -> Iterator[S]:
    """Yield what a function says of each file, in their order; a few are looked at here.

    Raises:
        UserError: a file can be used here and not on a worker's machine, or it kills workers, or
            `function` raises it.
    """
    if len(files) < FEWEST:
        yield from map_in_threads(function, files)
        return
    for returned in in_bundles(files, FILES_AT_ONCE, workers.checked, "look", function):
        for path, one in zip(returned.images, returned.found, strict=True):
            wrong = _wrong(one)
            yield _agreed(function, path, returned.remote.host, wrong) if wrong else one


def _wrong(found: object) -> str:
    """The reason why a file cannot be used; empty if it can."""
    if isinstance(found, UserError):
        return str(found)
    return f"it {found.reason}" if isinstance(found, Inspected) and found.reason else ""


def _agreed(function: Callable[[Path], S], path: Path, host: str, wrong: str) -> S:
    """The result here for a file that a worker could not use.

    Raises:
        UserError: it can be used here, or `function` raises it.
    """
    here = function(path)
    if isinstance(here, Inspected) and not here.digest:  # no image, or a broken one
        return here
    raise UserError(
        f"{printable(path)} can be used here, but not on {host}, a machine of the cluster: "
        f"{wrong}; {SAME_PATH}"
    )


def rows_on_workers(
    pictures: RowSources, *, workers: Workers, backbone: Backbone, order: RowOrder
) -> Iterator[np.ndarray]:
    """Yield rows of the pictures in their order, some at a time, (n, width) float32; see `RowsOf`.

    A worker computes in the same batches as this process would, so they are equal bit by bit.

    Raises:
        UserError: an image is missing on a worker's machine, or has changed; or it kills workers.
    """
    size = batch_size(backbone) * max(1, IMAGES_AT_ONCE // batch_size(backbone))
    for returned in in_bundles(pictures, size, workers.ready, "rows", order):
        yield returned.found


def in_bundles(
    images: Sequence[T],
    size: int,
    remotes: Callable[[], list[Remote]],
    method: str,
    *arguments: Any,
) -> Iterator[Returned[T]]:
    """Yield answers in the order of the images; one that is there waits for those before it.

    Args:
        images: files, or pictures of them.
        size: of a bundle, at most.
        remotes: the workers that can be asked now, at least one.
        method: of `Worker`, called with the arguments and a bundle.
        arguments: what every bundle shares.

    Raises:
        UserError: what the workers or `remotes` raise; or a bundle kills worker after worker.
    """
    firsts = range(0, len(images), size)
    waiting = deque(Bundle(first, images[first : first + size]) for first in firsts)
    flying: dict[Future[Any], tuple[Remote, Bundle[T]]] = {}
    come: dict[int, Returned[T]] = {}
    done = 0
    while done < len(images):
        for remote, bundle in _dealt(remotes(), waiting, flying):
            flying[remote.ask(method, *arguments, bundle.images)] = remote, bundle
        for future in wait(flying, POLL_SECONDS, FIRST_COMPLETED).done:
            remote, bundle = flying.pop(future)
            try:
                come[bundle.first] = Returned(bundle.images, future.result(), remote)
            except PlaceLostError as error:
                if bundle.losses == MOST_LOSSES:
                    raise UserError(_deadly(bundle.images, error)) from error
                waiting.appendleft(bundle._replace(losses=bundle.losses + 1))
        while done in come:
            answer = come.pop(done)
            done += len(answer.images)
            yield answer


def _dealt(
    remotes: list[Remote],
    waiting: deque[Bundle[T]],
    flying: dict[Future[Any], tuple[Remote, Bundle[T]]],
) -> Iterator[tuple[Remote, Bundle[T]]]:
    """Yield (worker, bundle) until every worker has what it can take, the earliest images first."""
    load = Counter(remote.number for remote, _ in flying.values())
    while waiting:
        remote = min(remotes, key=lambda one: load[one.number])
        if load[remote.number] >= BUNDLES_AHEAD:
            return
        load[remote.number] += 1
        yield remote, waiting.popleft()


def _deadly(images: Sequence[Path] | Sequence[RowSource], error: PlaceLostError) -> str:
    first, last = (
        printable(one if isinstance(one, Path) else one.path) for one in (images[0], images[-1])
    )
    return (
        f"`cluster`: {MOST_LOSSES + 1} workers were lost one after the other, each with the images "
        f"from {first} to {last} ({error}): give their machines more memory, or leave `cluster` out"
    )
