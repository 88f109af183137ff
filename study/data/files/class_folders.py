"""A folder as it was given -> `ClassFolders`: where its classes lie, and whether it is divided.

Only names of folders and files are read. Three shapes are understood: class folders; one folder
around them, as archives unpack; folders for train, validation and test with class folders inside.
Where the same folders repeat below others of unknown names, the user is asked: a division taken as
classes would rank optimizers by how well they tell train from test.

A folder of class folders -> the files that may be images, in the order of Keras's listing.

Nothing is opened here. Symbolic links are followed only where they lead to a file inside the
folder, so that walking ends and nothing from elsewhere comes in; all of them below a class folder
where the user says so, but into no folder twice.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from study.common.errors import UserError
from study.common.text import first_few, printable
from study.data.files.foreign_folders import is_foreign
from study.data.pixels.decoding import SUFFIXES

TRAIN, VALIDATION, TEST = "train", "validation", "test"
PART_OF = {
    **dict.fromkeys(("train", "training", "training_set", "train_set", "seg_train"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("validation_set", "valid_set", "val_set", "dev_set", "seg_val"), VALIDATION),
    **dict.fromkeys(("test", "testing", "test_set", "testing_set", "seg_test"), TEST),
}
LOOKS = {"train": TRAIN, "val": VALIDATION, "dev": VALIDATION, "test": TEST}  # within a name
ANNOTATIONS = {"mask", "masks", "annotation", "annotations", "labels", "segmentation", "gt"}
NAMED = 5  # folders named in one sentence

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


@dataclass(frozen=True)
class ClassFolders:
    """Where the classes of a folder lie."""

    root: Path  # holds the class folders, or the parts
    parts: dict[str, Path] = field(default_factory=dict)  # part -> what holds its class folders
    problems: tuple[Problem, ...] = ()  # what lies beside the parts
    notes: tuple[str, ...] = ()  # what was decided, in words

    @property
    def tops(self) -> list[Path]:
        """The folders that hold class folders; of a divided one train, validation, test."""
        return list(self.parts.values()) or [self.root]

    def find(self, *, follow: bool) -> Found:
        """Every file that may be an image, by part; `follow` as in `find_files`."""
        found = [find_files(top, self.root, follow=follow) for top in self.tops]
        return Found(
            [path for one in found for path in one.files],
            [*self.problems, *(problem for one in found for problem in one.problems)],
            sum(one.ignored for one in found),
        )

    def class_folders(self) -> list[Path]:
        """The folders that may be classes."""
        return [folder for top in self.tops for folder in class_folders(top)]

    def place_of(self, path: Path) -> tuple[str, ...]:
        """The part ("" where there is none), the class folder's name, and what follows it."""
        for part, top in self.parts.items():
            if path.is_relative_to(top):
                return part, *path.relative_to(top).parts
        return "", *path.relative_to(self.root).parts


def find_layout(data: Path, *, ask: bool = True) -> ClassFolders:
    """Look for the classes in `data`; without `ask`, folders inside of classes are no doubt.

    Raises `UserError` where folders may be parts or classes and nobody can tell, where the parts
    lack one to train on, and where a folder cannot be read.
    """
    root = data
    while (inner := _only_folder(root)) is not None:
        if part_of(inner.name) in (VALIDATION, TEST):
            raise UserError(
                f"{printable(root)} holds a folder {_name(inner)} and none to train on: give "
                "`data` the folder that holds train, too"
            )
        root = inner
    notes = (_taken(root, data),) if root != data else ()
    tops = [folder for folder in class_folders(root) if holds_data(folder)]
    named = {top: part for top in tops if (part := part_of(top.name))}
    if _is_divided(tops, named):
        return _by_names(root, tops, named, notes)
    if ask:
        _ask_about(root, tops)
        notes = (*notes, *_doubts(tops))
    return ClassFolders(root, notes=notes)


def part_of(name: str) -> str | None:
    """The part that a name means; None for any other name."""
    return PART_OF.get(name.strip().lower().replace("-", "_").replace(" ", "_"))


def _taken(root: Path, data: Path) -> str:
    return f"taken: {printable(root)}, the only folder with images in {printable(data)}"


def _only_folder(root: Path) -> Path | None:
    """The one folder with images in `root`, if it is no class but what holds the classes."""
    tops = [folder for folder in class_folders(root) if holds_data(folder)]
    links = any(entry.is_symlink() and entry.is_dir() for entry in entries(root))
    if len(tops) != 1 or not subfolders(tops[0]) or links:
        return None
    inside = subfolders(tops[0])
    loose = holds_loose_images(tops[0])  # of a class with folders, or beside parts
    return None if loose and not any(map(part_of, [tops[0].name, *inside])) else tops[0]


def _is_divided(tops: Sequence[Path], named: dict[Path, str]) -> bool:
    """Two parts by name, or one beside any other folder that may be a part."""
    nested = [top for top in tops if is_nested(top)]
    if len(named) > 1:
        return any(map(subfolders, named))
    return any(top in named for top in nested) and len(nested) > 1


