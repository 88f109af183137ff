"""An untrusted `.npz` file -> its arrays, whole or in pieces.

Nothing in the file is run: pickled objects are refused by their header. A header is believed only
where its shape and type take exactly the bytes that are there, and these only as far as deflate can
pack them into the bytes of the file: a small file that claims a terabyte is refused unread.

A member is copied, never mapped in place: `numpy.savez` starts the numbers of a first array `x` at
byte 183 of the file, and TensorFlow aborts if numbers do not start at a multiple of their size.
"""

import math
import tokenize
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Shaped

from study.common.errors import UserError
from study.common.packed import BROKEN
from study.common.text import near

PIECE = 2**23  # bytes of an array that are read at once
MOST_PACKED = 1032  # bytes that deflate can pack into one
MOST_HEADER = 10_000  # bytes; NumPy reads a longer one before it refuses it
NPY_MAGIC = b"\x93NUMPY"
HOW = "numpy.savez(FILE, x=rows, y=labels) writes such a file"
DAMAGE = (
    *BROKEN, ValueError, SyntaxError, TypeError, KeyError, OverflowError, tokenize.TokenError
)  # fmt: skip


class ArrayHeader(NamedTuple):
    """What the file states about one of its arrays."""

    info: zipfile.ZipInfo
    start: int  # bytes before the numbers
    shape: tuple[int, ...]
    fortran: bool  # column by column
    dtype: np.dtype


class NpzFile:
    """The arrays of one file by name; its errors name the file."""

    def __init__(self, path: Path, zipped: zipfile.ZipFile, known: Sequence[str]) -> None:
        """Read the headers.

        Raises:
            UserError: the file is damaged, or holds anything but plain arrays named `known`.
        """
        self.path, self._zipped, self._size = path, zipped, path.stat().st_size
        self.headers: dict[str, ArrayHeader] = {}
        for info in zipped.infolist():
            key = info.filename.removesuffix(".npy")
            if key == info.filename:
                raise self.error(key[:60], f"is not a NumPy array; {HOW}")
            if key not in known:
                what = f"unknown key{near(key, known)}; valid: {', '.join(known)}"
                raise self.error(key[:60], what)
            if key in self.headers:
                raise self.error(key, "is in the file twice")
            with self._sound(key):
                self.headers[key] = self._header(key, info)

    def error(self, key: str, what: str) -> UserError:
        """Return an error that names file and key."""
        return UserError(f"{self.path}: {key}: {what}")

    def column(self, key: str) -> Shaped[np.ndarray, " N"]:
        """Return a whole array in this machine's byte order."""
        header = self.headers[key]
        with self._numbers(key) as file:
            values = _next(file, header.dtype, math.prod(header.shape))
        return values.astype(header.dtype.newbyteorder("="))

    def pieces(self, key: str) -> Iterator[tuple[slice, slice, Shaped[np.ndarray, "n d"]]]:
        """Yield rows, columns and numbers of pieces of about `PIECE` bytes of a table.

        They are whole rows, or columns if it is stored so.
        """
        header = self.headers[key]
        lines, length = header.shape[::-1] if header.fortran else header.shape
        step = max(1, PIECE // max(length * header.dtype.itemsize, 1))
        with self._numbers(key) as file:
            for at in range(0, lines, step):
                count = min(step, lines - at)
                values = _next(file, header.dtype, count * length).reshape(count, length)
                some, every = slice(at, at + count), slice(0, length)
                yield (every, some, values.T) if header.fortran else (some, every, values)

    def _header(self, key: str, info: zipfile.ZipInfo) -> ArrayHeader:
        if info.flag_bits & 1:
            raise self.error(key, f"is encrypted; {HOW}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(key, f"is compressed in a way that NumPy does not use; {HOW}")
        packed = min(info.compress_size, self._size - info.header_offset)
        if info.file_size > MOST_PACKED * (packed + 1) or info.compress_size > packed:
            raise self.error(
                key, f"claims {info.file_size:,} bytes, more than its share of the file can hold"
            )
        with self._zipped.open(info) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            if version > (2, 0):
                raise self.error(key, "is a table of named columns, but must be a plain array")
            read = np.lib.format.read_array_header_1_0
            if version == (2, 0):
                read = np.lib.format.read_array_header_2_0
            length = int.from_bytes(file.read(4 if version == (2, 0) else 2), "little")
            if length > MOST_HEADER:
                raise ValueError(f"its header claims {length:,} characters")
            file.seek(np.lib.format.MAGIC_LEN)
            shape, fortran, dtype = read(file)
            start = file.tell()
        if dtype.hasobject:
            raise self.error(
                key,
                "holds Python objects, which are pickled and never loaded: convert it first, as in "
                f"{key}.astype(str) or {key}.astype('float32')",
            )
        needed = start + math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0:
            raise ValueError(f"its header states {shape}, a length below 0")
        if needed != info.file_size:
            raise self.error(
                key,
                f"its header states {shape} of {dtype}, which takes {needed:,} bytes, but "
                f"there are {info.file_size:,}: the file is damaged, write it again",
            )
        return ArrayHeader(info, start, shape, fortran, dtype)

    @contextmanager
    def _numbers(self, key: str) -> Iterator[IO[bytes]]:
        """Open an array at its first number; check at the end that nothing follows the last."""
        header = self.headers[key]
        with self._sound(key), self._zipped.open(header.info) as file:
            file.read(header.start)
            yield file
            if file.read(1):  # zipfile checks the checksum when it reaches the end
                raise ValueError("longer than it states")

    @contextmanager
    def _sound(self, key: str) -> Iterator[None]:
        """Turn whatever zipfile or NumPy raise for a damaged file into one sentence."""
        try:
            yield
        except OSError as error:
            raise self.error(key, f"cannot be read ({error.strerror or error})") from error
        except DAMAGE as error:
            reason = " ".join(str(error).split())[:120]
            raise self.error(
                key, f"is damaged ({reason}): write the file again, or copy it again"
            ) from error


def _next(file: IO[bytes], dtype: np.dtype, count: int) -> Shaped[np.ndarray, " n"]:
    """Return the next `count` numbers, in the file's byte order."""
    needed = count * dtype.itemsize
    data = file.read(needed)
    if len(data) < needed:
        raise EOFError(f"ends {needed - len(data):,} bytes early")
    return np.frombuffer(data, dtype) if needed else np.zeros(count, dtype)


@contextmanager
def opened(path: Path, known: Sequence[str]) -> Iterator[NpzFile]:
    """Open a file, which may have the keys `known`.

    Raises:
        UserError: it does not exist, cannot be read, or is not an `.npz` file; also while reading.
    """
    with _raw(path) as raw:
        start = raw.read(len(NPY_MAGIC))
        if start == NPY_MAGIC:
            raise UserError(f"{path} is one array (.npy), without labels; {HOW}")
        if not start.startswith(b"PK"):
            what = "is not an .npz file" if start else "is empty"
            raise UserError(f"{path} {what}; {HOW}")
        try:
            zipped = zipfile.ZipFile(raw)
        except (OSError, *DAMAGE) as error:
            raise UserError(
                f"{path} is damaged or incomplete ({error}): write or copy it again"
            ) from error
        with zipped:
            yield NpzFile(path, zipped, known)


def _raw(path: Path) -> IO[bytes]:
    try:
        if path.is_file():
            return path.open("rb")
        what = "is not a file" if path.exists() else "does not exist"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    raise UserError(f"{path} {what}: give `features` an .npz file; {HOW}")
