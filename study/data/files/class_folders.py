"""A folder as it was given -> `ClassFolders`: where its classes are, and whether it is divided.

Only names of folders and files are read. Three shapes are understood: class folders; one folder
around them, as archives unpack; folders for train, validation and test with class folders inside.
Where the same folders repeat below others of unknown names, the user is asked: parts taken for
classes would rank optimizers by how well they tell train from test.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from study.common.errors import UserError
from study.common.text import first_few, printable
from study.data.files.foreign_folders import is_foreign
from study.data.files.links import is_circle, is_link
from study.data.pixels.decoding import SUFFIXES
from study.data.pixels.foreign_formats import is_other

PARTS = TRAIN, VALIDATION, TEST = "train", "validation", "test"
PART_OF = {
    **dict.fromkeys(("train", "training", "training_set", "train_set", "seg_train"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("validation_set", "valid_set", "val_set", "dev_set", "seg_val"), VALIDATION),
    **dict.fromkeys(("test", "testing", "test_set", "testing_set", "seg_test"), TEST),
}
LIKELY = {"train": TRAIN, "val": VALIDATION, "dev": VALIDATION, "test": TEST}  # within a name
UNKNOWN = "has no class folders named like those of train, so its classes are unknown"


class Problem(NamedTuple):
    """A file or folder that was left out."""

    path: Path
    reason: str  # to be read after the path: "is cut off"
    label: str = ""  # the class that it belongs to, where that is known

    def __str__(self) -> str:
        return f"{printable(self.path)} {self.reason}"


class ClassFolders(NamedTuple):
    """Where the classes of a folder are."""

    root: Path  # holds the class folders, or the parts
    tops: Mapping[str, Path]  # part ("" of an undivided folder) -> what holds its class folders
    problems: tuple[Problem, ...] = ()  # folders beside the parts
    notes: tuple[str, ...] = ()  # how the folder was understood, in words


def find_class_folders(data: Path, *, ask: bool = True) -> ClassFolders:
    """Find the class folders in `data`; without `ask`, folders inside classes raise no doubt.

    Raises:
        UserError: folders may be parts or classes, there is nothing to train on, or a folder
            cannot be read.
    """
    root = data
    while (inner := _only_folder(root)) is not None:
        if part_of(inner.name) in (VALIDATION, TEST):
            raise UserError(
                f"{root} holds a folder {inner.name}, but none to train on: "
                "give `data` the folder that also holds train"
            )
        root = inner
    notes: tuple[str, ...] = ()
    if root != data:
        notes = (f"using {root}, the only folder with images in {data}",)
    folders = _folders_with_data(root)
    named = {folder: part for folder in folders if (part := part_of(folder.name))}
    if _is_divided(folders, named):
        return _divided(root, folders, named)._replace(notes=notes)
    if ask:
        _refuse_parts(root, folders)
        notes = (*notes, *_doubts(folders))
    return ClassFolders(root, {"": root}, notes=notes)


def part_of(name: str) -> str | None:
    """Return the part that a name means; None for any other name."""
    return PART_OF.get(name.strip().lower().replace("-", "_").replace(" ", "_"))


def entries(folder: Path) -> list[Path]:
    """Return what is directly in `folder`, sorted; refuse a folder that cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read ({error.strerror}): check its permissions"
        ) from None


def class_folders(root: Path) -> list[Path]:
    """Return the folders in `root` that may be classes, and links to such, sorted."""
    return [entry for entry in entries(root) if entry.is_dir() and _may_hold_data(entry)]