def _by_names(
    root: Path, tops: Sequence[Path], named: dict[Path, str], notes: tuple[str, ...]
) -> ClassFolders:
    """The layout of a folder with parts known by name."""
    holding = {top: part for top, part in named.items() if subfolders(top)}
    _check_parts(root, holding)
    parts = {
        part: _unwrapped(top, part)
        for part in (TRAIN, VALIDATION, TEST)
        for top, its in holding.items()
        if its == part and not (part != TRAIN and _is_unlabelled(top, holding))
    }
    holding = {top: part for top, part in holding.items() if part in parts}
    classes = {name for top in parts.values() for name in subfolders(top)}
    others = [top for top in tops if top not in holding]
    for top in others:
        same = classes & subfolders(top)
        if top not in named and (len(named) == 1 or same):
            raise UserError(_question(root, tops, same))
    return ClassFolders(root, parts, tuple(_beside(root, others, holding)), notes)


def _beside(root: Path, others: Sequence[Path], holding: Iterable[Path]) -> Iterator[Problem]:
    """What lies beside the parts and is left out."""
    for entry in entries(root):
        if entry.is_symlink() and entry.is_dir():
            yield Problem(entry, "is a symbolic link, which is not followed")
        elif may_be_image(entry.name) and entry.is_file():
            yield Problem(entry, "lies in no class folder")
    for top in others:
        unknown = "has no class folders named like those of train, so its classes are not known"
        yield Problem(top, unknown if part_of(top.name) else f"is no part beside {_names(holding)}")


def _is_unlabelled(top: Path, holding: Mapping[Path, str]) -> bool:
    """`test/unknown`: one folder that is no class, around images whose classes nobody tells."""
    inside = subfolders(_unwrapped(top, holding[top]))
    train = (subfolders(_unwrapped(one, TRAIN)) for one, part in holding.items() if part == TRAIN)
    return len(inside) == 1 and not inside & next(train)


def _check_parts(root: Path, holding: dict[Path, str]) -> None:
    for part, count in Counter(holding.values()).items():
        if count > 1:
            raise UserError(
                f"{printable(root)} holds {_names(t for t, its in holding.items() if its == part)},"
                f" which all mean {part}: join them, or leave one in the folder"
            )
    if TRAIN not in holding.values():
        raise UserError(
            f"{printable(root)} holds {_names(holding)} and no folder train with class folders to "
            "train on: add it, or rename the folder that holds the training images to train"
        )


def _unwrapped(top: Path, part: str) -> Path:
    """`training_set/training_set/cats`: what holds the class folders of a part."""
    while (inner := _only_folder(top)) is not None and part_of(inner.name) == part:
        top = inner
    return top


def _ask_about(root: Path, tops: Sequence[Path]) -> None:
    """Refuse where the same folders lie below most others, and where all are flat parts."""
    if len(tops) > 1 and all(part_of(top.name) for top in tops):
        raise UserError(
            f"{printable(root)} is divided into {_names(tops)}, which hold images but no class "
            "folders: put the images of each into one folder per class"
        )
    below = Counter(name for top in tops if is_nested(top) for name in subfolders(top))
    common = {name for name, count in below.items() if count > len(tops) / 2 and count > 1}
    if len(common) < 2:
        return
    if all(map(part_of, common)):
        raise UserError(
            f"{printable(root)} holds classes that are each divided into {_names(common)}: put the "
            f"parts on top and the classes inside, {_turned(common, tops)}"
        )
    raise UserError(_question(root, tops, common))


def _doubts(tops: Sequence[Path]) -> Iterator[str]:
    """What makes it doubtful that these are the classes, in words."""
    beside = [top for top in tops if top.name.strip().lower() in ANNOTATIONS]
    if beside and len(beside) < len(tops):
        yield f"warning: {_names(beside)} is taken as a class, but named like annotations"
    nested = [top for top in tops if is_nested(top)]
    inside = {name for top in nested for name in subfolders(top)}
    if len(nested) == len(tops) > 1 and len(inside) > len(tops):
        yield (
            f"warning: the classes ({_names(tops)}) hold only folders; if these are the classes "
            f"({_names(inside)}), put them side by side into one folder"
        )


def _turned(common: Iterable[str], tops: Sequence[Path]) -> str:
    train = max(common, key=lambda name: (part_of(name) == TRAIN, name))
    part, name = printable(train), _name(tops[0])
    return f"{part}/{name} in place of {name}/{part}"


def _question(root: Path, tops: Sequence[Path], common: Iterable[str]) -> str:
    same = sorted(common)
    what = f" with the same folders ({_names(same)})" if same else " that hold folders"
    way = "what is in them so that no two hold a folder of the same name"
    if not same:
        way = "the one that is named like a part"
    looks = first_few(map(_looks_like, tops), NAMED)
    return (
        f"{printable(root)} holds folders{what}, so they may be parts of a division and not "
        f"classes: {looks}; name the parts train, val and test and move all else away, or, if they "
        f"are classes, rename {way}"
        + (", or give `group` subfolder if each holds one subject" if same else "")
    )


def _looks_like(folder: Path) -> str:
    part = part_of(folder.name)
    found = [part] if part else [its for word, its in LOOKS.items() if word in folder.name.lower()]
    guess = f"looks like {found[0]}" if len(found) == 1 else "no part by its name"
    return f"{_name(folder)} ({guess})"


def _names(folders: Iterable[Path | str]) -> str:
    return first_few(sorted(Path(folder).name for folder in folders), NAMED)


def _name(folder: Path) -> str:
    return printable(folder.name)
