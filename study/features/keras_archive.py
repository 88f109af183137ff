"""What a `.keras` file says of its network, read without Keras: nothing of the file is run."""

import json
import zipfile
from pathlib import Path
from typing import Any

from study.common.errors import UserError
from study.common.text import printable

MOST_BYTES = 64 << 20  # of a description; NASNetLarge's takes 0.8e6


def description(base: str) -> dict[str, Any]:
    """`config.json` of the file `base`: classes, settings and connections of all layers.

    Raises:
        UserError: no such file, or Keras 3 did not write it.
    """
    path = Path(base).expanduser()
    if not path.is_file():
        raise UserError(f"`base` {printable(base)}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("config.json")
            if member.file_size > MOST_BYTES:
                raise ValueError(f"config.json unpacks to {member.file_size:,} bytes")
            found = json.loads(archive.read(member))
        if not isinstance(found, dict):
            raise ValueError("config.json is no table")
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RecursionError, EOFError) as error:
        raise UserError(
            f"`base` {printable(base)} is no .keras file of Keras 3 ({error}); write one with "
            'model.save("FILE.keras")'
        ) from error
    return found


def input_size(base: str) -> int | None:
    """Pixels a side that the network takes; None where any size will do, or the file is odd.

    Raises:
        UserError: see `description`.
    """
    try:
        layers = description(base)["config"]["layers"]
        shape = next(
            layer["config"]["batch_shape"]
            for layer in layers
            if layer["class_name"] == "InputLayer"
        )
        size = shape[1]
    except (KeyError, IndexError, TypeError, StopIteration):
        return None  # the network itself is looked at once Keras has loaded it
    return size if isinstance(size, int) else None


def architecture(base: str) -> str:
    """The network without its weights, optimizer and date, as one text; for a digest.

    Raises:
        UserError: see `description`.
    """
    found = description(base)
    kept = {key: value for key, value in found.items() if key != "compile_config"}
    return json.dumps(kept, sort_keys=True)
