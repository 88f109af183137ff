"""`Examples` -> `Split`: which rows are for training, for validation, for the final test.

Everything is seeded and stratified: each class gives each part its share, rounded, but at least one
row. Rows of equal content, of one group and of near copies are one unit and never part: a copy of
a training image among the validation images would be an answer learned by heart. Content that lies
in several classes cannot be judged right, so it is trained on and never evaluated, nor is what
belongs to it.
"""

import hashlib
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.seeds import draw_of
from study.common.text import printable
from study.images.examples import Examples
from study.images.folders import class_folders
from study.images.foreign_folders import is_output
from study.images.image_set import ImageSet
from study.images.layout import TEST, TRAIN, VALIDATION

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
    units = _units(examples)
    _require(examples, units, "training, validation and test")
    return _rows(_drawn(examples, units, test_split, leave=2, seed=seed, part="test"))


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
    share = len(test) / len(examples.labels)
    if share + validation_split > 1 - 1e-9:
        raise UserError(
            f"`validation_split` {validation_split} and a test set of {share:.0%} of all "
            f"{examples.noun}s leave nothing to train on: their sum must be below 1"
        )
    held = frozenset(test.tolist())
    parts = "training, validation and test" if held else "training and validation"
    units = _units(examples)
    _require(examples, units, parts)
    free = [unit for unit in units if not held.intersection(unit.rows)]
    validation = _drawn(examples, free, validation_split, leave=1, seed=seed, part="validation")
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


class _Unit(NamedTuple):
    """Rows that never part."""

    rows: list[int]
    labels: frozenset[int]


def _units(examples: Examples) -> list[_Unit]:
    """What may be evaluated, in the order of first rows: nothing with a content of two classes."""
    rows: dict[int, list[int]] = defaultdict(list)
    label_of: dict[str, int] = {}
    several: set[str] = set()  # contents of two classes
    labels, seen = examples.labels.tolist(), examples.seen
    for row, unit in enumerate(examples.units.tolist()):
        rows[unit].append(row)
        if label_of.setdefault(seen[row], labels[row]) != labels[row]:
            several.add(seen[row])
    return [
        _Unit(members, frozenset(labels[row] for row in members))
        for members in rows.values()
        if not several or several.isdisjoint(seen[row] for row in members)
    ]


def _drawn(
    examples: Examples, units: list[_Unit], fraction: float, *, leave: int, seed: int, part: str
) -> list[int]:
    """About `fraction` of every class's rows, at least one unit, and at least `leave` stay.

    Units of several classes go first, for their own share; then each class draws the rest from
    units of its own, with a stream of its own.
    """
    stay = Counter(label for unit in units for label in unit.labels)
    chosen = _across(examples, units, fraction, leave=leave, seed=seed, part=part, stay=stay)
    taken, counts = Counter(examples.labels[chosen].tolist()), Counter(examples.labels.tolist())
    owned: dict[int, list[list[int]]] = defaultdict(list)
    for unit in units:
        if len(unit.labels) == 1:
            owned[next(iter(unit.labels))].append(unit.rows)
    for label in range(len(examples.class_names)):
        own = owned[label]
        target = _target(counts[label], fraction) - taken[label]
        rng = draw_of(seed, part, label)
        most = min(stay[label] - leave, len(own))
        chosen += _draw(own, target, most=most, some=not taken[label], rng=rng)
    return chosen


def _across(
    examples: Examples,
    units: list[_Unit],
    fraction: float,
    *,
    leave: int,
    seed: int,
    part: str,
    stay: Counter[int],
) -> list[int]:
    """Of the units of several classes about `fraction` of their rows; `stay` counts down.

    A class without units of its own gets at least one.
    """
    wide = [unit for unit in units if len(unit.labels) > 1]
    counts = [Counter(examples.labels[unit.rows].tolist()) for unit in wide]
    targets = {label: _target(n, fraction) for label, n in sum(counts, Counter[int]()).items()}
    alone = {label for unit in units if len(unit.labels) == 1 for label in unit.labels}
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    order = draw_of(seed, part, len(examples.class_names)).permutation(len(wide)).tolist()

    def take(number: int) -> None:
        order.remove(number)
        stay.subtract(wide[number].labels)
        taken.update(counts[number])
        chosen.extend(wide[number].rows)

    def spare(number: int) -> bool:
        return all(stay[label] > leave for label in wide[number].labels)

    for number in list(order):
        fits = all(taken[label] + n <= targets[label] for label, n in counts[number].items())
        if fits and spare(number):
            take(number)
    for label in sorted(targets.keys() - alone):
        having = [number for number in order if label in wide[number].labels and spare(number)]
        if not taken[label] and having:
            take(min(having, key=lambda number: len(wide[number].rows)))
    return chosen


def _draw(
    units: list[list[int]], target: int, *, most: int, some: bool, rng: np.random.Generator
) -> list[int]:
    """Draw at most `most` units at random until `target` rows, or a unit nearer to it.

    With `some` at least one: if all are larger, any that is not twice as large as the smallest.
    """
    rows: list[int] = []
    drawn = 0
    larger = []
    for number in rng.permutation(len(units)):
        if drawn < most and len(rows) + len(units[number]) <= target:
            rows += units[number]
            drawn += 1
        else:
            larger.append(units[number])
    short = target - len(rows)
    near = [unit for unit in larger if len(unit) - short < short] if drawn < most else []
    if near:
        return rows + near[0]
    if rows or not some or not units or most < 1:
        return rows
    least = min(map(len, units))
    return next(unit for unit in larger if len(unit) < 2 * least)


def _target(count: int, fraction: float) -> int:
    return max(1, int(fraction * count + 0.5 + 1e-9))


def _require(examples: Examples, units: list[_Unit], parts: str) -> None:
    """Every class needs a unit for each part."""
    needed = 3 if "test" in parts else 2
    having = Counter(label for unit in units for label in unit.labels)
    for label, name in enumerate(examples.class_names):
        if having[label] >= needed:
            continue
        what = f"different {'one' if having[label] == 1 else 'ones'} of its own"
        mend = f"add {examples.noun}s or remove the class"
        if examples.grouped:
            what = f"group{'' if having[label] == 1 else 's'} that never part"
            mend = f"add {examples.noun}s of others, remove the class, or make the groups smaller"
        raise UserError(
            f"class {name} in {printable(examples.source)} has too few {examples.noun}s: "
            f"{having[label]} {what}, but {parts} need at least {needed}; {mend}"
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