def may_be_image(name: str) -> bool:
    """Return whether a file is named like an image."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _only_folder(root: Path) -> Path | None:
    """Return the one folder with images in `root`, unless it may be a class."""
    folders = _folders_with_data(root)
    links = any(entry.is_symlink() and entry.is_dir() for entry in entries(root))
    if len(folders) != 1 or links or not (inside := _subfolders(folders[0])):
        return None
    # loose images: of a class that also has folders, or beside parts
    if _holds_images(folders[0]) and not any(map(part_of, [folders[0].name, *inside])):
        return None
    return folders[0]


def _folders_with_data(root: Path) -> list[Path]:
    return [folder for folder in class_folders(root) if _holds_data(folder)]


def _holds_data(folder: Path) -> bool:
    """Return whether any file in or below `folder` may be an image, or meant as one, by its name.

    A folder that cannot be read, or that a link leads to, may hold images, too.
    """
    unread: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unread.append):
        if any(
            is_link(path) and _may_hold_data(path) for path in map(Path(place).joinpath, folders)
        ):
            return True
        folders[:] = [name for name in folders if not is_foreign(Path(place, name))]
        visible = (name for name in names if not name.startswith("."))
        if not all(map(is_other, visible)) or any(may_be_image(name.lstrip(".")) for name in names):
            return True
    return bool(unread)


def _subfolders(folder: Path) -> frozenset[str]:
    """Return the names of the folders in `folder`; none where it cannot be read."""
    _, names, _ = next(os.walk(folder), ("", [], []))
    return frozenset(name for name in names if _may_hold_data(folder / name))


def _may_hold_data(folder: Path) -> bool:
    return not is_foreign(folder) and not is_circle(folder)


def _holds_images(folder: Path) -> bool:
    """Return whether files named like images are directly in `folder`."""
    _, _, names = next(os.walk(folder), ("", [], []))
    return any(map(may_be_image, names))


def _is_nested(folder: Path) -> bool:
    return bool(_subfolders(folder)) and not _holds_images(folder)


def _is_divided(folders: Sequence[Path], named: Mapping[Path, str]) -> bool:
    """Return whether there are two parts by name, or one beside another folder of folders."""
    if len(named) > 1:
        return any(map(_subfolders, named))
    nested = [folder for folder in folders if _is_nested(folder)]
    return len(nested) > 1 and any(folder in named for folder in nested)


def _divided(root: Path, folders: Sequence[Path], named: Mapping[Path, str]) -> ClassFolders:
    """Return the class folders of a folder with parts known by name."""
    having = {folder: part for folder, part in named.items() if _subfolders(folder)}
    _check_parts(root, having)
    folder_of = {part: folder for folder, part in having.items()}
    tops = {part: _unwrapped(folder_of[part], part) for part in PARTS if part in folder_of}
    trained = _subfolders(tops[TRAIN])
    for part in tops.keys() - {TRAIN}:
        inside = _subfolders(tops[part])
        if len(inside) == 1 and not inside & trained:  # `test/unknown`: images of unknown classes
            del tops[part]
    used = [folder_of[part] for part in tops]
    others = [folder for folder in folders if folder not in used]
    classes = {name for top in tops.values() for name in _subfolders(top)}
    for folder in others:
        same = classes & _subfolders(folder)
        if folder not in named and (len(named) == 1 or same):
            raise UserError(_question(root, folders, same))
    beside = f"is not one of the parts {_names(used)}"
    problems = tuple(Problem(one, UNKNOWN if one in named else beside) for one in others)
    return ClassFolders(root, tops, problems)


def _check_parts(root: Path, having: Mapping[Path, str]) -> None:
    for part, count in Counter(having.values()).items():
        if count > 1:
            same = _names(folder for folder, its in having.items() if its == part)
            raise UserError(
                f"{root} holds {same}, which all mean {part}: merge them, or keep only one of them"
            )
    if TRAIN not in having.values():
        raise UserError(
            f"{root} holds {_names(having)}, but no folder train with class folders to "
            "train on: add it, or rename the folder that holds the training images to train"
        )


def _unwrapped(top: Path, part: str) -> Path:
    """Return what holds the class folders of a part, as in `training_set/training_set/cats`."""
    while (inner := _only_folder(top)) is not None and part_of(inner.name) == part:
        top = inner
    return top


def _refuse_parts(root: Path, folders: Sequence[Path]) -> None:
    """Refuse parts without class folders, and the same folders inside most of the others."""
    if len(folders) > 1 and all(part_of(folder.name) for folder in folders):
        raise UserError(
            f"{root} is divided into {_names(folders)}, which hold images but no class "
            "folders: put the images of each into one folder per class"
        )
    inside = Counter(
        name for folder in folders if _is_nested(folder) for name in _subfolders(folder)
    )
    common = {name for name, count in inside.items() if count > len(folders) / 2 and count > 1}
    if len(common) < 2:
        return
    if all(map(part_of, common)):
        part = max(common, key=lambda name: (part_of(name) == TRAIN, name))
        label = folders[0].name
        raise UserError(
            f"{root} holds classes that are each divided into {_names(common)}: put the "
            f"classes inside the parts, as in {part}/{label} instead of {label}/{part}"
        )
    raise UserError(_question(root, folders, common))


def _doubts(folders: Sequence[Path]) -> Iterator[str]:
    """Yield what makes it doubtful that these are the classes, in words."""
    inside = {name for folder in folders for name in _subfolders(folder)}
    if len(inside) > len(folders) > 1 and all(map(_is_nested, folders)):
        yield (
            f"warning: the classes ({_names(folders)}) hold only folders; if those "
            f"({_names(inside)}) are the classes, put them side by side into one folder"
        )


def _question(root: Path, folders: Sequence[Path], common: Iterable[str]) -> str:
    what, way = "that hold folders", "rename the one that is named like a part"
    if same := _names(common):
        what = f"with the same folders inside ({same})"
        way = (
            "rename the folders inside so that no name occurs twice, or give `group` subfolder if "
            "each of them holds one subject"
        )
    return (
        f"{root} holds folders {what}, so they may be parts of a division and not "
        f"classes: {first_few(map(_guess, folders))}; if they are parts, name them train, "
        f"val and test and move all others away; if they are classes, {way}"
    )


def _guess(folder: Path) -> str:
    """Return a folder's name, and the part that it looks like."""
    name = folder.name.lower()
    found = [part_of(name)] if part_of(name) else [p for word, p in LIKELY.items() if word in name]
    guess = f"looks like {found[0]}" if len(found) == 1 else "not a part by its name"
    return f"{folder.name} ({guess})"


def _names(folders: Iterable[Path | str]) -> str:
    return first_few(sorted(Path(folder).name for folder in folders))
