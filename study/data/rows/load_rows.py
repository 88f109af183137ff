"""Rows that any model computed, as `.npz`: checked, and brought into memory -> `RowSet`.

    np.savez("rows.npz", x=embeddings, y=labels)

`x` (N, d) of floats; `y` (N,) of class numbers from 0 or of names; and optionally `class_names`
(C,) for the numbers, `group` (N,) of rows that are never on both sides of a split, `split` (N,) of
train, val, test, `sample_weight` (N,) in the training loss. Numbers become float32. Class numbers
that are floats are refused, even if they are whole: they may as well be what a regression predicts.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from study.common.memory import usable_memory
from study.common.progress import progress
from study.common.text import NAMED, first_few
from study.data.examples import Examples
from study.data.files.listing import local_path
from study.data.groups import groups_in_words
from study.data.names import class_doubts
from study.data.rows.label_columns import class_column, group_column, split_column, weight_column
from study.data.rows.npz_file import PIECE, NpzFile, opened
from study.data.rows.row_room import feature_rows
from study.data.sample_weight import weights_in_words

KEYS = ("x", "y", "group", "split", "class_names", "sample_weight")
FLOATS = ("float16", "float32", "float64")
MOST_ROWS = 2**31 - 1  # row numbers are int32
SMALL, LARGE = 1e-4, 1e4  # largest numbers that heads learn from as they are
BESIDE = 250  # bytes a row, of its digest
COPIES = 4  # of the other columns, while they are checked
LISTED = 10  # in one line
HINTS = {
    1: ": one number a row is x[:, None]",
    3: ": average over the rest, as in x.mean(axis=1), or x.reshape(len(x), -1)",
    4: ": average over the rest, as in x.mean(axis=(1, 2)), or x.reshape(len(x), -1)",
}


@dataclass(frozen=True, kw_only=True)
class RowSet(Examples):
    """N rows of d numbers, in the order of the file."""

    noun: str = "row"
    part_noun: str = "part"
    rows: Float32[np.ndarray, "N d"]
    constant: tuple[int, ...]  # columns that never vary
    largest: Float32[np.ndarray, " d"]  # absolute number of each column

    def doubts(self) -> list[str]:
        """Return lines to print on classes, and on rows of one content in several of them."""
        several = "the same numbers in several classes"
        groups = self.in_several_classes()
        lines = [f"{several}: {first_few(map(self.name_of, rows))}" for rows in groups[:NAMED]]
        if groups:
            count = sum(map(len, groups))
            lines.append(f"{several}: {count} rows in all, {self.fate_of_conflicts}")
        return [*lines, *self.oddities()]

    def oddities(self) -> list[str]:
        """Return sentences on the names of classes, on copies and on the scale of the numbers."""
        lines = class_doubts(self)
        if self.copies:
            lines.append(
                f"copies: {self.copies:,} of {len(self.rows):,} rows repeat an earlier one; a "
                "stratified split keeps equal rows on one side"
            )
        most, middle = float(self.largest.max()), float(np.median(self.largest))
        if not SMALL <= most <= LARGE:
            lines.append(
                f"the largest number is {most:.3g} (column {self.largest.argmax()}, from 0), that "
                f"of the median column {middle:.3g}: heads learn best around 1, so scale x first"
            )
        return lines


def load_rows(features: str | Path, *, folder: Path | None = None) -> RowSet:
    """Read a file, with `~` as the user's home; peak memory is the rows and a few pieces.

    Rows that are too large for the memory go to the `folder`; see `feature_rows`.

    Raises:
        UserError: the file is not an `.npz` file, is damaged, or holds a value that cannot be used.
    """
    path = local_path(features, "features", "an .npz file")
    with opened(path, KEYS) as file:
        count, width = _check_shapes(file)
        labels, names, notes = class_column(file)
        groups = group_column(file) if "group" in file.headers else ()
        parts, part_names = split_column(file, labels, names)
        weights = weight_column(file) if "sample_weight" in file.headers else None
        rows = feature_rows(count, width, folder)
        _fill(rows, file)
        digests, constant, largest = _digests(rows)
    if len(constant) == width:
        raise file.error("x", "all rows are equal, so there is nothing to learn")
    found = RowSet(
        source=path.resolve(),
        rows=rows,
        labels=labels,
        class_names=names,
        digests=digests,
        groups=groups,
        sample_weight=weights,
        parts=parts,
        part_names=part_names,
        constant=constant,
        largest=largest,
        notes=(*notes, *_constant(constant, width)),
    )
    return replace(found, notes=(*groups_in_words(found), *weights_in_words(found), *found.notes))


def _check_shapes(file: NpzFile) -> tuple[int, int]:
    """Return (N, d), after checking that the arrays fit together."""
    for key, wanted in (("x", "(N, d) of floats"), ("y", "(N,) of class numbers or names")):
        if key not in file.headers:
            there = f"holds {', '.join(file.headers)}" if file.headers else "is empty"
            raise file.error(key, f"is missing (the file {there}): add {key} {wanted}")
    x = file.headers["x"]
    if len(x.shape) != 2:
        hint = HINTS.get(len(x.shape), "")
        raise file.error("x", f"is {x.shape}, but must be (N, d), one row each{hint}")
    if x.dtype.newbyteorder("=").name not in FLOATS:
        choices = ", ".join(FLOATS)
        raise file.error("x", f"is {x.dtype}, but must be one of {choices}: x.astype('float32')")
    count, width = x.shape
    if not count or not width or count > MOST_ROWS:
        raise file.error(
            "x", f"is {x.shape}, but needs 1 to {MOST_ROWS:,} rows of one number or more"
        )
    for key in set(file.headers) - {"x", "class_names"}:
        shape = file.headers[key].shape
        if shape != (count,):
            hint = f": {key}.argmax(axis=1)" if key == "y" and len(shape) == 2 else ""
            hint = f": {key}.ravel()" if shape == (count, 1) else hint
            raise file.error(key, f"is {shape}, but x has {count:,} rows{hint}")
    columns = sum(one.info.file_size for key, one in file.headers.items() if key != "x")
    needed, room = BESIDE * count + COPIES * columns, usable_memory()
    if needed > room:
        what = f"{count:,} rows need {needed / 1e9:,.1f} GB of memory beside their numbers"
        raise file.error("x", f"{what}, but {room / 1e9:,.1f} GB may be used here: give fewer rows")
    return count, width


def _fill(rows: Float32[np.ndarray, "N d"], file: NpzFile) -> None:
    """Copy `x` into `rows`; refuse numbers that are not finite in float32."""
    counts: Counter[str] = Counter()
    first: dict[str, int] = {}  # kind -> row
    quiet = np.errstate(over="ignore", invalid="ignore")  # such numbers are counted
    with progress("reading x", rows.size, "numbers") as advance, quiet:
        for some, columns, values in file.pieces("x"):
            target = rows[some, columns]
            target[:] = values
            target += np.float32(0)  # -0.0 is 0.0: a model sees the same, and so do the digests
            advance(values.size)
            if (wrong := ~np.isfinite(target)).any():
                own = ~np.isfinite(values)
                for kind, where in (("NaN or infinite", own), ("beyond float32", wrong & ~own)):
                    if where.any():
                        counts[kind] += int(where.sum())
                        row = some.start + int(where.any(axis=1).argmax())
                        first[kind] = min(row, first.get(kind, row))
    for kind, count in counts.items():
        what = "1 number is" if count == 1 else f"{count:,} numbers are"
        raise file.error(
            "x",
            f"{what} {kind}, the first in row {first[kind]} (rows from 0): remove these rows, or "
            "replace the numbers",
        )


def _digests(
    rows: Float32[np.ndarray, "N d"],
) -> tuple[tuple[str, ...], tuple[int, ...], Float32[np.ndarray, " d"]]:
    """Return N digests, the columns that never vary, and each column's largest absolute number."""
    digests: list[str] = []
    varies, largest = np.zeros(rows.shape[1], bool), np.zeros(rows.shape[1], np.float32)
    step = max(1, PIECE // (rows.shape[1] * rows.itemsize))
    for at in range(0, len(rows), step):
        some = rows[at : at + step]
        varies |= (some != rows[0]).any(axis=0)
        largest = np.maximum(largest, np.abs(some).max(axis=0))
        little = some.astype("<f4", copy=False)
        digests += [hashlib.sha256(row.data).hexdigest() for row in little]
    return tuple(digests), tuple(np.flatnonzero(~varies).tolist()), largest


def _constant(columns: tuple[int, ...], width: int) -> list[str]:
    if not columns:
        return []
    many, vary = ("", "varies: it carries") if len(columns) == 1 else ("s", "vary: they carry")
    return [
        f"warning: column{many} {first_few(map(str, columns), LISTED)} of {width} (from 0) never "
        f"{vary} no information; a head that normalizes does not divide by their deviation"
    ]
