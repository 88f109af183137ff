"""`Examples` -> `Split`: which rows are for training, for validation, for the final test.

Everything is seeded and stratified: each class gives each part its share, rounded, but at least one
row, in units that never part (`units.py`).
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.text import printable
from study.data.examples import Examples
from study.data.files.class_folders import TEST, TRAIN, VALIDATION, class_folders
from study.data.files.foreign_folders import is_output
from study.data.image_set import ImageSet
from study.data.splits.units import drawn, require, units_of

KERAS_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


class Split(NamedTuple):
    """Row numbers of `Examples`, int32, sorted; the parts are disjoint."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """16 hex digits that differ between different splits."""
        parts = [part.astype("<i4").tobytes() for part in self]
        lengths = ",".join(str(len(part)) for part in parts)
        return hashlib.sha256(lengths.encode() + b"".join(parts)).hexdigest()[:16]


def set_aside_test(examples: Examples, test_split: float, *, seed: int) -> np.ndarray:
    """Return the test rows, about `test_split` of every class; none for 0.

    Raises `UserError` for a fraction outside 0 <= fraction < 1 and for a class with fewer than
    three different images.
    """
    _check_seed(seed)
    if not 0 <= test_split < 1:
        raise UserError(f"`test_split` must be at least 0 and below 1, but is {test_split}")
    if test_split == 0:
        return _rows([])
    units = units_of(examples)
    require(examples, units, "training, validation and test")
    return _rows(drawn(examples, units, test_split, leave=2, seed=seed, part="test"))


def stratified_split(
    examples: Examples, test: np.ndarray, validation_split: float, *, seed: int
) -> Split:
    """Divide the rows outside `test`: about `validation_split` of ALL rows of a class validate.

    Raises `UserError` for a fraction outside 0 < fraction < 1, for fractions that leave nothing to
    train on, and for a class with too few different images.
    """
    _check_seed(seed)
    if not 0 < validation_split < 1:
        raise UserError(f"`validation_split` must lie between 0 and 1, but is {validation_split}")
    held = frozenset(test.tolist())
    parts = "training, validation and test" if held else "training and validation"
    units = units_of(examples)
    require(examples, units, parts)
    share = len(test) / len(examples.labels)
    if share + validation_split > 1 - 1e-9:
        raise UserError(
            f"`validation_split` {validation_split} and a test set of {share:.0%} of all "
            f"{examples.noun}s leave nothing to train on: their sum must be below 1"
        )
    free = [unit for unit in units if not held.intersection(unit.rows)]
    validation = drawn(examples, free, validation_split, leave=1, seed=seed, part="validation")
    used = held.union(validation)
    train = [row for row in range(len(examples.labels)) if row not in used]
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


def folders_split(examples: Examples) -> Split:
    """Return the parts of a divided folder as they are; `UserError` where one is missing."""
    if not examples.parts:
        raise UserError(
            f"`split` folders keeps {examples.part_noun}s train, val and test as they are, but "
            f"{printable(examples.source)} is not divided into such: use `split` stratified"
        )
    if VALIDATION not in examples.parts:
        raise UserError(
            f"`split` folders needs a part val beside train, and {printable(examples.source)} has "
            f"none: use `split` stratified, which draws the validation {examples.noun}s from train"
        )
    return Split(*(examples.of_part(part) for part in (TRAIN, VALIDATION, TEST)))


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
