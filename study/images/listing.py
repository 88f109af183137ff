"""Class folders or a table -> which files a study may use, and what is said of each.

No file is opened here but the table.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from study.common.text import printable
from study.images.folders import Problem, may_be_image
from study.images.foreign_folders import is_foreign
from study.images.layout import TEST, TRAIN, VALIDATION, Layout
from study.images.table import TableRow, missing_hint, ordered_labels, read_table

NO_LINE = "has no line in the table"
PARTS = ("", TRAIN, VALIDATION, TEST)


class Listed(NamedTuple):
    """A file that may be an image."""

    path: Path
    label: str  # the class folder's name, or the table's word
    part: str = ""  # of divided data
    group: str = ""  # of the table


class Listing(NamedTuple):
    """Files of C classes, sorted by part, class, folder, name."""

    source: Path  # the folder or the table
    root: Path  # the folder that all files lie in
    files: list[Listed]
    labels: list[str]  # C or more: every class, in order
    problems: list[Problem]
    ignored: int
    part_names: dict[str, str]  # part -> its folder, or the table's word
    notes: tuple[str, ...]


def list_folders(layout: Layout) -> Listing:
    """The files in class folders.

    Raises:
        UserError: a folder cannot be read.
    """
    found = layout.find()
    files = [Listed(path, label, part) for path in found.files
             for part, label in [layout.place_of(path)]]  # fmt: skip
    names = {
        part: printable(top.relative_to(layout.root).parts[0]) for part, top in layout.parts.items()
    }
    labels = sorted({folder.name for folder in layout.class_folders()})
    return Listing(
        layout.root, layout.root, files, labels, found.problems, found.ignored, names, layout.notes
    )


def list_table(source: Path, root: Path) -> Listing:
    """The files that a table names.

    Raises:
        UserError: the table says what cannot be true, see `read_table`.
    """
    table = read_table(source, root)
    labels = ordered_labels(table.rows)
    place = {label: number for number, label in enumerate(labels)}

    def order(row: TableRow) -> tuple[int, int, str, str]:
        return PARTS.index(row.part), place[row.label], str(row.path.parent), row.path.name

    rows = sorted(table.rows, key=order)
    there = [row for row in rows if row.path.is_file()]
    missing = [Problem(row.path, missing_hint(row.path)) for row in rows if not row.path.is_file()]
    named = {row.path for row in rows}
    unnamed = [Problem(path, NO_LINE) for path in _images_below(root) if path not in named]
    notes = [f"labels: {printable(source)}, {len(rows):,} files"]
    if table.repeated:
        notes.append(f"labels: {table.repeated} lines say again what an earlier one says")
    return Listing(
        source,
        root,
        [Listed(row.path, row.label, row.part, row.group) for row in there],
        labels,
        [*missing, *unnamed],
        0,
        {part: table.part_names[part] for part in PARTS if part in table.part_names},
        tuple(notes),
    )


def _images_below(root: Path) -> Iterator[Path]:
    """Files named like images, in folders that may hold data."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_foreign(Path(place, name)))
        yield from (Path(place, name) for name in sorted(names) if may_be_image(name))
