"""A `.keras` file -> the description of its network, read without Keras: no code in it is run."""

import json
import zipfile
from pathlib import Path
from typing import Any

from study.common.errors import UserError
from study.common.packed import BROKEN

MOST_BYTES = 64 << 20  # of a description; NASNetLarge's has 0.8e6


def input_size(base: str) -> int | None:
    """Return the side in pixels that the network takes; None: any, or the file does not say."""
    try:
        layers = _description(base)["config"]["layers"]
        inputs = (layer["config"] for layer in layers if layer["class_name"] == "InputLayer")
        size = next(inputs)["batch_shape"][1]
    except (KeyError, IndexError, TypeError, StopIteration):
        return None  # the network itself is checked once Keras has loaded it
    return size if isinstance(size, int) else None


def architecture(base: str) -> str:
    """Return the network without its weights and optimizer as a text, for a digest.

    Raises:
        UserError: the file does not exist, or Keras 3 did not write it.
    """
    found = _description(base)
    found.pop("compile_config", None)
    return json.dumps(found, sort_keys=True)


def _description(base: str) -> dict[str, Any]:
    path = Path(base).expanduser()
    if not path.is_file():
        wrong = "a folder (a SavedModel?), not a .keras file" if path.is_dir() else "no such file"
        raise UserError(f'`base` {base}: {wrong}; Keras writes one with model.save("FILE.keras")')
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("config.json")
            if member.file_size > MOST_BYTES:
                raise ValueError(f"config.json unpacks to {member.file_size:,} bytes")
            found = json.loads(archive.read(member))
        if not isinstance(found, dict):
            raise ValueError("config.json is not an object")
    except (*BROKEN, KeyError, ValueError, OSError) as error:
        raise UserError(
            f"`base` {base} is not a .keras file of Keras 3 ({error}); write one with "
            'model.save("FILE.keras")'
        ) from error
    return found
