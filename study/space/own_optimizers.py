"""The user's own optimizers: Python files come in, their classes become known by name.

Only files given with `code` are ever run; a search-space file alone runs nothing. Each class has a
digest of its code, which is in `study.json` and in the key of every kept program, so an edited
optimizer is never mistaken for its earlier version.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from study.common.errors import CodeError, UserError

MOST_PRINTED = 5  # calls of `print` that are shown of a file: there may be some in each step
_MODULE = "optimizer_study_code_"  # begins the names of modules made from files


class OwnOptimizer(NamedTuple):
    """An optimizer of the user's."""

    keras_class: Any  # a subclass of `keras.optimizers.Optimizer`
    file: Path  # as the user gave it
    digest: str  # sha256, hex, of `files`
    files: tuple[Path, ...]  # `file` and what it imports from its folder


_known: dict[str, OwnOptimizer] = {}  # by the name of the class
_imported: set[str] = set()  # modules that the files are and import

printed: Counter[str] = Counter()  # calls of `print`, by the name of the file


def own_optimizers() -> dict[str, OwnOptimizer]:
    """Return class name -> optimizer, of the files that were loaded last."""
    return dict(_known)


def own_modules() -> set[str]:
    """Return the names of the modules that the files are, and of those they import from beside."""
    return set(_imported)


def load_code(files: Iterable[Path]) -> dict[str, OwnOptimizer]:
    """Run the files and return their optimizers, which replace those of an earlier call.

    Raises:
        UserError: a file is missing, defines no optimizer, or one whose name is taken.
        CodeError: a file raised an error itself.
    """
    _known.clear()
    for name in _imported:  # a notebook's user may have edited it since
        sys.modules.pop(name, None)
    _imported.clear()
    printed.clear()
    for file in files:
        _know(file)
    return own_optimizers()


def _know(file: Path) -> None:
    from keras import optimizers  # heavy: kept out of --help

    module, beside = _run(file)
    found = {name: one for name, one in vars(module).items() if _is_own(one, name)}
    if not found:
        raise UserError(
            f"`code` {file}: defines no optimizer; it needs a class derived from "
            "keras.optimizers.Optimizer, whose name does not begin with an underscore"
        )
    files = sorted({file.resolve(), *beside, *map(_source, found.values())})
    hashes = sorted(hashlib.sha256(one.read_bytes()).hexdigest() for one in files)
    digest = hashlib.sha256("".join(hashes).encode()).hexdigest()
    for name, keras_class in found.items():
        if name in vars(optimizers):
            raise UserError(f"`code` {file}: Keras has a class {name}, too; rename this one")
        if name in _known:
            raise UserError(
                f"`code` {file}: class {name} is in {_known[name].file}, too; rename one of them"
            )
        _known[name] = OwnOptimizer(keras_class, file, digest, tuple(files))


def _run(file: Path) -> tuple[ModuleType, set[Path]]:
    """Return the module, and the files of its folder that it imported."""
    if not file.is_file():
        raise UserError(f"`code` {file}: no such file; give a Python file that defines optimizers")
    folder = file.resolve().parent
    name = f"{_MODULE}{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"`code` {file}: not a Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.modules[name] = module
    vars(module)["print"] = partial(_print, file.name)
    sys.path.insert(0, str(folder))  # as `python FILE.py` has it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may exit, and would end the study
        trace = _from_file(error, {str(file.resolve())})  # None: not valid Python
        raise CodeError(f"`code` {file}: could not be run, traceback above; fix it") from (
            error.with_traceback(trace)
        )
    finally:
        sys.path.remove(str(folder))
    _imported.add(name)
    beside = set()
    for other in sys.modules.keys() - before:
        path = getattr(sys.modules[other], "__file__", None)
        if path and folder in Path(path).resolve().parents and "site-packages" not in path:
            _imported.add(other)
            vars(sys.modules[other]).setdefault("print", partial(_print, file.name))
            beside.add(Path(path).resolve())
    return module, beside


def _print(name: str, *values: Any, file: Any = None, **more: Any) -> None:
    """Print the first calls of a file's `print` only; all of them into a file of its own."""
    shown = file in (None, sys.stdout, sys.stderr)
    printed[name] += shown
    if not shown or printed[name] <= MOST_PRINTED:
        print(*values, file=file, **more)


def _is_own(thing: Any, name: str) -> bool:
    from keras.optimizers import Optimizer

    optimizer = isinstance(thing, type) and issubclass(thing, Optimizer)
    return optimizer and not name.startswith("_") and not thing.__module__.startswith("keras.")


def _source(keras_class: Any) -> Path:
    return Path(inspect.getfile(keras_class)).resolve()


@contextmanager
def blamed() -> Iterator[None]:
    """Turn an error of the user's code into a `CodeError` whose traceback starts in that code."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        for own in _known.values():
            trace = _from_file(error, {str(_source(own.keras_class)), str(own.file.resolve())})
            if trace or str(own.file) in str(error):  # TensorFlow's traceback is text
                raise CodeError(
                    f"`code` {own.file}: raised {type(error).__name__}, traceback above; fix it. "
                    "Nothing recorded is lost, but edited code is another optimizer: if this one "
                    "already has runs, give the study another `name`"
                ) from error.with_traceback(trace or error.__traceback__)
        raise


def in_code(error: BaseException) -> bool:
    """Return whether an error came through the user's code."""
    files = {str(file) for own in _known.values() for file in own.files}
    return _from_file(error, files) is not None


def _from_file(error: BaseException, files: set[str]) -> TracebackType | None:
    """Return the traceback from the first call in one of the files; None without one."""
    trace = error.__traceback__
    while trace and str(Path(trace.tb_frame.f_code.co_filename).resolve()) not in files:
        trace = trace.tb_next
    return trace
