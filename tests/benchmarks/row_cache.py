"""The feature cache against SQLite: speed, memory, disk, kills, damage, two writers.

    python tests/benchmarks/row_cache.py [--rows 100000 1000000] [--kills 20] [--flips 50]

Rows of 512 float32 as the backbone makes them. For each size: `fill` in chunks of 4,096 as the
extraction does, `ten` more (opened anew, the median of 20 times), `read` everything into (N, 512)
from the page cache, and once more from the `disk`. Each step of each side runs in a process of its
own, so its peak memory is its own; the sides alternate and reading is the median of three. What is
read is compared with what was written. Then, on small caches: a writer is killed at random
moments, a random bit is flipped, two processes append at once. Prints both sides and the ratio
SQLite / files. Takes a minute for 1e5 rows, five minutes and 5 GB of disk for 1e6 (Linux).
"""

import argparse
import contextlib
import functools
import hashlib
import io
import multiprocessing
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from study.features.row_cache import RowCache

WIDTH = 512
CHUNK = 4096  # rows; as `CHUNK_ROWS` of the extraction
NOISE = 2**20  # different rows
MOST = 512  # rows of an append where writers are killed
ROUNDS = 3
MIB = 2**20
SEED = 11


class SqliteCache:
    """The interface of `RowCache` over one table; each row has a checksum, SQLite has none."""

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._width = folder / "rows.sqlite", width
        with contextlib.closing(self._open()) as database:
            database.execute("PRAGMA page_size = 32768")  # 15 rows; the usual 4 kB waste half
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS rows "
                "(digest BLOB PRIMARY KEY, features BLOB, checksum INTEGER)"
            )

    def read(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield digests and rows (n, width); damaged ones are named and passed over."""
        with contextlib.closing(self._open()) as database:
            found = database.execute("SELECT digest, features, checksum FROM rows")
            while batch := found.fetchmany(CHUNK):
                whole = [row for row in batch if checksum(row[0], row[1]) == row[2]]
                if len(whole) < len(batch):
                    print(f"warning: {self.path} has damaged rows", file=sys.stderr)
                rows = np.frombuffer(b"".join(row[1] for row in whole), "<f4")
                yield [row[0].hex() for row in whole], rows.reshape(-1, self._width)

    def append(self, digests: list[str], rows: np.ndarray) -> None:
        """Write rows (n, width) in one transaction; one that is there already stays."""
        blobs = zip(map(bytes.fromhex, digests), map(np.ndarray.tobytes, rows), strict=True)
        with contextlib.closing(self._open()) as database, database:
            database.executemany(
                "INSERT OR IGNORE INTO rows VALUES (?, ?, ?)",
                [(digest, row, checksum(digest, row)) for digest, row in blobs],
            )

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=60)
        database.execute("PRAGMA synchronous = NORMAL")  # safe against kills; FULL is slower
        return database


def checksum(digest: bytes, row: bytes) -> int:
    """Of one row with its digest."""
    return zlib.crc32(row, zlib.crc32(digest))


SIDES: dict[str, type[RowCache] | type[SqliteCache]] = {"files": RowCache, "SQLite": SqliteCache}


# the data


def make_digests(first: int, count: int) -> list[str]:
    """Of the rows from `first` on."""
    return [hashlib.sha256(b"%d" % row).hexdigest() for row in range(first, first + count)]


def make_rows(first: int, count: int) -> np.ndarray:
    """Random rows (count, 512) float32; the same number gives the same row, however they are cut.

    Each is a window of one noise that starts elsewhere.
    """
    starts = np.arange(first, first + count) * 7919 % NOISE
    return np.lib.stride_tricks.sliding_window_view(noise(), WIDTH)[starts]


@functools.cache
def noise() -> np.ndarray:
    """Numbers in [0, 1), float32."""
    return np.random.default_rng(SEED).random(NOISE + WIDTH, np.float32)


def parts(count: int, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """(first row, rows) of the chunks of `count` rows."""
    for first in range(0, count, size):
        yield first, min(size, count - first)


# speed, memory and disk: each function is a process


def fill(side: str, folder: Path, count: int) -> tuple[float, float]:
    """(seconds, MiB) to append `count` rows to an empty cache."""
    cache, runs = SIDES[side](folder, WIDTH), []
    for first, rows in parts(count):
        data = make_digests(first, rows), make_rows(first, rows)
        runs.append(measure(functools.partial(cache.append, *data)))
    return sum(seconds for seconds, _ in runs), max(peak for _, peak in runs)


def append_ten(side: str, folder: Path, count: int) -> tuple[float, float]:
    """(median seconds, MiB) to open a cache of `count` rows and append ten."""
    runs = []
    for first in range(count, count + 200, 10):
        data = make_digests(first, 10), make_rows(first, 10)
        runs.append(measure(lambda data=data: SIDES[side](folder, WIDTH).append(*data)))
    return statistics.median(seconds for seconds, _ in runs), max(peak for _, peak in runs)


def read(side: str, folder: Path, count: int, from_disk: bool) -> tuple[float, float]:
    """(seconds, MiB beyond the result) to read all rows; raises where one is not right."""
    wanted = {
        digest: first + place
        for first, rows in parts(count)
        for place, digest in enumerate(make_digests(first, rows))
    }
    features = np.empty((count, WIDTH), np.float32)
    if from_disk:
        forget(folder)

    def fill_from_cache() -> None:  # as `_fill_from_cache` of the extraction
        missing = dict(wanted)
        for digests, chunk in SIDES[side](folder, WIDTH).read():
            for place, digest in enumerate(digests):
                if (row := missing.pop(digest, None)) is not None:
                    features[row] = chunk[place]
            if not missing:
                return
        raise AssertionError(f"{side}: {len(missing)} rows are missing")

    seconds, peak = measure(fill_from_cache)
    for first, rows in parts(count):
        np.testing.assert_array_equal(features[first : first + rows], make_rows(first, rows))
    return seconds, peak - features.nbytes / MIB


def measure(action: Callable[[], None]) -> tuple[float, float]:
    """(seconds, MiB of memory at the peak beyond what there was before)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now
    before, start = memory("VmRSS"), time.perf_counter()
    action()
    return time.perf_counter() - start, memory("VmHWM") - before


def memory(key: str) -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def forget(folder: Path) -> None:
    """Take the files out of the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def apart(function: Callable[..., Any], *arguments: object) -> Any:
    """The result of a function in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def compare(count: int) -> None:
    """Print the figures of one size."""
    figures: dict[str, dict[str, list[tuple[float, float]]]] = {}
    size = {}
    with tempfile.TemporaryDirectory() as root:
        folders = {side: Path(root) / side for side in SIDES}
        steps = [("fill", fill, ()), *[("read", read, (False,))] * ROUNDS]
        steps += [*[("disk", read, (True,))] * ROUNDS, ("ten", append_ten, ())]
        for name, step, more in steps:
            for side, folder in folders.items():
                found = apart(step, side, folder, count, *more)
                figures.setdefault(name, {}).setdefault(side, []).append(found)
                if name == "fill":
                    size[side] = sum(path.stat().st_size for path in folder.iterdir()) / MIB
    print(f"{count:,} rows, {count * WIDTH * 4 / MIB:.0f} MiB   files   SQLite   ratio    MiB peak")
    for name, of in figures.items():
        (ours, theirs), (mine, other) = (
            [statistics.median(run[at] for run in of[side]) for side in SIDES] for at in (0, 1)
        )
        print(
            f"  {name:4} s {ours:12.4f} {theirs:12.4f} {theirs / ours:7.2f} {mine:6.0f} {other:.0f}"
        )
    print(f"  MiB on disk {size['files']:.0f} {size['SQLite']:.0f}", flush=True)


# kills, damage, two writers


def write(side: str, folder: Path, first: int, limit: int, reports: Connection) -> None:
    """Append the rows from `first` to `limit`, some at a time, and report how far we are."""
    rng, cache = np.random.default_rng([SEED, first]), SIDES[side](folder, WIDTH)
    while first < limit:
        count = min(int(rng.integers(1, MOST)), limit - first)
        cache.append(make_digests(first, count), make_rows(first, count))
        first += count
        reports.send(first)


def start_writer(
    side: str, folder: Path, first: int, limit: int
) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    """A process that runs `write`, and its reports."""
    spawn = multiprocessing.get_context("spawn")
    reports, end = spawn.Pipe(duplex=False)
    process = spawn.Process(target=write, args=(side, folder, first, limit, end))
    process.start()
    end.close()  # so that the reports end with the process
    return process, reports


def look(side: str, folder: Path, count: int) -> tuple[int, int, str]:
    """(rows of the first `count` not there, rows of all that are wrong, what was warned of)."""
    places = {digest: row for row, digest in enumerate(make_digests(0, count + MOST))}
    missing, wrong, warned = set(range(count)), 0, io.StringIO()
    with contextlib.redirect_stderr(warned):
        try:
            for digests, rows in SIDES[side](folder, WIDTH).read():
                for digest, row in zip(digests, rows, strict=True):
                    place = places.get(digest, -1)
                    wrong += place < 0 or not np.array_equal(row, make_rows(place, 1)[0])
                    missing.discard(place)
        except sqlite3.DatabaseError as error:
            print(f"SQLite: {error}", file=sys.stderr)
    return len(missing), wrong, warned.getvalue()


def kill(side: str, folder: Path, kills: int) -> str:
    """Kill writers of one cache at random moments, and look at it after each."""
    rng, reached, missing, wrong, warnings = np.random.default_rng(SEED), 0, 0, 0, 0
    for _ in range(kills):
        process, reports = start_writer(side, folder, reached, NOISE)
        reached = reports.recv()
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.join()
        with contextlib.suppress(EOFError):
            while True:
                reached = reports.recv()
        found = look(side, folder, reached)
        missing, wrong, warnings = missing + found[0], wrong + found[1], warnings + bool(found[2])
    return f"{missing} of {reached:,} reported rows missing, {wrong} wrong, {warnings} warnings"


def damage(side: str, folder: Path, flips: int) -> str:
    """Flip a bit of a cache of four chunks at a random place, each time in a new copy."""
    rng, count, noticed, itself, wrong = np.random.default_rng(SEED), 4 * CHUNK, 0, 0, 0
    apart(fill, side, folder / "whole", count)
    lost = []
    for _ in range(flips):
        copy = shutil.copytree(folder / "whole", folder / "copy")
        files = sorted(copy.iterdir())
        sizes = np.array([path.stat().st_size for path in files])
        path = files[rng.choice(len(files), p=sizes / sizes.sum())]
        data = np.memmap(path, np.uint8, "r+")
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        data.flush()
        found = look(side, copy, count)
        shutil.rmtree(copy)
        lost.append(found[0])
        noticed, itself, wrong = (
            noticed + bool(found[2]),
            itself + ("SQLite: " in found[2]),
            wrong + found[1],
        )
    by_itself = f" ({itself} by SQLite itself)" if side == "SQLite" else ""
    return (
        f"{noticed}{by_itself} noticed, {wrong} wrong rows, "
        f"lost in the median {statistics.median(lost):,.0f} of {count:,}, at most {max(lost):,}"
    )


def write_at_once(side: str, folder: Path, count: int) -> str:
    """Two processes append to one new cache; a third of what they write is the same."""
    begin = time.perf_counter()
    writers = [
        start_writer(side, folder, first, first + 2 * count // 3) for first in (0, count // 3)
    ]
    for process, _ in writers:
        process.join()
    seconds = time.perf_counter() - begin
    missing, wrong, warned = look(side, folder, count)
    codes = [process.exitcode for process, _ in writers]
    return f"exit codes {codes}, {missing} rows missing, {wrong} wrong, {seconds:.1f} s {warned}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--flips", type=int, default=50)
    options = parser.parse_args()
    for count in options.rows:
        compare(count)
    for name, trial, amount in (
        ("kills", kill, options.kills),
        ("flipped bits", damage, options.flips),
        ("rows from two writers", write_at_once, 30_000),
    ):
        for side in SIDES:
            with tempfile.TemporaryDirectory() as folder:
                print(f"{amount:,} {name}, {side}: {trial(side, Path(folder), amount)}", flush=True)


if __name__ == "__main__":
    main()
