"""Feature rows on disk, each under the digest of the image it came from.

In and out: rows of float32 with a SHA-256 of the image's bytes. A folder holds the rows of one
backbone as chunk files, plain `.npy` tables of (digest, features) that NumPy can also map into
memory. A chunk's name is the checksum of its bytes, which makes the rest simple: a file is whole
or it is not trusted, nobody ever writes into one, and two processes that write the same rows write
the same file. Small chunks are merged into larger ones, so 1e5 images are a few files.

Why not SQLite: `tests/benchmarks/row_cache.py` has it beside this, in fewer lines, though without
setting damage aside. On two cores of an AMD EPYC it read 1e5 and 1e6 rows in 0.6 to 1.3 times the
time and filled in 1.5 to 2.0 (1e5) and 4.2 times (1e6); ten more rows cost milliseconds in both,
and both lost nothing in 20 kills. But it notices no flipped bit of a row by itself, it needs locks
that work, and by its own documentation its write-ahead log does not work on a network file system,
where the home folders of clusters lie. Files named by their checksum need neither locks nor a log.
"""

import contextlib
import hashlib
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from study.common.errors import UserError
from study.common.files import sweep, write_atomically

MERGED_ROWS = 8192  # rows of a full chunk: 17 MB; merging takes four times that in memory
MERGE_FILES = 8  # small chunks that may lie about before they are merged
STALE_SECONDS = 3600.0  # a temporary file older than this was left by a kill


class RowCache:
    """The rows of one backbone in one folder."""

    def __init__(self, folder: Path, width: int) -> None:
        """Make the folder where it is missing.

        Raises:
            UserError: the folder cannot be written.
        """
        self.folder = folder
        self._row = np.dtype([("digest", "u1", 32), ("features", "<f4", width)])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise UserError(
                f"cache folder {folder} cannot be written ({error.strerror}); "
                "give `cache_dir` a folder that can"
            ) from error

    def read(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield the digests and the rows (n, width) of every whole chunk, one in memory a time.

        A damaged chunk is named on standard error, set aside as `.damaged` and passed over.
        """
        seen: set[Path] = set()
        while fresh := set(self._chunks()) - seen:  # another process may merge while we read
            seen |= fresh
            for path in sorted(fresh):
                if (table := self._load(path)) is not None:
                    yield [digest.tobytes().hex() for digest in table["digest"]], table["features"]

    def append(self, digests: list[str], rows: np.ndarray) -> None:
        """Write rows (n, width) as a new chunk; raises OSError where the disk refuses."""
        table = np.empty(len(digests), self._row)
        raw = b"".join(bytes.fromhex(digest) for digest in digests)
        table["digest"] = np.frombuffer(raw, np.uint8).reshape(-1, 32)
        table["features"] = rows
        self._write(table)
        small = [path for path in self._chunks() if self._rows(path) < MERGED_ROWS // 2]
        if len(small) >= MERGE_FILES:
            sweep(self.folder, seconds=STALE_SECONDS)
            self._merge_all(small)

    def _merge_all(self, small: list[Path]) -> None:
        """Turn many small chunks into few large ones; a kill in between leaves rows twice."""
        batch: list[tuple[Path, np.ndarray]] = []
        for path in small:
            if (table := self._load(path)) is None:
                continue
            if batch and sum(len(rows) for _, rows in batch) + len(table) > MERGED_ROWS:
                self._merge(batch)
                batch = []
            batch.append((path, table))
        self._merge(batch)

    def _merge(self, batch: list[tuple[Path, np.ndarray]]) -> None:
        if len(batch) < 2:
            return
        rows = np.concatenate([table for _, table in batch])
        _, first = np.unique(rows["digest"], axis=0, return_index=True)  # sorted: same file for all
        merged = self._write(rows[first])
        for path, _ in batch:
            if path != merged:
                path.unlink(missing_ok=True)

    def _chunks(self) -> list[Path]:
        return sorted(self.folder.glob("*.npy"))

    def _rows(self, path: Path) -> int:
        try:
            return path.stat().st_size // self._row.itemsize
        except FileNotFoundError:
            return MERGED_ROWS  # another process has merged it: leave it alone

    def _write(self, table: np.ndarray) -> Path:
        buffer = io.BytesIO()
        np.save(buffer, table, allow_pickle=False)
        data = buffer.getvalue()
        path = self.folder / f"{_checksum(data)}.npy"
        write_atomically(path, data)
        return path

    def _load(self, path: Path) -> np.ndarray | None:
        """The table of a chunk; None if another process has merged it away or it is damaged."""
        try:
            data = path.read_bytes()
            if _checksum(data) != path.stem:
                raise ValueError("checksum does not match")
            table: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
            if table.dtype != self._row or table.ndim != 1:
                raise ValueError("not a table of features")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError) as error:
            print(
                f"warning: feature cache {path} is damaged ({error}); "
                "it is set aside and its rows are computed anew",
                file=sys.stderr,
            )
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
            return None
        return table


def _checksum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
