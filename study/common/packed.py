"""Whether a Keras file may be unpacked: its lengths are compared before a byte of it is."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

# What `zipfile` and `json` raise for bytes that are no archive, or no text.
BROKEN = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, struct.error)
MOST_TIMES = 20  # weights hardly pack, text about ten times
ANYWAY = 64 << 20  # bytes that any file may unpack to


def check_packed(path: Path) -> None:
    """Check a `.keras`, `.h5` or `.weights.h5` file.

    Raises:
        ValueError: it would unpack to far more bytes than it has, or links to another file.
        OSError, one of `BROKEN`: it cannot be read.
    """
    if not zipfile.is_zipfile(path):
        _check_arrays(path, path.stat().st_size)
        return
    with zipfile.ZipFile(path) as archive:
        _check_size(sum(one.file_size for one in archive.infolist()), path.stat().st_size)
        for one in archive.infolist():
            if one.filename.endswith(".h5"):
                _check_arrays(io.BytesIO(archive.read(one)), one.file_size)


def _check_size(unpacked: int, packed: int) -> None:
    if unpacked > ANYWAY and unpacked > MOST_TIMES * packed:
        raise ValueError(f"it has {packed:,} bytes, but would unpack to {unpacked:,}")


def _check_arrays(file: Any, size: int) -> None:
    import h5py

    unpacked = 0

    def add(_: str, item: Any) -> None:  # links are not followed
        nonlocal unpacked
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{item.name} is a link to another file")
            unpacked += item.nbytes

    with h5py.File(file, "r") as opened:
        opened.visititems(add)
    _check_size(unpacked, size)
