"""Programs on disk: a key goes in, a compiled function comes out, traced only where it is new.

Tracing a program takes Python half a second and XLA another two. Two files spare both: the traced
graph (`.graph`, a `FunctionDefLibrary`), and what XLA made of it (`.pb`), kept by its own file
cache. XLA looks a program up by its graph, names included, and TensorFlow numbers names in the
order in which a process happens to make them, so the functions of a graph are named after its key.

TensorFlow checks nothing that it reads. So a file is used only if the digest beside it fits
(`seal` writes it); others are deleted at the start, before TensorFlow looks.
"""

import ast
import contextlib
import errno
import functools
import hashlib
import os
import platform
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from platformdirs import user_cache_path

from study.common.files import write_atomically

PACKAGE = Path(__file__).parents[1]
ROOTS = ("training/program.py", "training/schedules.py")  # the graph, and what is fed to it
PROGRAMS = "programs"
MOST_FILES = 800  # of a quarter to a whole megabyte; the oldest go first
HALF_WRITTEN = 3600  # seconds after which nobody finishes a file any more
ROOM = 100 * 2**20  # bytes that must be free, else nothing is kept
_GRAPH, _COMPILED, _SEAL = ".graph", ".pb", ".sha256"
_adding = threading.Lock()
_sealing = threading.Lock()
_kept: list[Path] = []  # the folder in use, if any


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
    folder = (cache_dir or user_cache_path("optimizer-study")) / PROGRAMS / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(folder)
        if shutil.disk_usage(folder).free < ROOM or not os.access(folder, os.W_OK):
            return None
    except OSError:
        return None
    given = os.environ.get("TF_XLA_FLAGS", "")
    if f"={folder} " not in given:  # a second study of this process
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
    for path in _programs(folder):
        seal = _seal_of(path)
        if seal.exists() and seal.read_text(errors="replace") == _digest(path):
            whole.append(path)
            continue
        if seal.exists():
            print(f"warning: {path} is damaged; it is made again", file=sys.stderr)
        path.unlink(missing_ok=True)
    whole.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in whole[MOST_FILES:]:
        path.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.suffix == _SEAL:
            useless = not path.with_suffix("").exists()
        elif path.suffix in (_GRAPH, _COMPILED):
            useless = False
        else:  # half written, by a process that was killed or by one that is at it now
            useless = time.time() - path.stat().st_mtime > HALF_WRITTEN
        if useless:
            path.unlink(missing_ok=True)


def _programs(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (_GRAPH, _COMPILED)]


def _seal_of(path: Path) -> Path:
    return path.with_name(path.name + _SEAL)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def seal() -> None:
    """Write the digests of programs that were made since; an error costs only their reuse."""
    with _sealing, contextlib.suppress(OSError):
        for folder in _kept:
            for path in _programs(folder):
                if not _seal_of(path).exists():
                    write_atomically(_seal_of(path), _digest(path))


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
    return any(_seal_of(path).exists() for path in _graphs(key))


def _name(key: str) -> str:
    return f"program_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _graphs(key: str) -> list[Path]:
    """Where the graph of a key is kept: in the folder in use, if any."""
    made_of = hashlib.sha256(f"{key} {_code()}".encode()).hexdigest()[:16]
    return [folder / f"{_name(key)}-{made_of}{_GRAPH}" for folder in _kept]


def _definitions(name: str, key: str, trace: Callable[[], Any]) -> Any:
    """The graph's functions."""
    from tensorflow.core.framework import function_pb2

    for path in _graphs(key):
        if _seal_of(path).exists():
            return function_pb2.FunctionDefLibrary.FromString(path.read_bytes()).function
    concrete = trace()
    if concrete.captured_inputs:
        raise ValueError(f"the program reads tensors that are no arguments: {concrete.graph}")
    library = concrete.graph.as_graph_def().library
    library.function.append(concrete.function_def)
    _rename(library, name)
    for path in _graphs(key):
        with contextlib.suppress(OSError):  # costs only its reuse
            write_atomically(path, library.SerializeToString(deterministic=True))
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
        for folder in _kept:
            if str(folder) in str(error.message):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise
