"""Files with optimizers of the user's travel by their text: they lie on the driver's machine."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from study.common.errors import UserError
from study.space.own_optimizers import load_code, own_optimizers


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


def load_code_files(files: tuple[CodeFile, ...]) -> dict[str, str]:
    """Write them into a folder of this process and load them.

    Returns:
        where each lies -> its name.

    Raises:
        UserError: what they are here is not what the driver has.
    """
    top = Path(tempfile.mkdtemp(prefix="optimizer-study-code-"))
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
