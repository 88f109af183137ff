"""A table of labels, a CSV file -> the label, group and part of each file.

Columns are `file` and `label`, and perhaps `split`, `group` and `weight` or `sample_weight` (in the
training loss), in any order and case; others are ignored. Nothing is guessed: a file with two
labels, a word that means no part, and a name that leads out of the folder are refused with their
lines. The delimiter (comma, semicolon, tab) is taken from the first line.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.text import counted, printable
from study.data.files.class_folders import TRAIN, part_of
from study.data.sample_weight import WEIGHTS, are_weights

NEEDED, OPTIONAL = ("file", "label"), ("split", "group", "weight")
DELIMITERS = ",;\t|"
SPREADSHEETS = {b"PK\x03\x04": "a spreadsheet or an archive", b"\xd0\xcf\x11\xe0": "a spreadsheet"}
MOST_BYTES = 2**30


class LabelLine(NamedTuple):
    """A line of a table, about one file."""

    path: Path  # below the folder; may not exist
    label: str
    part: str = ""  # "train", "validation" or "test"; empty if the table has no column split
    group: str = ""
    line: int = 0  # from 1
    word: str = ""  # for the part, as it is in the table
    weight: float | None = None  # None if the table has no column weight


class LabelTable(NamedTuple):
    """A checked table, with one line per file."""

    rows: list[LabelLine]
    part_names: dict[str, str]  # part -> its first word in the table
    repeated: int  # lines that repeat an earlier one


def read_table(table: Path, root: Path) -> LabelTable:
    """Read the table of the files below `root`.

    Raises:
        UserError: the table cannot be read, lacks a column, or has a line that is contradictory.
    """
    where = printable(table)
    lines = _lines(table, where)
    header = next(lines, (1, []))[1]
    columns = _columns(header, where)
    found: dict[Path, LabelLine] = {}
    names: dict[str, str] = {}
    repeated = 0
    for number, cells in lines:
        if not any(map(str.strip, cells)):
            continue
        if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
            raise UserError(
                f"{where}, line {number}: has {counted(len(cells), 'cell')}, but the first line "
                f"has {len(header)}: quote a cell that contains the delimiter, or fill in what is "
                "missing"
            )
        row = _row(cells, columns, root, f"{where}, line {number}")._replace(line=number)
        names.setdefault(row.part, row.word)
        known = found.setdefault(row.path, row)
        repeated += known is not row
        if known._replace(line=0, word="") != row._replace(line=0, word=""):
            raise UserError(
                f"{where}: {printable(row.path.name)} is in lines {known.line} and {number} with "
                f"different values ({_values(known)}; {_values(row)}): keep one line per file"
            )
    if not found:
        raise UserError(
            f"{where} has no lines below the column names: add a line for each image file"
        )
    if "" not in names and TRAIN not in names:
        raise UserError(
            f"{where}: no line has split train, so there is nothing to train on: add some"
        )
    names.pop("", None)
    return LabelTable(list(found.values()), names, repeated)


def ordered_labels(rows: Sequence[LabelLine]) -> list[str]:
    """Return the labels, sorted: as numbers where all are integers."""
    labels = {row.label for row in rows}
    if all(label.isascii() and label.removeprefix("-").isdigit() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _lines(table: Path, where: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells), the column names first."""
    text = _text(table, where)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    begin = 1
    try:
        for cells in reader:
            yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{where}, line {begin}: is not CSV ({error}): fix this line") from None


def _text(table: Path, where: str) -> str:
    try:
        with table.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{where} cannot be read ({error.strerror}): give `labels` a CSV file"
        ) from None
    kind = next((kind for magic, kind in SPREADSHEETS.items() if data.startswith(magic)), "")
    if kind or len(data) > MOST_BYTES:
        wrong = f"is {kind}, not a CSV file" if kind else f"is larger than {MOST_BYTES:,} bytes"
        raise UserError(f"{where} {wrong}: save the table as CSV (UTF-8)")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # as Excel writes "Unicode text"
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(
            f"{where}, line {line}: is not UTF-8: save the table as CSV (UTF-8)"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(
            f"{where}, line {line}: contains a zero byte, so it is not a CSV file: save it again"
        )
    return text


def _columns(header: Sequence[str], where: str) -> dict[str, int]:
    """Return the place of each column."""
    names = [name.strip().lower().replace("sample_weight", "weight") for name in header]
    found = {name: names.index(name) for name in (*NEEDED, *OPTIONAL) if name in names}
    missing = [name for name in NEEDED if name not in found]
    if missing:
        shown = ", ".join(repr(printable(name)) for name in header[:10]) or "none"
        raise UserError(
            f"{where}: the first line must name the columns file and label (and may name split, "
            f"group and weight), but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; its columns are {shown}"
        )
    if twice := [name for name in found if names.count(name) > 1]:
        raise UserError(f"{where}: two columns are named {twice[0]}: keep one")
    return found


def _row(cells: Sequence[str], columns: dict[str, int], root: Path, where: str) -> LabelLine:
    """Return a line, checked."""
    values = {name: cells[at].strip() for name, at in columns.items() if at < len(cells)}
    for name in NEEDED:
        if not values.get(name):
            raise UserError(f"{where}: {name} is empty: fill it in or remove the line")
    word = values.get("split", "")
    part = part_of(word) if word else ""
    if part is None or ("split" in columns and not word):
        raise UserError(
            f"{where}: split is {printable(word)!r}, but must be train, val or test in every line "
            "of a table with a column split"
        )
    path, group = _path(values["file"], root, where), values.get("group", "")
    weight = _weight(values.get("weight", ""), where) if "weight" in columns else None
    return LabelLine(path, values["label"], part, group, word=printable(word), weight=weight)


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = -1.0
    if are_weights(np.array([weight])).all():
        return weight
    raise UserError(
        f"{where}: weight is {printable(text)!r}, but {WEIGHTS} (rename the column if it is not "
        "for training)"
    )


def _path(name: str, root: Path, where: str) -> Path:
    """Return the file of a line; a table from Windows may have backslashes."""
    windows = os.sep != "\\" and "\\" in name and not (root / name).exists()
    text = name.replace("\\", "/") if windows else name
    path = Path(os.path.normpath(root / text))
    if not path.is_relative_to(root) or path == root:
        raise UserError(
            f"{where}: {printable(name)} is not inside {printable(root)}: give `data` the "
            "folder that holds all files of the table"
        )
    return path


def _values(row: LabelLine) -> str:
    named = {"label": row.label, "split": row.part, "group": row.group}
    named |= {} if row.weight is None else {"weight": str(row.weight)}
    return ", ".join(f"{name} {printable(value)}" for name, value in named.items() if value)
