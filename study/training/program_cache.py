"""Programs on disk: a key goes in, a compiled function comes out, traced only where it is new.

Tracing a program takes Python half a second and XLA another two. Two files spare both: the traced
graph (`.graph`, a `FunctionDefLibrary`), and what XLA made of it (`.pb`), kept by its own file
cache. XLA looks a program up by its graph, names included, and TensorFlow numbers names in the
order in which a process happens to make them, so the functions of a graph are named after its key.

TensorFlow checks nothing that it reads: which files it sees is up to `ProgramFiles`.

Files that processes make and share: whole, whoever writes, dies or sweeps at the same moment.

In the shared folder the name of a file ends in the digest of its content, and a rename puts it
there. So anybody can see whether it is what its maker vouched for, and nothing else ever takes its
place. But XLA names its files itself, replaces them, looks for them at any moment and checks
nothing. So each process has a folder of its own, which no other touches: of links to what it has
checked, and of what it makes.
"""

import ast
import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from platformdirs import user_cache_path

from study.common.files import OwnFolder, write_atomically

PACKAGE = Path(__file__).parents[1]
ROOTS = ("training/program.py", "training/schedules.py")  # the graph, and what is fed to it
PROGRAMS = "programs"
PROCESSES = "processes"
LAYOUT = 2  # of the folder; versions of this program with another one would delete its files
ROOM = 100 * 2**20  # bytes that must be free, else nothing is kept
_FLAGS = (
    '--tf_xla_persistent_cache_directory="{}" '
    "--tf_xla_persistent_cache_device_types=CPU,XLA_CPU_JIT"
)
_TOLD = re.compile(_FLAGS.format(rf'(?:[^"\\]|\\.)*{PROCESSES}(?:/|\\\\)\d+') + " ")
_adding = threading.Lock()

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


_kept: list[ProgramFiles] = []  # the last is in use; XLA stays with what it was told first


class Compilation(NamedTuple):
    """How long a program took to be there, by `time.monotonic`."""

    start: float
    end: float
    kept: bool  # it was read from the disk


def keep_programs(cache_dir: Path | None) -> Path | None:
    """Use the folder of this machine and these versions; call it before TensorFlow is imported.

    Called later, as a notebook may, graphs are kept, but what XLA makes of them is not.

    Returns:
        the folder; None, and programs are compiled every time, where it cannot be written.
    """
    programs = (cache_dir or user_cache_path("optimizer-study")) / PROGRAMS
    shared = programs / _machine()
    try:
        shared.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(shared)
        if shutil.disk_usage(shared).free < ROOM or not os.access(shared, os.W_OK):
            return None
        known = [files for files in _kept if files.shared == shared]
        files = known[0] if known else ProgramFiles(shared, programs / PROCESSES)
        files.take()
    except (OSError, NotImplementedError):  # the latter of `filelock`, where a disk has no locks
        return None
    _kept[:] = [*(other for other in _kept if other is not files), files]
    _tell_xla(files.own)
    return shared


def _tell_xla(folder: Path) -> None:
    """Set the folder, in place of one that this process or its parent has set before."""
    quoted = re.sub(r'["\\]', r"\\\g<0>", str(folder))
    given = _TOLD.sub("", os.environ.get("TF_XLA_FLAGS", ""))  # comes last, so it stays in force
    os.environ["TF_XLA_FLAGS"] = f"{_FLAGS.format(quoted)} {given}"


def _machine() -> str:
    """A digest of what a compiled program depends on besides itself, and of how files are named."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in text.splitlines() if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    parts = (
        LAYOUT, platform.machine(), flags, os.cpu_count(), metadata.version("tensorflow"),
        os.environ.get("XLA_FLAGS", ""),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def seal() -> None:
    """Publish programs that were made since; an error costs only their reuse."""
    with contextlib.suppress(OSError):
        for files in _kept:
            files.publish()


def function_of(key: str, trace: Callable[[], Any]) -> Callable[[list[Any]], list[Any]]:
    """The program of a key: from this process, from the folder, or traced now and kept.

    Args:
        key: all that decides the graph, besides the code and the versions.
        trace: makes the concrete function of a `tf.function` of flat arguments, without captures.

    Returns:
        the function, from a flat list of tensors to a flat list of tensors.
    """
    from tensorflow.python.eager import context

    name = _name(key)
    runtime = context.context()
    with _adding:
        if not runtime.has_function(name):
            for definition in _definitions(name, key, trace):
                runtime.add_function_def(definition)
    outputs = len(runtime.get_function_def(name).signature.output_arg)
    return lambda flat: runtime.call_function(name.encode(), flat, outputs)


def is_kept(key: str) -> bool:
    """Whether the program of a key would be found in the folder, and nothing compiled."""
    return any(files.find(_graph(key)) for files in _kept[-1:])


def _name(key: str) -> str:
    return f"program_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _graph(key: str) -> str:
    """The name of the file with the graph of a key."""
    made_of = hashlib.sha256(f"{key} {_code()}".encode()).hexdigest()[:16]
    return f"{_name(key)}-{made_of}{GRAPH}"


def _definitions(name: str, key: str, trace: Callable[[], Any]) -> Any:
    """The graph's functions."""
    from tensorflow.core.framework import function_pb2

    for files in _kept[-1:]:
        if path := files.find(_graph(key)):
            return function_pb2.FunctionDefLibrary.FromString(path.read_bytes()).function
    concrete = trace()
    if concrete.captured_inputs:
        raise ValueError(f"the program reads tensors that are no arguments: {concrete.graph}")
    library = concrete.graph.as_graph_def().library
    library.function.append(concrete.function_def)
    _rename(library, name)
    for files in _kept[-1:]:
        with contextlib.suppress(OSError):  # costs only its reuse
            write_atomically(files.own / _graph(key), library.SerializeToString(deterministic=True))
    return library.function


def deciding_files(package: Path = PACKAGE) -> list[Path]:
    """The files of `study/` that decide a program: those of `ROOTS` and all they import."""
    found: set[Path] = set()
    waiting = [package / root for root in ROOTS]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith("study."):
                waiting.append(package.parent / f"{module.replace('.', '/')}.py")
    return sorted(found)


def code_digest(package: Path = PACKAGE) -> str:
    """Sha256 of those files, hex."""
    return hashlib.sha256(b"".join(p.read_bytes() for p in deciding_files(package))).hexdigest()


@functools.cache
def _code() -> str:
    """What a traced graph depends on besides its key: our code, Keras and its settings."""
    import keras

    settings = (keras.__version__, keras.config.floatx(), keras.config.epsilon())
    return repr((code_digest(), *settings))


def _rename(library: Any, name: str) -> None:
    """Name the last function `name` and the others after it, by the order they were made in."""
    *parts, whole = [definition.signature.name for definition in library.function]
    parts.sort(key=lambda part: int(part.rpartition("_")[2]))  # TensorFlow's running number
    names = {part: f"{name}_{number}" for number, part in enumerate(parts)} | {whole: name}
    for definition in library.function:
        definition.signature.name = names[definition.signature.name]
        for node in definition.node_def:
            node.op = names.get(node.op, node.op)
            for attribute in node.attr.values():
                for called in [attribute.func, *attribute.list.func]:
                    if called.name:
                        called.name = names[called.name]


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """TensorFlow's error about a file of the folder becomes an OSError, no lack of memory."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        for files in _kept:
            if str(files.own) in str(error.message):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(files.own)) from error
        raise
