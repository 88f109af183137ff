"""Room for feature rows: in memory, or on the disk where that is too small."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from study.common.errors import UserError
from study.common.memory import usable_memory

MEMORY_FRACTION = 0.5  # of the usable memory that rows may fill before they go to the disk
GB = 1e9


def feature_rows(
    count: int, width: int, folder: Path | None, *, memory: int | None = None
) -> Float32[np.ndarray, "{count} {width}"]:
    """Return room for rows: in memory, or mapped from a file where that is too small.

    The file has no name and is gone when the process ends; the system keeps in memory what is in
    use. It is in `folder`; None: in the system's folder for temporary files. So much `memory` may
    be used, in bytes; None asks the system.

    Raises:
        UserError: `folder` lacks the room: written through the map, a full disk ends the process.
    """
    needed = count * width * 4
    if needed <= MEMORY_FRACTION * (memory or usable_memory()):
        return np.empty((count, width), np.float32)
    place = folder or tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{count:,} rows of {width:,} numbers take {needed / GB:.1f} GB, more than half of "
            f"the memory that may be used here, and {place} has {free / GB:.1f} GB "
            "free: free some space there, or give a search a `cache_dir` with more room"
        )
    with tempfile.TemporaryFile(dir=place) as file:
        file.truncate(needed)
        return np.memmap(file, np.float32, "r+", shape=(count, width))
