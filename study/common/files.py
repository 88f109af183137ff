"""Files that are either whole or absent: a kill or a full disk never leaves half of one."""

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) beside `path`, flush it to the disk, rename it into place."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:100]}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("xb") as file:  # with the user's own permissions, as mkstemp has not
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # also on Ctrl-C: no litter, and the error goes on
        temporary.unlink(missing_ok=True)
        raise
