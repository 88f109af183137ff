"""Programs on disk: a key goes in, a compiled function comes out, traced only if it is new.

Tracing a program takes Python half a second and XLA another two. Two files save both: the traced
graph (`.graph`, a `FunctionDefLibrary`), and what XLA made of it (`.pb`), kept by its own file
cache. XLA finds a program by its graph, names included, and TensorFlow numbers names in the order
in which a process makes them, so the functions of a graph are named after its key. Many processes
share these files and may die at any moment. In the shared folder the name of a file ends in the
digest of its content, and a rename puts it there: any process can check it, and it is never
replaced. XLA, however, names its files itself, replaces them, looks for them at any moment and
checks nothing. So each process has a folder of its own, with links to files that it has checked,
and with the files that it makes.
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
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from platformdirs import user_cache_path

from study.common.errors import warn
from study.common.files import OwnFolder, is_private, write_atomically

PACKAGE = Path(__file__).parents[1]
ROOTS = ("training/program.py", "training/schedules.py")  # the graph, and what it is given
PROGRAMS = "programs"
PROCESSES = "processes"
FOLDER_VERSION = 2  # otherwise other versions of this program would delete the files
ROOM = 100 * 2**20  # bytes that must be free, else nothing is kept
MOST_FILES = 800  # of a quarter to a whole megabyte; the oldest are deleted first
HALF_WRITTEN = 3600  # seconds after which an unfinished file is deleted
GRAPH, COMPILED = ".graph", ".pb"
_SHARED = re.compile(rf"(.+)\.([0-9a-f]{{64}})({GRAPH}|{COMPILED})")
_FLAGS = (
    '--tf_xla_persistent_cache_directory="{}" '
    "--tf_xla_persistent_cache_device_types=CPU,XLA_CPU_JIT"
)
_OWN_FLAGS = re.compile(_FLAGS.format(rf'(?:[^"\\]|\\.)*{PROCESSES}(?:/|\\\\)\d+') + " ")

# Folders that this process has used; the last is in use, but XLA keeps the first it was given. Only
# `keep_programs` changes the list, before any thread trains; threads may only read it.
_kept: "list[ProgramFiles]" = []
# Held by the one thread that looks for a function in TensorFlow's runtime, which all threads share,
# and adds it there.
_adding = threading.Lock()


class Compilation(NamedTuple):
    """How long it took to make a program, by `time.monotonic`."""

    start: float
    end: float
    kept: bool  # whether it was read from the disk


def keep_programs(cache_dir: Path | None) -> Path | None:
    """Use and return the folder of this machine and these versions, before TensorFlow is imported.

    If called later, as in a notebook, graphs are kept, but what XLA makes of them is not. None: it
    cannot be written, so programs are compiled every time.
    """
    programs = (cache_dir or user_cache_path("optimizer-study")) / PROGRAMS
    shared = programs / _machine()
    try:
        for folder in (programs, shared):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not is_private(folder):
                warn(
                    f"{folder} belongs to another user or can be written by all, so no "
                    "compiled program there is used or kept; give --cache-dir a folder of your own"
                )
                return None
        sweep(shared)
        if shutil.disk_usage(shared).free < ROOM or not os.access(shared, os.W_OK):
            return None
        known = [files for files in _kept if files.shared == shared]
        files = known[0] if known else ProgramFiles(shared, programs / PROCESSES)
        files.take()
    except (OSError, NotImplementedError):  # `filelock` raises the latter on a disk without locks
        return None
    _kept[:] = [*(other for other in _kept if other is not files), files]
    _give_xla(files.own)
    return shared


def _give_xla(folder: Path) -> None:
    """Set the folder, in place of one that this process or its parent has set before."""
    quoted = re.sub(r'["\\]', r"\\\g<0>", str(folder))
    given = _OWN_FLAGS.sub("", os.environ.get("TF_XLA_FLAGS", ""))  # comes last, so it has priority
    os.environ["TF_XLA_FLAGS"] = f"{_FLAGS.format(quoted)} {given}"


def _machine() -> str:
    """Return a digest of what a compiled program depends on, and of how files are named."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in text.splitlines() if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    facts = (
        FOLDER_VERSION, platform.machine(), flags, os.cpu_count(), metadata.version("tensorflow"),
        os.environ.get("XLA_FLAGS", ""),
    )  # fmt: skip
    return _digest(repr(facts).encode())[:16]


def sweep(shared: Path) -> None:
    """Delete the oldest files beyond `MOST_FILES`, unfinished files and unknown ones."""
    now, ages = time.time(), {}
    for path in shared.iterdir():
        with contextlib.suppress(FileNotFoundError):  # swept by another process
            ages[path] = now - path.stat().st_mtime
    whole = sorted((path for path in ages if _SHARED.fullmatch(path.name)), key=ages.__getitem__)
    others = [path for path in ages.keys() - whole if ages[path] > HALF_WRITTEN]
    for path in whole[MOST_FILES:] + others:
        path.unlink(missing_ok=True)


