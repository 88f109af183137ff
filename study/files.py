"""Files that are either whole or absent: a kill or a full disk never leaves half of one."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) beside `path`, flush it to the disk, rename it into place."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:  # also on Ctrl-C: no litter, and the error goes on
        Path(temporary).unlink(missing_ok=True)
        raise
