"""What is in a folder, a table or a file of rows: in words, and some images with their classes."""

from collections import Counter
from collections.abc import Iterable
from statistics import median

import numpy as np
from jaxtyping import Int

from study.common.command import in_flags
from study.common.errors import UserError
from study.common.plot_look import find_fonts, new_figure, shown_names, style, to_png
from study.common.text import first_few, plain, printable
from study.data.doubts import doubts
from study.data.examples import Examples
from study.data.files.class_folders import TEST, VALIDATION
from study.data.image_set import ImageSet
from study.data.pixels.decoding import decode
from study.data.pixels.deep_grey import WHITES
from study.data.rows.load_rows import RowSet
from study.data.splits.study_splits import Splits

FAR, ODD = 4, 0.1  # times larger or smaller than the median; most of the images that are
COLUMNS, ROWS = 5, 3  # of the grid, as in the blog post
SIDE = 160  # pixels of an image in the grid


def overview(images: ImageSet) -> str:
    """Return what to know of the images before a study, in lines, the gravest first."""
    headers = images.headers
    widths, heights = zip(*(size for _, size, _ in headers), strict=True)
    kind, size, mode = headers[0]
    lines = [
        *_classes(images, f"in {images.root}"),
        *images.notes,
        *white_points(images),
        _division(images),
        *_before_search(images),
        f"left out: {len(images.problems)}; ignored (not images): {images.ignored}; "
        f"copies: {images.copies}",
        *(f"  {line}" for line in doubts(images)),
        f"first image: {images.paths[0]}: {kind} {size} {mode}",
        f"widths {min(widths)} to {max(widths)} (median {median(widths):.0f}), "
        f"heights {min(heights)} to {max(heights)} (median {median(heights):.0f})",
        *_odd_sizes(images),
        f"formats: {_tally(kind for kind, _, _ in headers)}",
        f"modes: {_tally(mode for _, _, mode in headers)}",
    ]
    return "\n".join(map(printable, lines))


def overview_of_rows(rows: RowSet) -> str:
    """Return what to know of the rows before a study, as lines of text."""
    lines = [
        *_classes(rows, f"in {rows.source}, {rows.rows.shape[1]:,} numbers each"),
        *rows.notes,
        _division(rows),
        *_before_search(rows),
        *(f"  {line}" for line in rows.doubts()),
    ]
    return "\n".join(map(printable, lines))


def classes_line(examples: Examples) -> str:
    """Return the first classes with their numbers of examples."""
    counts = Counter(examples.labels.tolist())
    names = zip(examples.class_names, _by_part(examples), strict=True)
    shown = [f"{name} {counts[label]:,}{parts}" for label, (name, parts) in enumerate(names)]
    return f"classes: {first_few(shown)}"


def white_points(images: ImageSet) -> list[str]:
    """Return how deep grey is shown, a line for each kind of it."""
    counts = images.deep_kinds
    lines = []
    for kind, (black, white) in images.scales.items():
        bits = f" ({WHITES[int(white)]} bits)" if not black and white in WHITES else ""
        lines.append(
            f"16/32-bit grey: {counts[kind]:,} images of {kind}, {black:.6g} is black and "
            f"{white:.6g} is white{bits} in all of them"
        )
    if without := sum(image.without > 0 for image in images.greys.values()):
        lines.append(f"16/32-bit grey: pixels without a value are black (in {without:,} images)")
    return lines


def _classes(examples: Examples, where: str) -> list[str]:
    """Return how many examples there are, then a line for each class."""
    counts = Counter(examples.labels.tolist())
    names = zip(examples.class_names, _by_part(examples), strict=True)
    return [
        f"{len(examples.labels):,} {examples.noun}s in {len(counts)} classes {where}",
        *(f"  {counts[label]:6,}  {name}{parts}" for label, (name, parts) in enumerate(names)),
    ]


def _by_part(examples: Examples) -> list[str]:
    """Return per class, in brackets, how many examples are in each part of a division."""
    counts = Counter(zip(examples.labels.tolist(), examples.parts, strict=False))
    names = examples.part_names.items()
    return [
        f" ({', '.join(f'{counts[label, part]:,} {name}' for part, name in names)})"
        if names
        else ""
        for label in range(len(examples.class_names))
    ]


def _division(examples: Examples) -> str:
    """Return what a search does with the parts."""
    names, things = examples.part_names, f"{examples.noun}s"
    if not names:
        return (
            f"not divided: a search draws training, validation and test {things} from all of them"
        )
    sizes = ", ".join(f"{name} {len(examples.of_part(part)):,}" for part, name in names.items())
    pool = " and ".join(name for part, name in names.items() if part != TEST)
    what = f"draws all it needs from {pool}"
    if TEST in names:
        what = (
            f"uses {names[TEST]} as its test set and draws training and validation {things} from "
            f"{pool}, afresh for every repeat"
        )
    kept = "; --split folders keeps the parts as they are" if VALIDATION in names else ""
    return f"divided into {sizes}: a search {what}{kept}"


def _before_search(examples: Examples) -> list[str]:
    """Return what a search would refuse, or warn of, in its own words."""
    try:
        splits = Splits(examples)
        splits("search", 0)
    except UserError as error:
        return [f"warning: a search would refuse this: {in_flags(str(error))}"]
    return [f"warning: {in_flags(text)}" for text in splits.warnings(several=False)]


def _odd_sizes(images: ImageSet) -> list[str]:
    """Return a line that names a few images of a size far from that of the others."""
    sides = np.sqrt(np.prod([header.size for header in images.headers], axis=1))
    far = np.flatnonzero(np.abs(np.log(sides / np.median(sides))) > np.log(FAR)).tolist()
    if not 0 < len(far) <= max(1, ODD * len(sides)):
        return []
    named = [(images.name_of(row), *images.headers[row].size) for row in far]
    shown = (f"{name} {width} x {height}" for name, width, height in named)
    return [f"far from the median: {first_few(shown)}"]


def _tally(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common())


def sample_grid(
    images: ImageSet,
    rows: Int[np.ndarray, " n"],
    *,
    seed: int,
    title: str = "Training images and their classes",
) -> bytes:
    """Return a PNG of up to 15 of the images `rows`, of as many classes as possible, with names."""
    order = np.random.default_rng(seed).permutation(rows)
    _, firsts = np.unique(images.labels[order], return_index=True)
    chosen = [int(order[place]) for place in np.sort(firsts)]
    chosen += [int(row) for row in order if row not in chosen]
    chosen = chosen[: COLUMNS * ROWS]
    fonts = find_fonts([images.class_names[images.labels[row]] for row in chosen])
    names = shown_names(images.class_names, fonts)
    with style(fonts):
        figure = new_figure(9, 6.6, title)
        for place, row in enumerate(chosen):
            left, down = place % COLUMNS / COLUMNS, place // COLUMNS / ROWS
            axes = figure.add_axes((left + 0.02, 0.92 * (1 - down) - 0.25, 0.16, 0.22))
            axes.imshow(decode(images.paths[row], SIDE, images.scales))
            axes.set_title(
                plain(names[int(images.labels[row])], 20), fontsize=9, loc="center", y=-0.16
            )
            axes.set_axis_off()
        return to_png(figure, photos=True)
