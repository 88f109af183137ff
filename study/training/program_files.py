"""Files that processes make and share: whole, whoever writes, dies or sweeps at the same moment.

In the shared folder the name of a file ends in the digest of its content, and a rename puts it
there. So anybody can see whether it is what its maker vouched for, and nothing else ever takes its
place. But XLA names its files itself, replaces them, looks for them at any moment and checks
nothing. So each process has a folder of its own, which no other touches: of links to what it has
checked, and of what it makes.
"""

import contextlib
import hashlib
import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path

from study.common.files import write_atomically
from study.common.own_folder import OwnFolder

GRAPH, COMPILED = ".graph", ".pb"
MOST_FILES = 800  # of a quarter to a whole megabyte; the oldest go first
HALF_WRITTEN = 3600  # seconds after which nobody finishes a file any more
_SHARED = re.compile(rf"(.+)\.([0-9a-f]{{64}})({GRAPH}|{COMPILED})")


class ProgramFiles:
    """The shared folder as this process sees it.

    Args:
        shared: is there.
        processes: where processes have their own folders, on the same disk.

    Raises:
        OSError: of the disk.
    """

    def __init__(self, shared: Path, processes: Path) -> None:
        self.shared = shared
        self._folder = OwnFolder(processes)
        self.own = self._folder.path
        self._published: set[str] = set()  # names in `own`, by this process or another
        self._busy = threading.Lock()

    def take(self) -> None:
        """Have in `own` what others have published; what is damaged is named and deleted."""
        with self._busy:
            made = {path.name for path in self.own.iterdir()}
            for path in self.shared.iterdir():
                found = _SHARED.fullmatch(path.name)
                name = found[1] + found[3] if found else ""
                if found and name not in made | self._published:
                    with contextlib.suppress(FileNotFoundError):  # swept by another process
                        self._take(path, name, found[2])

    def _take(self, path: Path, name: str, digest: str) -> None:
        unchecked = self.own / f"{name}.unchecked"  # XLA does not look at it yet
        try:
            _link(path, unchecked)
            if _digest(unchecked.read_bytes()) == digest:
                unchecked.replace(self.own / name)
                self._published.add(name)
                return
        finally:
            unchecked.unlink(missing_ok=True)
        print(f"warning: {path} is damaged; it is made again", file=sys.stderr)
        path.unlink(missing_ok=True)

    def find(self, name: str) -> Path | None:
        """A checked file, also one that another process has published since."""
        if name not in self._published:
            with contextlib.suppress(OSError):  # costs only its reuse
                self.take()
        path = self.own / name
        return path if name in self._published and path.exists() else None

    def publish(self) -> None:
        """Share what was made since.

        Raises:
            OSError: the disk is full; the next call tries again.
        """
        with self._busy:
            made = [path for path in self.own.iterdir() if path.suffix in (GRAPH, COMPILED)]
            for path in sorted(made, key=lambda path: path.suffix == GRAPH):  # who sees it has all
                if path.name not in self._published:
                    content = path.read_bytes()
                    name = f"{path.stem}.{_digest(content)}{path.suffix}"
                    write_atomically(self.shared / name, content)
                    self._published.add(path.name)


def sweep(shared: Path) -> None:
    """Delete the oldest files beyond `MOST_FILES`, and what nobody finishes or knows any more."""
    ages = _ages(shared)
    whole = [path for path in ages if _SHARED.fullmatch(path.name)]
    whole.sort(key=lambda path: ages[path])
    others = [path for path in ages.keys() - whole if ages[path] > HALF_WRITTEN]
    for path in whole[MOST_FILES:] + others:
        path.unlink(missing_ok=True)


def _ages(folder: Path) -> dict[Path, float]:
    """Files -> seconds since they were written."""
    now, found = time.time(), {}
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # swept by another process
            found[path] = now - path.stat().st_mtime
    return found


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _link(path: Path, new: Path) -> None:
    """A second name of a file, or a copy where the disk has none."""
    try:
        os.link(path, new)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, new)
