"""A `.npz` file that nobody vouches for -> its arrays, whole or in pieces.

Nothing in the file is run: pickled objects are refused by their header. A header is believed only
where its shape and type take just the bytes that are there, and these only as far as deflate can
pack them into the bytes of the file: a small file that claims a terabyte is refused unread.

A member is copied, never mapped in place: `numpy.savez` begins the numbers of a first array `x` at
byte 183 of the file, and TensorFlow ends the process where numbers do not begin at a multiple of
their size.
"""

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.text import near, printable

PIECE = 2**23  # bytes of an array that are read at once
MOST_PACKED = 1032  # bytes that deflate can pack into one
NPY_MAGIC = b"\x93NUMPY"
HOW = "numpy.savez(FILE, x=rows, y=labels) writes such a file"
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError),
    *(SyntaxError, TypeError, KeyError, OverflowError, MemoryError, tokenize.TokenError),
)


class ArrayHeader(NamedTuple):
    """What a file says of one of its arrays."""

    info: zipfile.ZipInfo
    start: int  # bytes before the numbers
    shape: tuple[int, ...]
    fortran: bool  # column by column
    dtype: np.dtype


class Piece(NamedTuple):
    """A part of a table."""

    rows: slice
    columns: slice
    values: np.ndarray  # (rows, columns)


class NpzFile:
    """The arrays of one file by name; it exists so that every sentence can name the file."""

    def __init__(self, path: Path, zipped: zipfile.ZipFile, known: Sequence[str]) -> None:
        """Read the headers.

        Raises:
            UserError: the file is damaged, or holds something else than plain arrays named `known`.
        """
        self.path, self._zipped, self._size = path, zipped, path.stat().st_size
        self.headers: dict[str, ArrayHeader] = {}
        for info in zipped.infolist():
            key = info.filename.removesuffix(".npy")
            if key == info.filename:
                raise self.error(printable(key[:60]), f"is no NumPy array; {HOW}")
            if key not in known:
                what = f"unknown key{near(key, known)}; valid: {', '.join(known)}"
                raise self.error(printable(key[:60]), what)
            if key in self.headers:
                raise self.error(key, "stands twice in the file")
            with self._sound(key):
                self.headers[key] = self._header(key, info)

    def error(self, key: str, what: str) -> UserError:
        """The sentence that names file and key."""
        return UserError(f"{printable(self.path)}: {key}: {what}")

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array."""
        return self.headers[key].shape

    def column(self, key: str) -> np.ndarray:
        """A whole array, (N,), in this machine's byte order."""
        header = self.headers[key]
        with self._sound(key), self._numbers(header) as file:
            values = _taken(file, header, math.prod(header.shape))
            if file.read(1):  # the end is where the checksum is looked at
                raise ValueError("longer than it says")
        return values.astype(header.dtype.newbyteorder("="))

    def pieces(self, key: str) -> Iterator[Piece]:
        """A table (N, d) in pieces of about `PIECE` bytes: of rows, or of columns as it lies."""
        header = self.headers[key]
        lines, length = header.shape[::-1] if header.fortran else header.shape
        step = max(1, PIECE // max(length * header.dtype.itemsize, 1))
        with self._sound(key), self._numbers(header) as file:
            for at in range(0, lines, step):
                count = min(step, lines - at)
                values = _taken(file, header, count * length).reshape(count, length)
                some, every = slice(at, at + count), slice(0, length)
                yield Piece(every, some, values.T) if header.fortran else Piece(some, every, values)
            if file.read(1):
                raise ValueError("longer than it says")

    def _header(self, key: str, info: zipfile.ZipInfo) -> ArrayHeader:
        if info.flag_bits & 1:
            raise self.error(key, f"is encrypted; {HOW}")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(key, f"is compressed in a way that NumPy does not write; {HOW}")
        packed = min(info.compress_size, self._size - info.header_offset)
        if info.file_size > MOST_PACKED * (packed + 1) or info.compress_size > packed:
            raise self.error(
                key, f"claims {info.file_size:,} bytes, more than its part of the file can hold"
            )
        with self._zipped.open(info) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
            version = np.lib.format.read_magic(file)
            if version > (2, 0):
                raise self.error(key, "is a table of named columns; a plain array is wanted")
            read = np.lib.format.read_array_header_1_0
            if version == (2, 0):
                read = np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)  # refuses headers of more than 10,000 bytes
            start = file.tell()
        if dtype.hasobject:
            raise self.error(
                key,
                "holds Python objects, which lie pickled in the file and are never loaded: make it "
                f"plain first, as in {key}.astype(str) or {key}.astype('float32')",
            )
        needed = start + math.prod(shape) * dtype.itemsize
        if needed != info.file_size or min(shape, default=0) < 0:
            raise self.error(
                key,
                f"its header says {sized(shape)} of {dtype}, which takes {needed:,} bytes, but "
                f"there are {info.file_size:,}: the file is damaged, write it again",
            )
        return ArrayHeader(info, start, shape, fortran, dtype)

    @contextmanager
    def _numbers(self, header: ArrayHeader) -> Iterator[IO[bytes]]:
        """The member, opened at its first number."""
        with self._zipped.open(header.info) as file:
            file.read(header.start)
            yield file

    @contextmanager
    def _sound(self, key: str) -> Iterator[None]:
        """Whatever a damaged file makes zip or NumPy say becomes a sentence."""
        try:
            yield
        except OSError as error:
            raise self.error(key, f"cannot be read ({error.strerror or error})") from error
        except DAMAGE as error:
            said = printable(" ".join(str(error).split())[:120])
            raise self.error(
                key, f"is damaged ({said}): write the file again, or copy it anew"
            ) from error


@contextmanager
def opened(path: Path, known: Sequence[str]) -> Iterator[NpzFile]:
    """The arrays of a file, which may have the keys `known`.

    Raises:
        UserError: there is none, it cannot be read, or it is no `.npz`; from reading, too.
    """
    with _raw(path) as raw:
        start = raw.read(len(NPY_MAGIC))
        if start == NPY_MAGIC:
            raise UserError(f"{printable(path)} is one array (.npy), without labels; {HOW}")
        if not start.startswith(b"PK"):
            what = "is no .npz file" if start else "is empty"
            raise UserError(f"{printable(path)} {what}; {HOW}")
        with _zipped(path, raw) as zipped:
            yield NpzFile(path, zipped, known)


def _raw(path: Path) -> IO[bytes]:
    try:
        if path.is_file():
            return path.open("rb")
        what = "is no file" if path.exists() else "does not exist"
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    raise UserError(f"{printable(path)} {what}: give `features` a .npz file; {HOW}")


def _zipped(path: Path, raw: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(raw)
    except (OSError, *DAMAGE) as error:
        raise UserError(
            f"{printable(path)} is damaged or was copied in part ({error}): write or copy it again"
        ) from error


def _taken(file: IO[bytes], header: ArrayHeader, count: int) -> np.ndarray:
    """The next `count` numbers, (count,), in the file's byte order."""
    needed = count * header.dtype.itemsize
    parts, missing = [], needed
    while missing and (part := file.read(missing)):
        parts.append(part)
        missing -= len(part)
    if missing:
        raise EOFError(f"ends {missing:,} bytes early")
    if not needed:
        return np.zeros(count, header.dtype)
    return np.frombuffer(b"".join(parts), header.dtype)


def sized(shape: tuple[int, ...]) -> str:
    """ "(1797, 64)"."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
