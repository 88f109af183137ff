"""Files with optimizers of the user's travel by their text: they lie on the driver's machine."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from study.common.errors import UserError
from study.common.files import OwnFolder
from study.space.own_optimizers import load_code, own_optimizers

_held: list[OwnFolder] = []  # of this process, until it ends


class CodeFile(NamedTuple):
    """A file of the user's and those beside it that it imports."""

    name: str  # as the user named it
    file: str  # its own, below the folder
    texts: Mapping[str, bytes]  # path below the folder -> content
    digests: Mapping[str, str]  # class -> as the driver has it


def code_files() -> tuple[CodeFile, ...]:
    """Those that were loaded here."""
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
    """Write them into a folder of this process and load them.

    Args:
        files: of the driver.
        cache_dir: as for `keep_programs`.

    Returns:
        where each lies -> its name.

    Raises:
        UserError: what they are here is not what the driver has.
    """
    top = _own_folder(cache_dir) if files else Path()
    places = []
    for number, one in enumerate(files):
        for name, text in one.texts.items():
            path = top / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
        places.append(top / str(number) / one.file)
    own = load_code(places)
    for one in files:
        for name, digest in one.digests.items():
            if name not in own or own[name].digest != digest:
                raise UserError(f"`code` {one.name}: {name} is another one there")
    return {str(place): one.name for place, one in zip(places, files, strict=True)}


def _own_folder(cache_dir: Path | None) -> Path:
    """In the cache, which is this user's alone: what lies there is run.

    It has to stay as long as the process: Python looks there for later imports and for tracebacks.
    """
    try:
        _held[:] = [OwnFolder((cache_dir or user_cache_path("optimizer-study")) / "code")]
    except (OSError, NotImplementedError):  # as for `keep_programs`
        return Path(tempfile.mkdtemp(prefix="optimizer-study-code-"))
    return _held[0].path
