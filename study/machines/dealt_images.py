"""Images go to workers in bundles; what is found in them, or their rows, comes back in order.

Each worker has its next bundle when one ends, and the bundles of a lost worker are reassigned. A
worker finds in a file what this process would, since it has the same program and packages. A file
that it cannot use is inspected here, too, which separates a bad file from a bad machine: on a
machine without the folder every file would look bad.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast

import numpy as np
from jaxtyping import Float32

from study.common.errors import UserError
from study.data.load_images import map_in_threads
from study.data.pixels.decoding import Inspected
from study.features.backbone import Backbone
from study.features.extract import RowSource, batch_size
from study.machines.remote import Remote
from study.machines.worker import SAME_PATH, RowOrder
from study.machines.workers import Workers
from study.training.places import MOST_LOSSES, POLL_SECONDS, PlaceLostError

BUNDLES_AHEAD = 2  # at each worker
FEWEST = 2048  # files: fewer are inspected here, sooner than a worker is ready
FILES_AT_ONCE = 128  # in a bundle; with 64 each file costs twice as much, with 512 no less
IMAGES_AT_ONCE = 64  # in a bundle, rounded to full batches
T = TypeVar("T", Path, RowSource)
S = TypeVar("S")


class Bundle(NamedTuple, Generic[T]):
    """Consecutive images that travel together."""

    first: int  # position of the first image
    images: Sequence[T]
    losses: int = 0  # of workers that had the bundle


def map_on_workers(
    function: Callable[[Path], S], files: Sequence[Path], *, workers: Workers
) -> Iterator[S]:
    """Yield the result of a function for each file, in their order; few files are read here.

    Raises:
        UserError: a file can be used here but not on a worker's machine, or makes workers die, or
            `function` raises it.
    """
    if len(files) < FEWEST:
        yield from map_in_threads(function, files)
        return
    for paths, results, remote in in_bundles(
        files, FILES_AT_ONCE, workers.checked, "inspect", function
    ):
        for path, one in zip(paths, results, strict=True):
            yield _agreed(function, path, one, remote.host)


def _agreed(function: Callable[[Path], S], path: Path, found: Any, host: str) -> S:
    """Return a worker's result; for a file that it could not use the one here, if equally bad."""
    if isinstance(found, UserError):
        wrong = str(found)
    elif isinstance(found, Inspected) and found.reason:
        wrong = f"it {found.reason}"
    else:
        return cast("S", found)
    here = function(path)
    if isinstance(here, Inspected) and not here.digest:  # not an image, or a damaged one
        return here
    raise UserError(
        f"{path} can be used here, but not on {host}, a machine of the cluster: "
        f"{wrong}; {SAME_PATH}"
    )


def rows_on_workers(
    sources: Sequence[RowSource], *, workers: Workers, backbone: Backbone, order: RowOrder
) -> Iterator[Float32[np.ndarray, "_ d"]]:
    """Yield the rows of the sources in their order, some at a time; see `RowsOf`.

    A worker computes in the same batches as this process would, so the rows are equal bit by bit.

    Raises:
        UserError: an image is missing on a worker's machine, has changed, or makes workers die.
    """
    size = batch_size(backbone) * max(1, IMAGES_AT_ONCE // batch_size(backbone))
    for _, rows, _ in in_bundles(sources, size, workers.ready, "rows", order):
        yield rows


def in_bundles(
    images: Sequence[T],
    size: int,
    remotes: Callable[[], list[Remote]],
    method: str,
    *arguments: Any,
) -> Iterator[tuple[Sequence[T], Any, Remote]]:
    """Yield (images, answer, worker) in the order of the images, early answers after a wait.

    Args:
        images: files, or sources of rows.
        size: of a bundle, at most.
        remotes: returns the workers that can be asked now, at least one.
        method: of `Worker`, called with the arguments and a bundle's images.
        arguments: the same for all bundles.

    Raises:
        UserError: the workers or `remotes` raise it, or a bundle is lost with worker after worker.
    """
    firsts = range(0, len(images), size)
    waiting = deque(Bundle(first, images[first : first + size]) for first in firsts)
    sent: dict[Future[Any], tuple[Remote, Bundle[T]]] = {}
    come: dict[int, tuple[Sequence[T], Any, Remote]] = {}
    done = 0
    while done < len(images):
        for remote, bundle in _dealt(remotes(), waiting, sent):
            sent[remote.ask(method, *arguments, bundle.images)] = remote, bundle
        for future in wait(sent, POLL_SECONDS, FIRST_COMPLETED).done:
            remote, bundle = sent.pop(future)
            try:
                come[bundle.first] = bundle.images, future.result(), remote
            except PlaceLostError as error:
                if bundle.losses == MOST_LOSSES:
                    raise UserError(_deadly(bundle.images, error)) from error
                waiting.appendleft(bundle._replace(losses=bundle.losses + 1))
        while done in come:
            returned = come.pop(done)
            done += len(returned[0])
            yield returned


def _dealt(
    remotes: list[Remote],
    waiting: deque[Bundle[T]],
    sent: dict[Future[Any], tuple[Remote, Bundle[T]]],
) -> Iterator[tuple[Remote, Bundle[T]]]:
    """Yield (worker, bundle) until each worker has as many as it can take, first images first."""
    load = Counter(remote.number for remote, _ in sent.values())
    while waiting:
        remote = min(remotes, key=lambda one: load[one.number])
        if load[remote.number] >= BUNDLES_AHEAD:
            return
        load[remote.number] += 1
        yield remote, waiting.popleft()


def _deadly(images: Sequence[Path] | Sequence[RowSource], error: PlaceLostError) -> str:
    first, last = (one if isinstance(one, Path) else one.path for one in (images[0], images[-1]))
    return (
        f"`cluster`: {MOST_LOSSES + 1} workers were lost one after the other, each with the images "
        f"from {first} to {last} ({error}): give their machines more memory, or leave `cluster` out"
    )
