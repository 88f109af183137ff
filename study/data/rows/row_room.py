"""Room for feature rows: in memory, or on the disk where that is too small."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from study.common.errors import UserError
from study.common.text import printable

MEMORY_PART = 0.5  # of the machine's memory that the rows may fill before they move to the disk
GB = 1e9


def feature_rows(
    count: int, width: int, folder: Path | None, *, memory: int | None = None
) -> np.ndarray:
    """Room for (count, width) float32: in memory, or mapped from a file where that is too small.

    The file lies in `folder` (None: the system's place for temporary files), has no name and goes
    with the process; the system keeps in memory what is in use.

    Args:
        count: rows.
        width: numbers a row.
        folder: with room for 4 bytes a number.
        memory: of the machine in bytes; None asks the system.

    Raises:
        UserError: `folder` has no such room: written through the map, a full disk ends the process.
    """
    needed = count * width * 4
    if needed <= MEMORY_PART * (memory or _memory()):
        return np.empty((count, width), np.float32)
    free = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if needed > free:
        raise UserError(
            f"{count:,} rows of {width:,} numbers take {needed / GB:.1f} GB, more than half of "
            f"this machine's memory, and {printable(folder or tempfile.gettempdir())} has "
            f"{free / GB:.1f} GB free: give `cache_dir` a folder with more room"
        )
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(needed)
        return np.memmap(file, np.float32, "r+", shape=(count, width))


def _memory() -> int:
    """Bytes of memory in this machine; unlimited where the system does not say (Windows)."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