class ProgramFiles:
    """The shared folder, which exists, and this process's own in `processes`, on the same disk.

    Any thread may use it.

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
        """Take into `own` what others have published; report damaged files and delete them."""
        with self._busy:
            made = {path.name for path in self.own.iterdir()}
            for path in self.shared.iterdir():
                found = _SHARED.fullmatch(path.name)
                name = found[1] + found[3] if found else ""
                if found and name not in made | self._published:
                    with contextlib.suppress(FileNotFoundError):  # swept by another process
                        self._take(path, name, found[2])

    def _take(self, path: Path, name: str, digest: str) -> None:
        unchecked = self.own / f"{name}.unchecked"  # XLA does not find it under this name
        try:
            try:
                os.link(path, unchecked)
            except OSError:  # a disk without links
                shutil.copyfile(path, unchecked)
            if _digest(unchecked.read_bytes()) == digest:
                unchecked.replace(self.own / name)
                self._published.add(name)
                return
        finally:
            unchecked.unlink(missing_ok=True)
        warn(f"{path} is damaged: it is deleted and made again")
        path.unlink(missing_ok=True)

    def find(self, name: str) -> Path | None:
        """Return a checked file, also one that another process has published since, or None."""
        if name not in self._published:
            with contextlib.suppress(OSError):  # an error prevents only its reuse
                self.take()
        path = self.own / name
        return path if name in self._published and path.exists() else None

    def publish(self) -> None:
        """Share the files made since the last call.

        Raises:
            OSError: the disk is full, for instance; the next call tries again.
        """
        with self._busy:
            made = [path for path in self.own.iterdir() if path.suffix in (GRAPH, COMPILED)]
            # a graph last: once it is there, so is what XLA made of it
            for path in sorted(made, key=lambda path: path.suffix == GRAPH):
                if path.name not in self._published:
                    content = path.read_bytes()
                    name = f"{path.stem}.{_digest(content)}{path.suffix}"
                    write_atomically(self.shared / name, content)
                    self._published.add(path.name)


def seal() -> None:
    """Publish programs that were made since the last call; after an error they are not reused."""
    with contextlib.suppress(OSError):
        for files in _kept:
            files.publish()


def forget_compiled() -> bool:
    """Delete what is kept of XLA's, which cannot be loaded; return whether there was anything."""
    found = [
        p for files in _kept for at in (files.own, files.shared) for p in at.glob(f"*{COMPILED}")
    ]
    for path in found:
        path.unlink(missing_ok=True)
    if found:
        warn("a kept program cannot be loaded: all are made again")
    return bool(found)


def is_kept(key: str) -> bool:
    """Return whether the program of a key is in the folder, so that it need not be compiled."""
    return any(files.find(_graph(key)) for files in _kept[-1:])


def function_of(key: str, trace: Callable[[], Any]) -> Callable[[list[Any]], list[Any]]:
    """Return the program of a key: from this process, from the folder, or traced now and kept.

    The key has all that decides the graph besides code and versions. `trace` makes the concrete
    function of a `tf.function`, of flat arguments, with no captures.
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


def _definitions(name: str, key: str, trace: Callable[[], Any]) -> Any:
    """Return the functions of a graph, read from the folder or traced and kept."""
    from tensorflow.core.framework import function_pb2

    for files in _kept[-1:]:
        if path := files.find(_graph(key)):
            return function_pb2.FunctionDefLibrary.FromString(path.read_bytes()).function
    concrete = trace()
    if concrete.captured_inputs:
        raise ValueError(f"the program reads tensors that are not arguments: {concrete.graph}")
    library = concrete.graph.as_graph_def().library
    library.function.append(concrete.function_def)
    _rename(library, name)
    for files in _kept[-1:]:
        with contextlib.suppress(OSError):  # an error prevents only its reuse
            write_atomically(files.own / _graph(key), library.SerializeToString(deterministic=True))
    return library.function


def _rename(library: Any, name: str) -> None:
    """Name the last function `name`, and number the others in the order they were made."""
    *inner, whole = [definition.signature.name for definition in library.function]
    inner.sort(key=lambda old: int(old.rpartition("_")[2]))  # TensorFlow's running number
    names = {old: f"{name}_{number}" for number, old in enumerate(inner)} | {whole: name}
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
    """Raise TensorFlow's error about a file of the folder as an OSError, not as lack of memory."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        for files in _kept:
            if str(files.own) in str(error.message):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(files.own)) from error
        raise


def _name(key: str) -> str:
    return f"program_{_digest(key.encode())[:16]}"


def _graph(key: str) -> str:
    """Return the name of the file with the graph of a key."""
    made_of = _digest(f"{key} {_code()}".encode())[:16]
    return f"{_name(key)}-{made_of}{GRAPH}"


@functools.cache
def _code() -> str:
    """Return what a traced graph depends on besides its key: our code, Keras and its settings."""
    import keras

    settings = (keras.__version__, keras.config.floatx(), keras.config.epsilon())
    return repr((code_digest(), *settings))


def code_digest(package: Path = PACKAGE) -> str:
    """Return the digest of the files that decide a program."""
    return _digest(b"".join(path.read_bytes() for path in deciding_files(package)))


def deciding_files(package: Path = PACKAGE) -> list[Path]:
    """Return the files of `study/` that decide a program: `ROOTS` and all that they import."""
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
