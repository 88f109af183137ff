"""The same program on every machine: its versions are compared, the user's own code is sent.

Two processes with the same versions, and the same digest of this program, compute the same. The
user's files with optimizers exist only on the driver's machine, so their texts go to the workers.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from study.common.errors import UserError
from study.common.files import OwnFolder, is_private
from study.space.own_optimizers import load_code, own_optimizers

PACKAGES = ("tensorflow", "keras", "numpy", "pillow", "pillow-heif")  # decide rows and curves
PROGRAM = Path(__file__).parents[1]
_held: list[OwnFolder] = []  # keeps the folder of this process until it ends


def identity() -> dict[str, str]:
    """Return versions and a digest of this program, equal on machines that may work together."""
    files = sorted(PROGRAM.rglob("*.py"))
    texts = [p for one in files for p in (bytes(one.relative_to(PROGRAM)), one.read_bytes())]
    found = {"program": hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


class CodeFile(NamedTuple):
    """A file of the user's, with the neighbouring files that it imports."""

    name: str  # as the user gave it
    file: str  # its path below its folder
    texts: Mapping[str, bytes]  # path below the folder -> content
    digests: Mapping[str, str]  # class -> digest on the driver


def code_files() -> tuple[CodeFile, ...]:
    """Return the user's files that were loaded in this process."""
    own = own_optimizers()
    found = []
    for file in dict.fromkeys(one.file for one in own.values()):
        classes = {name: one for name, one in own.items() if one.file == file}
        folder = file.resolve().parent
        paths = {path for one in classes.values() for path in one.files}
        texts = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(paths)
            if folder in path.parents  # others are installed
        }
        digests = {name: one.digest for name, one in classes.items()}
        found.append(CodeFile(str(file), file.resolve().name, texts, digests))
    return tuple(found)


def load_code_files(files: tuple[CodeFile, ...], cache_dir: Path | None) -> dict[str, str]:
    """Write the driver's `code_files` into a folder of this process; load them.

    Returned is the name of each file by its path here.

    Raises:
        UserError: a class differs from the driver's.
    """
    top = _own_folder(cache_dir) if files else Path()
    places = []
    for number, one in enumerate(files):
        folder = top / str(number)
        for name, text in one.texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text)
        places.append(folder / one.file)
    own = load_code(places)
    for one in files:
        for name, digest in one.digests.items():
            if name not in own or own[name].digest != digest:
                raise UserError(f"`code` {one.name}: {name} differs from the driver's")
    return {str(place): one.name for place, one in zip(places, files, strict=True)}


def _own_folder(cache_dir: Path | None) -> Path:
    """Return a folder in the cache that only this user can write, since its files are run.

    It must last as long as the process: Python reads it for later imports and for tracebacks.
    """
    folder = (cache_dir or user_cache_path("optimizer-study")) / "code"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not is_private(folder):
            raise PermissionError
        _held[:] = [OwnFolder(folder)]
    except (OSError, NotImplementedError):  # as for `keep_programs`
        return Path(tempfile.mkdtemp(prefix="optimizer-study-code-"))
    return _held[0].path
