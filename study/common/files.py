"""Files that are either whole or absent: a kill or a full disk never leaves half of one."""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write `content` (text as UTF-8) beside `path`, flush it to the disk, rename it into place.

    Parts of a text are written one after the other: a large file need not fit into the memory.
    """
    parts = [content] if isinstance(content, bytes | str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:100]}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:  # with the user's own permissions, as mkstemp has not
            for part in parts:
                file.write(part.encode() if isinstance(part, str) else part)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also on Ctrl-C: no litter, and the error goes on
        temporary.unlink(missing_ok=True)
        raise
