"""Files on their way to workers, what is seen in them on its way back, in the order of the files.

A worker says of a file what this process would: it has this program and these packages. Whatever it
cannot use is looked at here, too, so what is wrong with a file is told from what is wrong with a
machine: one without the folder would make a problem of every file.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from study.common.errors import UserError
from study.common.text import printable
from study.data.load_images import map_in_threads
from study.data.pixels.decoding import Looked
from study.search.cluster.parts import in_parts
from study.search.cluster.worker import SAME_PATH
from study.search.cluster.workers import Workers

FEWEST = 2048  # files: of small images so many are looked at here until a worker is there
PART = 128  # files that are sent at once: of 64 each costs twice as much, of 512 no less
T = TypeVar("T")


def map_on_workers(
    function: Callable[[Path], T], files: Sequence[Path], *, workers: Workers
) -> Iterator[T]:
    """The `MapFiles` of a cluster; a few files are looked at in this process.

    Raises:
        UserError: a file can be used here and not on a worker's machine, or it kills workers, or
            `function` raises it.
    """
    if len(files) < FEWEST:
        yield from map_in_threads(function, files)
        return
    for part, found, remote in in_parts(files, PART, workers.checked, "look", function):
        for path, one in zip(part, found, strict=True):
            wrong = _wrong(one)
            yield _agreed(function, path, remote.host, wrong) if wrong else one


def _wrong(found: object) -> str:
    """Why a file cannot be used."""
    if isinstance(found, UserError):
        return str(found)
    return f"it {found.reason}" if isinstance(found, Looked) and found.reason else ""


def _agreed(function: Callable[[Path], T], path: Path, host: str, wrong: str) -> T:
    """What is said here of a file that a worker could not use.

    Raises:
        UserError: it can be used here, or `function` raises it.
    """
    here = function(path)
    if isinstance(here, Looked) and not here.digest:  # no image, or a broken one
        return here
    raise UserError(
        f"{printable(path)} can be used here, but not on {host}, a machine of the cluster: "
        f"{wrong}; {SAME_PATH}"
    )
