"""A folder of class folders -> the files that may be images, in the order of Keras's listing.

Nothing is opened here. Symbolic links are followed only where they lead to a file inside the
folder, so that walking ends and nothing from elsewhere comes in; all of them below a class folder
where the user says so, but into no folder twice.
"""

import os
from pathlib import Path
from typing import NamedTuple

from study.common.errors import UserError
from study.common.text import printable
from study.images.decoding import SUFFIXES
from study.images.foreign_folders import is_foreign

DOCUMENTS = {".txt", ".md", ".rst", ".html", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml"}


class Problem(NamedTuple):
    """A file or folder that was left out."""

    path: Path
    reason: str  # to be read after the path: "is cut off"

    def __str__(self) -> str:
        return f"{printable(self.path)} {self.reason}"


class Found(NamedTuple):
    """What a folder holds, before any file was opened."""

    files: list[Path]  # sorted by class, then folder, then name
    problems: list[Problem]
    ignored: int  # hidden files, and files beside the class folders that are not named like images


def find_files(root: Path, whole: Path, *, follow: bool = False) -> Found:
    """Walk all class folders of `root`; raises `UserError` where `root` cannot be read.

    Args:
        root: holds the class folders.
        whole: `root` or what it is a part of; links may lead to files in it.
        follow: links inside the class folders may lead anywhere, to folders, too.
    """
    files: list[Path] = []
    problems: list[Problem] = []
    ignored = 0
    for entry in entries(root):
        hidden = entry.name.startswith(".")
        if entry.is_symlink() and not entry.is_file():
            problems.append(Problem(entry, "is a symbolic link, which is not followed"))
        elif entry.is_dir() and not is_foreign(entry):
            inside = _find_below(entry, whole, follow=follow)
            files += inside.files
            problems += inside.problems
            ignored += inside.ignored
        elif entry.suffix.lower() in SUFFIXES and not hidden:
            problems.append(Problem(entry, "lies in no class folder"))
        elif not entry.is_dir():
            ignored += 1
    return Found(files, problems, ignored)


def class_folders(root: Path) -> list[Path]:
    """Return the folders in `root` that may be classes, sorted."""
    return [
        entry
        for entry in entries(root)
        if entry.is_dir() and not entry.is_symlink() and not is_foreign(entry)
    ]


def entries(folder: Path) -> list[Path]:
    """Return what lies directly in `folder`, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{printable(folder)} cannot be read ({error.strerror}): check its permissions"
        ) from None


def subfolders(folder: Path) -> frozenset[str]:
    """Names of the folders in `folder`; none where it may not be read, which is said elsewhere."""
    _, folders, _ = next(os.walk(folder), ("", [], []))
    return frozenset(
        name for name in folders if not _is_link(folder / name) and not is_foreign(folder / name)
    )


def is_nested(folder: Path) -> bool:
    """Whether `folder` holds folders, and no image beside them."""
    return bool(subfolders(folder)) and not holds_loose_images(folder)


def holds_loose_images(folder: Path) -> bool:
    """Whether files named like images lie directly in `folder`."""
    _, _, names = next(os.walk(folder), ("", [], []))
    return any(map(may_be_image, names))


def holds_data(folder: Path) -> bool:
    """Whether any file in or below `folder` may be a picture, or meant as one, by its name."""
    unread: list[OSError] = []  # may hold images, too
    for place, folders, names in os.walk(folder, onerror=unread.append):
        folders[:] = [name for name in folders if not is_foreign(Path(place, name))]
        seen = (name for name in names if not name.startswith("."))
        if any(Path(name).suffix.lower() not in DOCUMENTS for name in seen):
            return True
    return bool(unread)


def may_be_image(name: str) -> bool:
    """Whether a file is named like an image."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _find_below(class_folder: Path, whole: Path, *, follow: bool) -> Found:
    problems: list[Problem] = []

    def unreadable(error: OSError) -> None:
        problems.append(Problem(Path(error.filename), f"cannot be read ({error.strerror})"))

    files: list[Path] = []
    ignored = 0
    walked = {os.path.realpath(class_folder)}
    for place, folders, names in os.walk(class_folder, onerror=unreadable, followlinks=follow):
        here = Path(place)
        folders[:] = [name for name in folders if not is_foreign(here / name)]
        links = [name for name in folders if _is_link(here / name)]
        walked |= {os.path.realpath(here / name) for name in folders if name not in links}
        for name in links:
            if not follow:
                problems.append(Problem(here / name, "is a symbolic link, which is not followed"))
            elif _is_around(here / name, walked):
                problems.append(Problem(here / name, "is a symbolic link in a circle"))
                folders.remove(name)
            else:
                walked.add(os.path.realpath(here / name))
        for name in names:
            path = here / name
            if name.startswith("."):
                ignored += 1
            elif _is_link(path) and not follow and not _leads_inside(path, whole):
                problems.append(Problem(path, "is a symbolic link that leads out of the folder"))
            else:
                files.append(path)
    files.sort(key=lambda path: (str(path.parent), path.name))
    return Found(files, problems, ignored)


def _is_around(link: Path, walked: set[str]) -> bool:
    """Whether a link leads to a folder that was or will be walked, or to one around it."""
    target = os.path.realpath(link)
    return any(target == place or place.startswith(target + os.sep) for place in walked)


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # a folder that may be listed but not entered; opening will name the file
        return False


def _leads_inside(link: Path, root: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(root)
