"""Feature rows on disk, each under the digest of the image it came from.

In and out: rows of float32, each with a SHA-256 in hex. A folder holds the rows of one backbone as
chunk files: `.npy` tables of (digest, features) that NumPy can also map into memory. A chunk's name
is the checksum of its bytes, which makes the rest simple: a file is complete or is not trusted, no
file is ever changed, and two processes that write the same rows write the same file. So neither
locks nor a log are needed, and small chunks can be merged into larger ones at any time. SQLite
takes 0.6 to 1.3 times as long to read 1e5 to 1e6 rows and 1.5 to 4.2 times as long to write them
(`tests/benchmarks/row_cache.py`), but it does not notice a flipped bit in a row, and its
write-ahead log does not work on a network file system, where clusters keep home folders.
"""

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from study.common.errors import UserError, warn
from study.common.files import sweep, write_atomically

MERGED_ROWS = 8192  # rows of a full chunk: 17 MB; merging takes four times as much memory
MERGE_FILES = 8  # small chunks that may exist before they are merged
STALE_SECONDS = 3600.0  # a temporary file older than this was left by a kill

Table = Shaped[np.ndarray, " n"]  # of (digest, features)


class RowCache:
    """The rows of one backbone in one folder."""

    def __init__(self, folder: Path, width: int) -> None:
        """Make the folder if it is missing.

        Raises:
            UserError: the folder cannot be written.
        """
        self.folder = folder
        self._row = np.dtype([("digest", "u1", 32), ("features", "<f4", width)])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                sweep(folder, seconds=STALE_SECONDS)
        except OSError as error:
            raise UserError(
                f"cache folder {folder} cannot be written ({error.strerror}); "
                "give `cache_dir` another folder"
            ) from error

    def read(self) -> Iterator[tuple[list[str], Float32[np.ndarray, "n d"]]]:
        """Yield the digests and rows of each complete chunk, with one chunk in memory at a time.

        A damaged chunk is reported on standard error, renamed to `.damaged` and skipped.
        """
        seen: set[Path] = set()
        while new := set(self._chunks()) - seen:  # another process may merge meanwhile
            seen |= new
            for path in sorted(new):
                if (table := self._load(path)) is not None:
                    yield [digest.tobytes().hex() for digest in table["digest"]], table["features"]

    def append(self, digests: list[str], rows: Float32[np.ndarray, "n d"]) -> None:
        """Write rows as a new chunk.

        Raises:
            OSError: the disk refuses.
        """
        table = np.empty(len(digests), self._row)
        raw = b"".join(bytes.fromhex(digest) for digest in digests)
        table["digest"] = np.frombuffer(raw, np.uint8).reshape(-1, 32)
        table["features"] = rows
        self._write(table)
        small = [path for path in self._chunks() if self._rows(path) < MERGED_ROWS // 2]
        if len(small) >= MERGE_FILES:
            self._merge(small)

    def _merge(self, small: list[Path]) -> None:
        """Turn as many small chunks as fit into one; a kill in between leaves rows twice."""
        tables: dict[Path, Table] = {}
        for path in small:
            fits = sum(map(len, tables.values())) + self._rows(path) <= MERGED_ROWS
            if fits and (table := self._load(path)) is not None:
                tables[path] = table
        if len(tables) > 1:
            rows = np.concatenate(list(tables.values()))
            # sorted, so that every process writes the same file
            _, first = np.unique(rows["digest"], axis=0, return_index=True)
            merged = self._write(rows[first])
            for path in tables.keys() - {merged}:
                path.unlink(missing_ok=True)

    def _chunks(self) -> list[Path]:
        return sorted(self.folder.glob("*.npy"))

    def _rows(self, path: Path) -> int:
        try:
            return path.stat().st_size // self._row.itemsize
        except FileNotFoundError:
            return MERGED_ROWS  # another process has merged it, so it is not small

    def _write(self, table: Table) -> Path:
        buffer = io.BytesIO()
        np.save(buffer, table, allow_pickle=False)
        data = buffer.getvalue()
        path = self.folder / f"{_checksum(data)}.npy"
        write_atomically(path, data)
        return path

    def _load(self, path: Path) -> Table | None:
        """Return the table of a chunk; None if another process has merged it, or it is damaged."""
        try:
            data = path.read_bytes()
            if _checksum(data) != path.stem:
                raise ValueError("its checksum does not match")
            table: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
            if table.dtype != self._row or table.ndim != 1:
                raise ValueError("it is not a table of features")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, MemoryError) as error:
            warn(
                f"feature cache {path} is damaged ({error}); "
                "it is set aside and its rows are computed again"
            )
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            return None
        return table


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
