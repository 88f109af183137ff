"""Python files of the user come in, the optimizers they define become known by their class names.

Only files that a user names with `code` are ever run; a search-space file alone runs nothing. A
class is known together with a digest of the code it comes from, which stands in `study.json` and
in the key of every kept program, so an edited optimizer is never taken for the one before.
"""

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from study.common.errors import CodeError, UserError

_MODULE = "optimizer_study_code_"  # begins the names of modules made from files


class OwnOptimizer(NamedTuple):
    """An optimizer of the user's."""

    keras_class: Any  # a subclass of `keras.optimizers.Optimizer`
    file: Path  # as the user named it
    digest: str  # sha256, hex, of `files`
    files: tuple[Path, ...]  # that file and the files beside it that it imports


_known: dict[str, OwnOptimizer] = {}  # by the name of the class
_imported: set[str] = set()  # modules that came with the files


def own_optimizers() -> dict[str, OwnOptimizer]:
    """Class name -> optimizer, of the files that were loaded last."""
    return dict(_known)


def code_digest_of(keras_class: str) -> str:
    """The digest of the code of a user's class; empty for one of Keras."""
    return _known[keras_class].digest if keras_class in _known else ""


def load_code(files: Iterable[Path]) -> dict[str, OwnOptimizer]:
    """Run the files and know their optimizers; those of an earlier call are forgotten.

    Raises:
        UserError: a file is missing, defines no optimizer, or one whose name is taken.
        CodeError: a file raised something itself.
    """
    _known.clear()
    for name in _imported:  # a file beside it may have been edited since, in a notebook
        sys.modules.pop(name, None)
    _imported.clear()
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
            "keras.optimizers.Optimizer, without an underscore at the front of its name"
        )
    files = {file.resolve(), *beside, *map(_source, found.values())}
    for name, keras_class in found.items():
        if name in vars(optimizers):
            raise UserError(f"`code` {file}: class {name} has the name of one of Keras; rename it")
        if name in _known:
            raise UserError(f"`code` {file}: class {name} stands in {_known[name].file}, too")
        _known[name] = OwnOptimizer(keras_class, file, _digest(files), tuple(sorted(files)))


def _run(file: Path) -> tuple[ModuleType, set[Path]]:
    """The module, and the files beside it that it imported."""
    if not file.is_file():
        raise UserError(f"`code` {file}: no such file; name a Python file that defines optimizers")
    folder = file.resolve().parent
    name = f"{_MODULE}{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"`code` {file}: not a Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.modules[name] = module
    sys.path.insert(0, str(folder))  # as `python FILE.py` has it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may end itself, and the study with it
        trace = _from_file(error, {str(file.resolve())})  # none: it is no Python
        raise CodeError(f"`code` {file}: it could not be run, see above; mend it") from (
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
            beside.add(Path(path).resolve())
    return module, beside


def _is_own(thing: Any, name: str) -> bool:
    from keras.optimizers import Optimizer

    optimizer = isinstance(thing, type) and issubclass(thing, Optimizer)
    return optimizer and not name.startswith("_") and not thing.__module__.startswith("keras.")


def _source(keras_class: Any) -> Path:
    return Path(inspect.getfile(keras_class)).resolve()


def _digest(files: set[Path]) -> str:
    parts = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@contextmanager
def blamed() -> Iterator[None]:
    """What code of the user's raises becomes a `CodeError`, its traceback begins in that code."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        for own in _known.values():
            trace = _from_file(error, {str(_source(own.keras_class)), str(own.file.resolve())})
            if trace or str(own.file) in str(error):  # TensorFlow has its traceback in words only
                raise CodeError(
                    f"`code` {own.file}: {type(error).__name__} in it, see above; mend it. "
                    "Nothing that was recorded is lost; but mended code is another optimizer: "
                    "where this one has runs already, give the study another `name`"
                ) from error.with_traceback(trace or error.__traceback__)
        raise


def _from_file(error: BaseException, files: set[str]) -> TracebackType | None:
    """The part of its traceback that begins in one of the files."""
    trace = error.__traceback__
    while trace and str(Path(trace.tb_frame.f_code.co_filename).resolve()) not in files:
        trace = trace.tb_next
    return trace
