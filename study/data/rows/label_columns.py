"""The columns beside the rows of a `.npz` file: classes, groups, parts and weights, checked."""

import sys
from collections import Counter
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32, Int, Int32, Integer, Shaped

from study.common.text import near, printable
from study.data.files.class_folders import PART_OF, PARTS, TRAIN, part_of
from study.data.rows.npz_file import NpzFile
from study.data.sample_weight import WEIGHTS, are_weights

LONGEST = 1000  # characters of a name
Names = tuple[str, ...]


def class_column(file: NpzFile) -> tuple[Int32[np.ndarray, " N"], Names, list[str]]:
    """Return the labels, the names of the classes that have rows, and a note about any others.

    Raises:
        UserError: `y` or `class_names` cannot be used, or there are fewer than two classes.
    """
    notes: list[str] = []
    named = file.headers["y"].dtype.kind in "US"
    if named and "class_names" in file.headers:
        raise file.error("class_names", "names class numbers, but y holds names already: drop one")
    values = _texts(file, "y") if named else _numbers(file)
    numbers, labels = np.unique(values, return_inverse=True)
    found = tuple(map(str, numbers.tolist()))
    if "class_names" in file.headers:
        given = _class_names(file)
        _check_range(file, numbers, labels, len(given))
        found = tuple(given[number] for number in numbers.tolist())
        if unused := sorted(set(given).difference(found), key=given.index):
            notes.append(
                f"class_names: {len(unused)} of {len(given)} have no rows and are left out, such "
                f"as {unused[0]}"
            )
    if len(found) < 2:
        raise file.error("y", f"holds only one class, {found[0]}, but needs two")
    return labels.astype(np.int32), _distinct(file, "y", found), notes


def group_column(file: NpzFile) -> Names:
    """Return N names of groups, "" for none; refuse anything but whole numbers and names."""
    if file.headers["group"].dtype.kind in "US":
        return tuple(_texts(file, "group", empty=True).tolist())
    return tuple(map(str, _numbers(file, "group").tolist()))


def split_column(
    file: NpzFile, labels: Int32[np.ndarray, " N"], names: Names
) -> tuple[Names, Mapping[str, str]]:
    """Return N parts (none without `split`), and what the file calls each of them.

    Raises:
        UserError: `split` holds an unknown word, or a class has nothing to train on.
    """
    if "split" not in file.headers:
        return (), {}
    words = _texts(file, "split")
    called: dict[str, list[str]] = {part: [] for part in PARTS}
    parts_of: dict[str, str] = {}
    for word in np.unique(words).tolist():
        part = part_of(word)
        if part is None:
            row = int((words == word).argmax())
            raise file.error(
                "split",
                f"'{word}' in row {row} (from 0) is not a part{near(word, PART_OF)}; "
                "valid: train, val, test and other usual names of such folders",
            )
        parts_of[word] = part
        called[part].append(printable(word.strip()))
    parts = tuple(parts_of[word] for word in words.tolist())
    trained = set(labels[[part == TRAIN for part in parts]].tolist())
    lost = [name for label, name in enumerate(names) if label not in trained]
    if lost:
        raise file.error("split", f"leaves no row to train on of {', '.join(map(repr, lost[:5]))}")
    return parts, {part: "/".join(found) for part, found in called.items() if found}


def weight_column(file: NpzFile) -> Float32[np.ndarray, " N"]:
    """Return N weights; refuse anything but finite numbers of 0 or more."""
    key, dtype = "sample_weight", file.headers["sample_weight"].dtype
    if dtype.kind not in "fiu":
        raise file.error(key, f"is {dtype}, but must hold numbers: {key}.astype('float32')")
    values = file.column(key)
    if not (right := are_weights(values)).all():
        row = int((~right).argmax())
        raise file.error(key, f"{values[row]} in row {row} (from 0), but {WEIGHTS}")
    return values.astype(np.float32)


def _numbers(file: NpzFile, key: str = "y") -> Integer[np.ndarray, " N"]:
    """Return whole numbers; of classes from 0."""
    dtype = file.headers[key].dtype
    if dtype.kind not in "iu":
        raise file.error(
            key,
            f"is {dtype}, but must hold whole numbers or names: {key}.astype(int) or "
            f"{key}.astype(str)",
        )
    values = file.column(key)
    if key == "y" and values.min() < 0:
        row = int((values < 0).argmax())
        raise file.error(
            key,
            f"{values[row]} in row {row} (from 0), but classes are numbered from 0: give names "
            "(y.astype(str)), or remove these rows",
        )
    return values


def _texts(file: NpzFile, key: str, *, empty: bool = False) -> Shaped[np.ndarray, " n"]:
    """Return names, none of which is too long or, unless `empty`, blank."""
    dtype = file.headers[key].dtype
    if dtype.kind not in "US":
        raise file.error(key, f"is {dtype}, but must hold names: {key}.astype(str)")
    longest = dtype.itemsize // (4 if dtype.kind == "U" else 1)
    if longest > LONGEST:
        what = f"has names of up to {longest:,} characters, but may have at most {LONGEST:,}"
        raise file.error(key, what)
    values = file.column(key)
    if dtype.kind == "U" and values.nbytes and values.view(np.uint32).max() > sys.maxunicode:
        raise file.error(key, "holds numbers that are not characters: the file is damaged")
    try:
        texts = [one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist()]
    except ValueError:
        raise file.error(key, "holds bytes that are not text (UTF-8)") from None
    if not empty and (blank := [row for row, text in enumerate(texts) if not text.strip()]):
        what = (
            f"{len(blank):,} names are empty, the first" if len(blank) > 1 else "a name is empty,"
        )
        raise file.error(key, f"{what} in row {blank[0]} (from 0)")
    return np.array(texts, dtype=f"<U{max(longest, 1)}")


def _class_names(file: NpzFile) -> Names:
    shape = file.headers["class_names"].shape
    if len(shape) != 1:
        raise file.error("class_names", f"is {shape}, but must be (C,), one name per class")
    names = tuple(map(str, _texts(file, "class_names").tolist()))
    return _distinct(file, "class_names", names)


def _check_range(
    file: NpzFile, numbers: Integer[np.ndarray, " C"], labels: Int[np.ndarray, " N"], count: int
) -> None:
    if int(numbers[-1]) >= count:
        row = int((labels == len(numbers) - 1).argmax())
        raise file.error(
            "y",
            f"{numbers[-1]} in row {row} (from 0), but class_names has {count} names, for classes "
            f"0 to {count - 1}",
        )


def _distinct(file: NpzFile, key: str, names: Names) -> Names:
    """Return the names, printable."""
    shown = tuple(map(printable, names))
    twice = next((name for name, count in Counter(shown).items() if count > 1), None)
    if twice is not None:
        raise file.error(key, f"two classes are both named {twice}")
    return shown
