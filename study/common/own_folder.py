"""A folder that one process alone uses; what processes leave in theirs does not pile up."""

import itertools
import shutil
from pathlib import Path

from filelock import FileLock, Timeout


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
