"""An `ImageSet` in words, to be read before a study."""

from collections import Counter
from collections.abc import Iterable
from statistics import median

from study.common.text import first_few, printable
from study.images.deep_grey import WHITES
from study.images.doubts import doubts
from study.images.examples import Examples
from study.images.image_set import ImageSet
from study.images.layout import TEST, VALIDATION

NAMED = 5  # classes named in one line


def overview(images: ImageSet) -> str:
    """Return what to know of the images before a study, as lines of text."""
    headers = images.headers
    widths, heights = zip(*(size for _, size, _ in headers), strict=True)
    counts, parts = Counter(images.labels.tolist()), _by_part(images)
    copies = len(images.seen) - len(set(images.seen))
    kind, size, mode = headers[0]
    lines = [f"{len(images.paths):,} images in {len(counts)} classes in {printable(images.root)}"]
    lines += [
        f"  {counts[label]:6,}  {name}{parts[label]}"
        for label, name in enumerate(images.class_names)
    ]
    lines += [*images.notes, *white_points(images)]
    lines += [f"warning: {sentence}" for sentence in images.without_test()]
    lines += [
        _division(images),
        f"first image: {printable(images.paths[0])}: {kind} {size} {mode}",
        f"widths {min(widths)} to {max(widths)} (median {median(widths):.0f}), "
        f"heights {min(heights)} to {max(heights)} (median {median(heights):.0f})",
        f"formats: {_tally(kind for kind, _, _ in headers)}",
        f"modes: {_tally(mode for _, _, mode in headers)}",
        f"left out: {len(images.problems)}; ignored, no images: {images.ignored}; copies: {copies}",
    ]
    lines += [f"  {line}" for line in doubts(images)]
    return "\n".join(lines)


def classes_line(images: Examples) -> str:
    """The first classes with their numbers of examples."""
    counts, parts = Counter(images.labels.tolist()), _by_part(images)
    names = [
        f"{name} {counts[label]:,}{parts[label]}" for label, name in enumerate(images.class_names)
    ]
    return f"classes: {first_few(names, NAMED)}"


def white_points(images: ImageSet) -> list[str]:
    """How deep grey is shown, a line for each kind of it."""
    counts = images.deep_kinds
    lines = []
    for kind, (black, white) in images.scales.items():
        bits = f" ({WHITES[int(white)]} bits)" if not black and white in WHITES else ""
        lines.append(
            f"deep grey: {counts[kind]:,} images of {kind}, {black:.6g} is black and {white:.6g} "
            f"white{bits} in all of them"
        )
    if without := sum(image.without > 0 for image in images.greys.values()):
        lines.append(f"deep grey: pixels without a value are black (in {without:,} images)")
    return lines


def _by_part(images: Examples) -> list[str]:
    """Per class, in brackets, how many examples lie in each part of a division."""
    if not images.parts:
        return [""] * len(images.class_names)
    counts, folders = (
        Counter(zip(images.labels.tolist(), images.parts, strict=True)),
        images.part_names,
    )
    return [
        f" ({', '.join(f'{counts[label, part]:,} {name}' for part, name in folders.items())})"
        for label in range(len(images.class_names))
    ]


def _division(images: ImageSet) -> str:
    folders = images.part_names
    if not folders:
        return "not divided: a search draws training, validation and test images from all of them"
    sizes = ", ".join(f"{name} {len(images.of_part(part)):,}" for part, name in folders.items())
    pool = " and ".join(name for part, name in folders.items() if part != TEST)
    kept = "; --split folders keeps the parts as they are" if VALIDATION in folders else ""
    if TEST not in folders:
        return f"divided into {sizes}: a search draws all it needs from {pool}{kept}"
    return (
        f"divided into {sizes}: a search has {folders[TEST]} as its test set and draws training "
        f"and validation images from {pool}, anew for every repeat{kept}"
    )


def _tally(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common())
