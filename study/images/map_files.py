"""A function of a file, asked of many files: in threads of this process, or where a caller says."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

BATCH = (
    512  # files handed to the threads at once, so that Ctrl-C and a million files are no trouble
)
T = TypeVar("T")


class MapFiles(Protocol):
    """Has a function called on every file, perhaps by other processes."""

    def __call__(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """What it says of each, in their order."""


def map_in_threads(function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
    """The `MapFiles` of one process."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), BATCH):
            yield from threads.map(function, files[start : start + BATCH])
