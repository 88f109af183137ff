"""Rows that somebody else computed, as `.npz`: checked, and brought into memory -> `RowSet`.

    np.savez("rows.npz", x=embeddings, y=labels)

`x` (N, d) of floats; `y` (N,) of class numbers from 0 or of names; and, where there are such,
`class_names` (C,) for the numbers, `group` (N,) of whose rows never stand on both sides of a split,
`split` (N,) of train, val, test. Numbers become float32. Class numbers that are floats are refused,
even if they are whole: they may as well be what a regression predicts.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from study.common.progress import progress
from study.common.text import first_few
from study.data.examples import Examples
from study.data.groups import groups_in_words
from study.data.rows.label_columns import class_column, group_column, split_column
from study.data.rows.npz_file import PIECE, NpzFile, Piece, opened, sized
from study.data.rows.row_room import feature_rows

KEYS = ("x", "y", "group", "split", "class_names")
FLOATS = ("float16", "float32", "float64")
MOST_ROWS = 2**31 - 1  # row numbers are int32
NAMED = 10  # columns named in one line
NAMED_ROWS = 5  # rows of one content in one line, lines of them
HINTS = {
    1: "one number a row is x[:, None]",
    3: "average over what is left, as in x.mean(axis=1), or x.reshape(len(x), -1)",
    4: "average over what is left, as in x.mean(axis=(1, 2)), or x.reshape(len(x), -1)",
}


@dataclass(frozen=True, kw_only=True)
class RowSet(Examples):
    """N rows of d numbers, in the order of the file."""

    noun: str = "row"
    part_noun: str = "part"
    rows: np.ndarray  # (N, d) float32
    constant: tuple[int, ...]  # columns that never vary

    def in_several_classes(self) -> list[list[int]]:
        """Rows of one content in different classes, group by group."""
        found: dict[str, list[int]] = defaultdict(list)
        for row, digest in enumerate(self.digests):
            found[digest].append(row)
        equal = (rows for rows in found.values() if len(rows) > 1)
        return [rows for rows in equal if len(set(self.labels[rows].tolist())) > 1]

    def doubts(self) -> list[str]:
        """Return lines to print on rows of one content in several classes."""
        several = "the same numbers in several classes"
        groups = self.in_several_classes()
        lines = [
            f"{several}: {first_few([f'row {row}' for row in rows], NAMED_ROWS)}"
            for rows in groups[:NAMED_ROWS]
        ]
        if groups:
            lines.append(
                f"{several}: {sum(map(len, groups))} rows in all, which a stratified split trains "
                "on and never judges"
            )
        return lines


def load_rows(features: str | Path, *, folder: Path | None = None) -> RowSet:
    """Read a file; peak memory is the rows and a few pieces.

    Args:
        features: the file; `~` is the user's home.
        folder: where rows lie that are too large for the memory; see `feature_rows`.

    Raises:
        UserError: the file is no such file, is damaged, or a value in it cannot be used.
    """
    path = _typed_file(features)
    with opened(path, KEYS) as file:
        count, width = _check_shapes(file)
        labels, names, said = class_column(file)
        groups = group_column(file) if "group" in file.headers else ()
        parts, part_names = split_column(file, labels, names)
        rows = feature_rows(count, width, folder)
        _fill(rows, file)
        digests, constant = _looked_at(rows)
    if len(constant) == width:
        raise file.error("x", "all rows are equal, so there is nothing to learn")
    found = RowSet(
        source=path.resolve(),
        rows=rows,
        labels=labels,
        class_names=names,
        digests=digests,
        groups=groups,
        parts=parts,
        part_names=part_names,
        constant=constant,
        notes=(*said, *_constant(constant, width)),
    )
    return replace(found, notes=(*groups_in_words(found), *found.notes))


def _typed_file(features: str | Path) -> Path:
    try:
        return Path(features).expanduser()
    except RuntimeError:  # nobody of that name
        return Path(features)


def _check_shapes(file: NpzFile) -> tuple[int, int]:
    """(N, d), after every array was found to fit to the others."""
    for key in ("x", "y"):
        if key not in file.headers:
            wanted = "(N, d) of floats" if key == "x" else "(N,) of class numbers or names"
            there = f"holds {', '.join(file.headers)}" if file.headers else "is empty"
            raise file.error(key, f"is missing (the file {there}); wanted: {key} {wanted}")
    x = file.headers["x"]
    if len(x.shape) != 2:
        hint = f": {HINTS[len(x.shape)]}" if len(x.shape) in HINTS else ""
        raise file.error("x", f"is {sized(x.shape)}, but has to be (N, d), a row each{hint}")
    if x.dtype.newbyteorder("=").name not in FLOATS:
        raise file.error(
            "x", f"is {x.dtype}, but has to be one of {', '.join(FLOATS)}: x.astype('float32')"
        )
    count, width = x.shape
    if not count or not width or count > MOST_ROWS:
        raise file.error("x", f"is {sized(x.shape)}: at least one row and column are needed")
    for key in set(file.headers) - {"x", "class_names"}:
        shape = file.shape(key)
        if shape != (count,):
            hint = f": {key}.argmax(axis=1)" if key == "y" and len(shape) == 2 else ""
            hint = f": {key}.ravel()" if shape == (count, 1) else hint
            raise file.error(key, f"is {sized(shape)}, but x has {count:,} rows{hint}")
    return count, width


def _fill(rows: np.ndarray, file: NpzFile) -> None:
    """Copy `x` into `rows`.

    Raises:
        UserError: a number is none, infinite, or beyond float32.
    """
    wrong = _Wrong()
    quiet = np.errstate(over="ignore", invalid="ignore")  # they are counted
    with progress("reading x", rows.size, "numbers") as advance, quiet:
        for piece in file.pieces("x"):
            target = rows[piece.rows, piece.columns]
            target[:] = piece.values
            target += np.float32(0)  # -0.0 is 0.0: a model sees the same, and so do the digests
            wrong.look(piece, target)
            advance(piece.values.size)
    if sentence := wrong.sentence():
        raise file.error("x", sentence)


class _Wrong:
    """Counts what is no finite float32."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, int] = {}  # kind -> row

    def look(self, piece: Piece, stored: np.ndarray) -> None:
        finite = np.isfinite(stored)
        if finite.all():
            return
        own = ~np.isfinite(piece.values)
        for kind, where in (("NaN or infinite", own), ("beyond float32", ~finite & ~own)):
            if where.any():
                self.counts[kind] += int(where.sum())
                row = piece.rows.start + int(where.any(axis=1).argmax())
                self.first[kind] = min(row, self.first.get(kind, row))

    def sentence(self) -> str:
        for kind, count in self.counts.items():
            what = "1 number is" if count == 1 else f"{count:,} numbers are"
            return (
                f"{what} {kind}, the first in row {self.first[kind]} (rows from 0): leave such "
                "rows out, or put finite numbers there"
            )
        return ""


def _looked_at(rows: np.ndarray) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """N digests, and the columns that never vary."""
    digests: list[str] = []
    varies = np.zeros(rows.shape[1], bool)
    step = max(1, PIECE // (rows.shape[1] * rows.itemsize))
    for at in range(0, len(rows), step):
        some = rows[at : at + step]
        varies |= (some != rows[0]).any(axis=0)
        little = some.astype("<f4", copy=False)
        digests += [hashlib.sha256(row.data).hexdigest() for row in little]
    return tuple(digests), tuple(np.flatnonzero(~varies).tolist())


def _constant(columns: tuple[int, ...], width: int) -> Iterable[str]:
    if columns:
        named = ", ".join(map(str, columns[:NAMED]))
        more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
        vary = "varies, so it tells" if len(columns) == 1 else "vary, so they tell"
        yield (
            f"warning: column{'' if len(columns) == 1 else 's'} {named}{more} of {width} (from 0) "
            f"never {vary} nothing; a head that normalizes does not divide there"
        )
