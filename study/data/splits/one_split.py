"""`Examples` -> `Split`: which rows are for training, for validation, for the final test.

Everything is seeded and stratified: each class gives each part its share, rounded, but at least one
row, in units that are never divided (`units.py`).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from study.common.errors import UserError
from study.data.examples import Examples
from study.data.files.class_folders import PARTS, VALIDATION, class_folders
from study.data.files.foreign_folders import is_output
from study.data.image_set import ImageSet
from study.data.splits.units import drawn, require, units_of

KERAS_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


class Split(NamedTuple):
    """Row numbers of `Examples`, sorted; the parts are disjoint."""

    train: Int32[np.ndarray, " n_train"]
    validation: Int32[np.ndarray, " n_validation"]
    test: Int32[np.ndarray, " n_test"]

    @property
    def digest(self) -> str:
        """16 hex digits that differ between different splits."""
        parts = [part.astype("<i4").tobytes() for part in self]
        lengths = ",".join(str(len(part)) for part in parts)
        return hashlib.sha256(lengths.encode() + b"".join(parts)).hexdigest()[:16]


def set_aside_test(
    examples: Examples, test_split: float, *, seed: int
) -> Int32[np.ndarray, " n_test"]:
    """Return the test rows, about `test_split` of every class; none for 0.

    Raises:
        UserError: `test_split` is out of range, or a class has fewer than three units.
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
    examples: Examples, test: Int32[np.ndarray, " n_test"], validation_split: float, *, seed: int
) -> Split:
    """Divide the rows outside `test`: about `validation_split` of ALL rows of a class validate.

    Raises:
        UserError: `validation_split` is out of range, nothing is left to train on, or a class has
            too few units.
    """
    _check_seed(seed)
    _check_validation_split(validation_split)
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
    train = set(range(len(examples.labels))) - held.union(validation)
    return Split(_rows(train), _rows(validation), _rows(held))


def keras_split(images: ImageSet, validation_split: float, *, seed: int) -> Split:
    """Return the split of `keras.utils.image_dataset_from_directory` with this seed, shuffled.

    Files are numbered as Keras lists them, unreadable and hidden ones included, and our rows keep
    the side they get there. Images that Keras does not list (WebP, PGM, TIFF ...) are divided among
    themselves by the same rule, so that none is lost. Equal content may end up on both sides, as
    it does in Keras.

    Raises:
        UserError: `validation_split` is out of range, the images are already divided, or too few.
    """
    _check_seed(seed)
    _check_validation_split(validation_split)
    if images.parts:
        raise UserError(
            f"`split` keras would mix the parts that {images.root} is divided into: use "
            "`split` stratified, or `split` folders to keep them as they are"
        )
    row_of = {str(path): row for row, path in enumerate(images.paths)}
    listed, others = list(_listed_by_keras(images.root)), unlisted_by_keras(images)
    train: list[int] = []
    validation: list[int] = []
    for files in (listed, others):
        np.random.RandomState(seed).shuffle(files)  # the old generator, because Keras uses it
        first = len(files) - int(validation_split * len(files))
        train += [row_of[file] for file in files[:first] if file in row_of]
        validation += [row_of[file] for file in files[first:] if file in row_of]
    if not train or not validation:
        raise UserError(
            f"{len(images.paths)} images are too few for Keras's split with `validation_split` "
            f"{validation_split}: training or validation would be empty"
        )
    return Split(_rows(train), _rows(validation), _rows([]))


def unlisted_by_keras(images: ImageSet) -> list[str]:
    """Return the paths that Keras would not list, sorted as the rows are."""
    listed = set(_listed_by_keras(images.root))
    return [str(path) for path in images.paths if str(path) not in listed]


def _listed_by_keras(root: Path) -> Iterator[str]:
    for folder in class_folders(root):
        places: list[tuple[str, list[str]]] = []
        for place, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if not is_output(Path(place, name))]
            places.append((place, names))
        for place, names in sorted(places):
            images = (name for name in sorted(names) if name.lower().endswith(KERAS_SUFFIXES))
            yield from (str(Path(place, name)) for name in images)


def folders_split(examples: Examples) -> Split:
    """Return the parts of divided data as they are; refuse data that lack one."""
    where = examples.source
    if not examples.parts:
        raise UserError(
            f"`split` folders keeps {examples.part_noun}s train, val and test as they are, but "
            f"{where} has none: use `split` stratified"
        )
    if VALIDATION not in examples.parts:
        raise UserError(
            f"`split` folders needs a {examples.part_noun} val alongside train, but {where} has "
            f"none: use `split` stratified, which draws the validation {examples.noun}s from train"
        )
    return Split(*(examples.of_part(part) for part in PARTS))


def _check_seed(seed: int) -> None:
    if seed <= 0:
        raise ValueError(f"a seed must be a positive whole number, but is {seed}")


def _check_validation_split(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise UserError(f"`validation_split` must be between 0 and 1, but is {fraction}")


def _rows(rows: Iterable[int]) -> Int32[np.ndarray, " n"]:
    return np.array(sorted(rows), dtype=np.int32)
