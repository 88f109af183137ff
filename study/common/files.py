"""Files and folders that survive a kill: whole files only, and folders of one process each.

A kill or a full disk never leaves half a file under its name, and what dead processes left behind
is deleted by the next one.
"""

import contextlib
import itertools
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

HALF_WRITTEN = 60.0  # seconds; older temporary files belong to a report that was killed
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp(\.keras)?")


def write_atomically(path: Path, content: bytes | str | Iterable[str]) -> None:
    """Write `content` (text as UTF-8) beside `path`, flush it to the disk, rename it into place.

    Pieces of text are written one after the other: a large file need not fit into the memory.
    """
    pieces = [content] if isinstance(content, bytes | str) else content
    with replacing(path) as temporary, temporary.open("xb") as file:  # with the user's permissions
        for piece in pieces:
            file.write(piece.encode() if isinstance(piece, str) else piece)


@contextlib.contextmanager
def replacing(path: Path, ending: str = "") -> Iterator[Path]:
    """Yield a new name beside `path`, with this ending; what is written there is renamed to `path`.

    It is flushed to the disk first. After an error or Ctrl-C it is deleted.

    Raises:
        OSError: of the disk; it names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name[:100]}.{uuid.uuid4().hex}.tmp{ending}"
    try:
        with _naming(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of the disk name this file: some name none, or a temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines of text, given without their ends, and flush them to the disk."""
    text = "".join(f"{line}\n" for line in lines)
    if not text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path), path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sweep(folder: Path, *, seconds: float = 0.0) -> None:
    """Delete the temporary files of killed processes in a folder, which may be absent.

    Another process may still be writing one of fewer `seconds`.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was faster, or alone may delete it
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime >= seconds:
                path.unlink()


def is_private(folder: Path) -> bool:
    """Return whether only this user, root and perhaps a group can write a folder that exists."""
    if not hasattr(os, "geteuid"):  # Windows
        return True
    found = folder.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH


class OwnFolder:
    """A new, empty folder inside `parent` that belongs to this process while the object lives.

    Folders have numbers. The system frees the lock of a dead process, however it died, and its
    folder is deleted when the next process creates one.

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
