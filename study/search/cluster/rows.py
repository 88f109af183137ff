"""Images on their way to workers, rows on their way back, in the order of the images."""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple

import numpy as np

from study.features.backbone import Backbone
from study.features.extract import Pictures, batch_size
from study.search.cluster.remote import Remote
from study.search.cluster.worker import RowSetting
from study.search.cluster.workers import Workers
from study.training.places import LOOK_AGAIN, MOST_LOSSES, PlaceLostError

PART = 64  # images that are sent at once, rounded to whole batches
PARTS_AHEAD = 2  # at each worker: the next is there when one ends


class Part(NamedTuple):
    """Some of the images."""

    first: int  # their position
    pictures: Pictures
    losses: int = 0  # of workers that had them


def rows_on_workers(
    pictures: Pictures, *, workers: Workers, backbone: Backbone, setting: RowSetting
) -> Iterator[np.ndarray]:
    """Rows of the pictures in their order, part by part, (n, width) float32; see `RowsOf`.

    A worker computes in the same batches as this process would, so they are equal bit by bit. What
    a lost worker had is dealt out again; rows that came are kept until those before them are there.

    Raises:
        UserError: an image is missing on a worker's machine, or has changed; or it kills workers.
    """
    most = batch_size(backbone) * max(1, PART // batch_size(backbone))
    waiting = deque(
        Part(first, pictures[first : first + most]) for first in range(0, len(pictures), most)
    )
    flying: dict[Future[np.ndarray], tuple[Remote, Part]] = {}
    come: dict[int, np.ndarray] = {}
    done = 0
    while done < len(pictures):
        _send(workers.ready(), waiting, flying, setting)
        for future in wait(flying, LOOK_AGAIN, FIRST_COMPLETED).done:
            _, part = flying.pop(future)
            try:
                come[part.first] = future.result()
            except PlaceLostError as error:
                if part.losses == MOST_LOSSES:
                    raise MemoryError(f"images lost with {MOST_LOSSES + 1} workers") from error
                waiting.appendleft(part._replace(losses=part.losses + 1))
        while done in come:
            found = come.pop(done)
            done += len(found)
            yield found


def _send(
    remotes: list[Remote],
    waiting: deque[Part],
    flying: dict[Future[np.ndarray], tuple[Remote, Part]],
    setting: RowSetting,
) -> None:
    """Give every worker as much as it can take, the earliest images first."""
    load = Counter(remote.number for remote, _ in flying.values())
    while waiting:
        remote = min(remotes, key=lambda one: load[one.number])
        if load[remote.number] >= PARTS_AHEAD:
            return
        part = waiting.popleft()
        load[remote.number] += 1
        flying[remote.ask("rows", setting, part.pictures)] = remote, part
