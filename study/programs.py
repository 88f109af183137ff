"""Compiled programs on disk: a folder goes in, TensorFlow finds there what it once compiled.

XLA needs a second or two for each program; its own file cache brings one back in a third of that.
It looks a program up by its graph, names included, and TensorFlow numbers names in the order in
which a process happens to make them. So while a program is traced the numbers come from its
signature (`fixed_names`). Should TensorFlow stop asking for them there, programs are only compiled
again.

TensorFlow checks nothing that it reads. So a program is used only if the digest beside it fits
(`seal` writes it); others are deleted at the start, before TensorFlow looks.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path

from study.files import write_atomically

PROGRAMS = "programs"
MOST_FILES = 400  # of about a megabyte; the oldest go first
ROOM = 100 * 2**20  # bytes that must be free, else nothing is kept
_SEAL = ".sha256"

_numbers = threading.local()  # .next: the numbers of the program that this thread traces
_sealing = threading.Lock()
_kept: list[Path] = []  # the folder in use, if any


def keep_programs(cache_dir: Path | None) -> Path | None:
    """Use the folder of this machine and these versions; call it before TensorFlow is imported.

    Returns:
        the folder; None, and programs are compiled every time, where it cannot be written.
    """
    folder = (cache_dir or user_cache_path("optimizer-study")) / PROGRAMS / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(folder)
        if shutil.disk_usage(folder).free < ROOM or not os.access(folder, os.W_OK):
            return None
    except OSError:
        return None
    given = os.environ.get("TF_XLA_FLAGS", "")
    os.environ["TF_XLA_FLAGS"] = (
        f"--tf_xla_persistent_cache_directory={folder} "
        f"--tf_xla_persistent_cache_device_types=CPU,XLA_CPU_JIT {given}"
    )
    _kept[:] = [folder]
    return folder


def _machine() -> str:
    """A digest of what a compiled program depends on besides itself."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in text.splitlines() if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    parts = (
        platform.machine(), flags, os.cpu_count(), metadata.version("tensorflow"),
        os.environ.get("XLA_FLAGS", ""),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _sweep(folder: Path) -> None:
    """Delete what is damaged or was left unsealed by a kill, and the oldest beyond `MOST_FILES`."""
    whole = []
    for path in folder.iterdir():
        if path.suffix != ".pb":
            continue
        seal = path.with_suffix(_SEAL)
        if seal.exists() and seal.read_text(errors="replace") == _digest(path):
            whole.append(path)
            continue
        if seal.exists():
            print(f"warning: {path} is damaged; it is compiled again", file=sys.stderr)
        path.unlink(missing_ok=True)
    whole.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in whole[MOST_FILES:]:
        path.unlink(missing_ok=True)
    for path in folder.iterdir():  # seals without a program, what TensorFlow did not finish
        if path.suffix != ".pb" and not path.with_suffix(".pb").exists():
            path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal() -> None:
    """Write the digests of programs that were compiled since; an error costs only their reuse."""
    with _sealing, contextlib.suppress(OSError):
        for folder in _kept:
            for path in folder.glob("*.pb"):
                if not path.with_suffix(_SEAL).exists():
                    write_atomically(path.with_suffix(_SEAL), _digest(path))


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """TensorFlow's error about a file of the folder becomes an OSError, no lack of memory."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        for folder in _kept:
            if str(folder) in str(error.message):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


@contextlib.contextmanager
def fixed_names(key: str) -> Iterator[None]:
    """While this thread traces, number its functions and loops by `key`, not by their turn."""
    from tensorflow.python.framework import ops

    start = int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") << 14  # below 2**63
    if not hasattr(ops.uid, "theirs"):
        ops.uid = _numbered(ops.uid)
    _numbers.next = itertools.count(start)
    try:
        yield
    finally:
        _numbers.next = None


def _numbered(theirs: Callable[[], int]) -> Callable[[], int]:
    def uid() -> int:
        numbers = getattr(_numbers, "next", None)
        return theirs() if numbers is None else next(numbers)

    uid.theirs = theirs  # type: ignore[attr-defined]
    return uid
