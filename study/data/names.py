"""What is doubtful about names: of classes (twins, no class, numbers), and of files (masks)."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from study.common.text import NAMED, first_few
from study.data.examples import Examples
from study.data.image_set import ImageSet

FEWEST_MASKS = 3  # files: fewer may be called so by chance
LONG = 60  # last letters of a name that may say that it is a copy
FEWEST_VALUES, MOST_EXAMPLES = 10, 3  # different numbers, examples of each: measured values
COPY = re.compile(r"([ _-]*(\(\d+\)|\bcopy\b( *\d+)?))+$")  # as file managers name copies
LATIN = str.maketrans("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u03bf", "aeopcyxio")
ANNOTATIONS = "mask masks annotation annotations labels segmentation gt"
MASK = re.compile(  # at the end of a name: x_mask.png beside x.png
    r"[ _.-]*(?<![a-z])(masks?|gt|ground[ _-]?truth|labels?|labelled|seg|segmentation|annotations?|"
    r"annotated|overlay)([ _.-]*\d+)?$",
    re.IGNORECASE,
)
UNLABELLED = (
    "unlabeled unlabelled notlabeled notlabelled nolabel nolabels unclassified unannotated unsorted"
    " undefined rejected reject rejects discarded excluded ignored skipped todo nan none null n/a ?"
)
MEANINGS = {  # name, without spaces and the like -> what it may mean
    **dict.fromkeys(ANNOTATIONS.split(), "annotations"),
    **dict.fromkeys(UNLABELLED.split(), "unlabelled or rejected ones"),
}


def mask_pairs(images: ImageSet) -> list[str]:
    """Return a sentence if many files are named like masks of others, or lie in such folders."""
    stems = {(path.parent, path.stem): path.name for path in images.paths}
    found = []
    for path in images.paths:
        original = MASK.sub("", path.stem)
        folders = path.relative_to(images.root).parts[1:-1]
        if original != path.stem and (path.parent, original) in stems:
            found.append(f"{path.name} beside {stems[path.parent, original]}")
        elif any(name.lower() in ANNOTATIONS.split() for name in folders):
            found.append(str(path.relative_to(images.root)))
    if not FEWEST_MASKS <= len(found) < len(images.paths):
        return []
    return [
        f"{len(found):,} of {len(images.paths):,} images are named like masks of others, such as "
        f"{found[0]}: a study takes them for photos of their class; move them away"
    ]


def class_doubts(examples: Examples) -> list[str]:
    """Return sentences on classes that may be one, or none, and on numbers as classes."""
    return [*twins(examples), *_named_like_none(examples.class_names), *_measured(examples)]


def twins(examples: Examples) -> Iterator[str]:
    """Yield sentences on classes whose names differ only in how they are written."""
    counts = np.bincount(examples.labels, minlength=len(examples.class_names))
    merged = "move their images into one folder"
    fix = merged if examples.part_noun == "folder" else "give them one label"
    groups = _alike(examples.class_names)
    for labels in groups[:NAMED]:
        names = [examples.class_names[label] for label in labels]
        print_alike = len(set(map(_look, names))) < len(names)
        shown = map(ascii if print_alike else repr, names)
        numbers = (f"{name} {counts[label]:,}" for name, label in zip(shown, labels, strict=True))
        yield f"may be one class: {first_few(numbers)}; if they are, {fix}"
    if (rest := len(groups) - NAMED) > 0:
        yield f"may be one class: {rest:,} more such groups"


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Return groups of labels whose names are spelled alike."""
    spelled = list(map(_spelling, names))
    known = set(spelled)
    found: dict[str, list[int]] = defaultdict(list)
    for label, name in enumerate(spelled):  # "level (1)" and "level (2)" alone are no copies
        original = _spelling(name[:-LONG] + COPY.sub("", name[-LONG:]))
        found[original if original in known else name].append(label)
    return [labels for labels in found.values() if len(labels) > 1]


def _look(name: str) -> str:
    """Return equal texts for names that print alike."""
    visible = (one for one in name if unicodedata.category(one) != "Cf")
    return unicodedata.normalize("NFKC", "".join(visible)).translate(LATIN)


def _spelling(name: str) -> str:
    """Return equal texts for names that differ in capitals, spaces, signs, or zeros of numbers."""
    text = re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", _look(_look(name).casefold()).strip(" _"))
    return re.sub(r"(?<![\d.])0+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", text))


def _named_like_none(names: Sequence[str]) -> Iterator[str]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if meaning := MEANINGS.get(re.sub(r"[\s_-]", "", name.casefold())):
            found[meaning].append(name)
    for meaning, those in found.items():
        if len(those) < len(names):
            yield f"used as a class, but named like {meaning}: {first_few(those)}"


def _measured(examples: Examples) -> Iterator[str]:
    """Yield a sentence if the names are numbers that look like what a regression predicts."""
    names, count = examples.class_names, len(examples.labels)
    numbers = all(
        re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", name.casefold()) for name in names
    )
    whole = all(name.lstrip("+-").isdigit() for name in names)
    if (
        numbers
        and len(names) >= FEWEST_VALUES
        and (not whole or count < MOST_EXAMPLES * len(names))
    ):
        yield (
            f"the labels are {len(names):,} different numbers for {count:,} {examples.noun}s, "
            "perhaps values to predict (a regression): each number is a class of its own here, so "
            "make a few ranges of them"
        )
