"""Files that are either whole or absent: a kill or a full disk never leaves half of one.

A folder that one process alone uses; what processes leave in theirs does not pile up.
"""

import contextlib
import itertools
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")


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


def sweep(folder: Path, *, seconds: float = 0.0) -> None:
    """Delete what killed processes left half-written in `folder`.

    Args:
        folder: whose files `write_atomically` wrote; may be absent.
        seconds: since a file was last written to; another process may still write a newer one.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was faster, or may alone delete it
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime >= seconds:
                path.unlink()


class OwnFolder:
    """A new, empty folder inside `parent`, of this process as long as this object is there.

    Folders have numbers. The system frees the lock of a dead process, however it died, so its
    folder is deleted by whoever takes one next.

    Raises:
        OSError: `parent` cannot be written.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        most = max((int(one.stem) for one in parent.iterdir() if one.stem.isdecimal()), default=0)
        free: list[tuple[Path, FileLock]] = []
        for number in itertools.count():
            if free and number > most:
                break
            lock = FileLock(parent / f"{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue  # its process lives
            folder = parent / str(number)
            if folder.exists():
                shutil.rmtree(folder)
            free.append((folder, lock))
        (self.path, self._lock), *others = free
        self.path.mkdir(mode=0o700)
        for _, lock in others:
            lock.release()
