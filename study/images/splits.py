"""`ImageSet` -> `Split`: which rows are for training, for validation, for the final test.

Everything is seeded and stratified: each class gives each part its share, rounded, but at least one
row. Rows of equal content are one unit and never part: a copy of a training image among the
validation images would be an answer learned by heart. Content that lies in several classes cannot
be judged right, so it is trained on and never evaluated.
"""

import hashlib
import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.seeds import draw_of
from study.common.text import printable
from study.images.folders import class_folders
from study.images.foreign_folders import is_output
from study.images.image_set import ImageSet
from study.images.layout import TEST, TRAIN, VALIDATION

KERAS_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


class Split(NamedTuple):
    """Row numbers of an `ImageSet`, int32, sorted; the parts are disjoint."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """16 hex digits that differ between different splits."""
        parts = [part.astype("<i4").tobytes() for part in self]
        lengths = ",".join(str(len(part)) for part in parts)
        return hashlib.sha256(lengths.encode() + b"".join(parts)).hexdigest()[:16]


def set_aside_test(images: ImageSet, test_split: float, *, seed: int) -> np.ndarray:
    """Return the test rows, about `test_split` of every class; none for 0.

    Raises `UserError` for a fraction outside 0 <= fraction < 1 and for a class with fewer than
    three different images.
    """
    _check_seed(seed)
    if not 0 <= test_split < 1:
        raise UserError(f"`test_split` must be at least 0 and below 1, but is {test_split}")
    if test_split == 0:
        return _rows([])
    rows: list[int] = []
    for label, units in enumerate(_units(images)):
        _require(images, label, len(units), "training, validation and test")
        rng = draw_of(seed, "test", label)
        rows += _draw(units, _target(images, label, test_split), leave=2, rng=rng)
    return _rows(rows)


def stratified_split(
    images: ImageSet, test: np.ndarray, validation_split: float, *, seed: int
) -> Split:
    """Divide the rows outside `test`: about `validation_split` of ALL rows of a class validate.

    Raises `UserError` for a fraction outside 0 < fraction < 1, for fractions that leave nothing to
    train on, and for a class with too few different images.
    """
    _check_seed(seed)
    if not 0 < validation_split < 1:
        raise UserError(f"`validation_split` must lie between 0 and 1, but is {validation_split}")
    share = len(test) / len(images.paths)
    if share + validation_split > 1 - 1e-9:
        raise UserError(
            f"`validation_split` {validation_split} and a test set of {share:.0%} of all images "
            "leave nothing to train on: their sum must be below 1"
        )
    held = frozenset(test.tolist())
    parts = "training, validation and test" if held else "training and validation"
    validation: list[int] = []
    for label, units in enumerate(_units(images)):
        _require(images, label, len(units), parts)
        free = [unit for unit in units if not held.intersection(unit)]
        rng = draw_of(seed, "validation", label)
        validation += _draw(free, _target(images, label, validation_split), leave=1, rng=rng)
    used = held.union(validation)
    train = [row for row in range(len(images.paths)) if row not in used]
    return Split(_rows(train), _rows(validation), _rows(list(held)))


def keras_split(images: ImageSet, validation_split: float, *, seed: int) -> Split:
    """Return the split of `keras.utils.image_dataset_from_directory` with this seed, shuffled.

    Files are numbered as Keras lists them, unreadable and hidden ones included, and the rows we
    have keep the side they get there. Images that Keras does not list (WebP, PGM, TIFF ...) are
    divided among themselves by the same rule, so that none is lost. Class folders that are
    symbolic links are left out. Equal content may end on both sides: it does so in Keras.
    """
    _check_seed(seed)
    if not 0 < validation_split < 1:
        raise UserError(f"`validation_split` must lie between 0 and 1, but is {validation_split}")
    if images.parts:
        raise UserError(
            f"`split` keras would mix the parts that {printable(images.root)} is divided into: use "
            "`split` stratified, or `split` folders to keep them as they are"
        )
    row_of = {str(path): row for row, path in enumerate(images.paths)}
    listed = _listed_by_keras(images.root)
    others = sorted(set(row_of).difference(listed), key=row_of.__getitem__)
    train: list[int] = []
    validation: list[int] = []
    for files in (listed, others):
        order = list(files)
        np.random.RandomState(seed).shuffle(order)  # the old generator, because Keras uses it
        first = len(order) - int(validation_split * len(order))
        train += [row_of[file] for file in order[:first] if file in row_of]
        validation += [row_of[file] for file in order[first:] if file in row_of]
    if not train or not validation:
        raise UserError(
            f"{len(images.paths)} images are too few for Keras's split with `validation_split` "
            f"{validation_split}: training or validation would be empty"
        )
    return Split(_rows(train), _rows(validation), _rows([]))


def folders_split(images: ImageSet) -> Split:
    """Return the parts of a divided folder as they are; `UserError` where one is missing."""
    if not images.parts:
        raise UserError(
            "`split` folders keeps folders train, val and test as they are, but "
            f"{printable(images.root)} is not divided into such: use `split` stratified"
        )
    if VALIDATION not in images.parts:
        raise UserError(
            f"`split` folders needs a folder val beside train, and {printable(images.root)} has "
            "none: use `split` stratified, which draws the validation images from train"
        )
    return Split(*(images.of_part(part) for part in (TRAIN, VALIDATION, TEST)))


def _units(images: ImageSet) -> list[list[list[int]]]:
    """Return, per class, its units: lists of rows of equal content that no other class has."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(images.digests):
        groups[digest].append(row)
    units: list[list[list[int]]] = [[] for _ in images.class_names]
    for rows in groups.values():
        labels = {int(images.labels[row]) for row in rows}
        if len(labels) == 1:
            units[labels.pop()].append(rows)
    return units


def _draw(
    units: list[list[int]], target: int, *, leave: int, rng: np.random.Generator
) -> list[int]:
    """Draw units at random until `target` rows; at least one unit, and at least `leave` stay."""
    most = len(units) - leave
    rows: list[int] = []
    drawn = 0
    for number in rng.permutation(len(units)):
        if drawn < most and len(rows) + len(units[number]) <= target:
            rows += units[number]
            drawn += 1
    return rows or min(units, key=len)


def _target(images: ImageSet, label: int, fraction: float) -> int:
    count = int(np.count_nonzero(images.labels == label))
    return max(1, int(fraction * count + 0.5 + 1e-9))


def _require(images: ImageSet, label: int, units: int, parts: str) -> None:
    needed = 3 if "test" in parts else 2
    if units < needed:
        raise UserError(
            f"class {images.class_names[label]} in {images.root} has too few images: {units} "
            f"different {'one' if units == 1 else 'ones'} of its own, but {parts} need at least "
            f"{needed}; add images or remove the class"
        )


def _listed_by_keras(root: Path) -> list[str]:
    files: list[str] = []
    for folder in class_folders(root):
        places: list[tuple[str, list[str]]] = []
        for place, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not is_output(Path(place, name))]
            places.append((place, names))
        for place, names in sorted(places):
            files += [
                str(Path(place, n)) for n in sorted(names) if n.lower().endswith(KERAS_SUFFIXES)
            ]
    return files


def _check_seed(seed: int) -> None:
    if seed <= 0:
        raise ValueError(f"a seed must be a positive whole number, but is {seed}")


def _rows(rows: list[int]) -> np.ndarray:
    return np.array(sorted(rows), dtype=np.int32)
