"""What a user looks at before trusting a study: an overview in words, images with their classes."""

from collections import Counter
from collections.abc import Iterable
from statistics import median

import numpy as np

from study.fonts import find_fonts, shown_names
from study.images import ImageSet
from study.labels import plain
from study.pixels import decode, describe, printable
from study.style import new_figure, style, to_png

COLUMNS, ROWS = 5, 3  # as the blog post has it
SIDE = 160  # pixels of a picture in the grid


def sample_grid(
    images: ImageSet,
    rows: np.ndarray,
    *,
    seed: int,
    title: str = "Training images and their classes",
) -> bytes:
    """Draw up to 15 of the images `rows`, of as many classes as possible, each with its name.

    Returns:
        A PNG.
    """
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
            axes.imshow(decode(images.paths[row], SIDE))
            axes.set_title(
                plain(names[int(images.labels[row])], 20), fontsize=9, loc="center", y=-0.16
            )
            axes.set_axis_off()
        return to_png(figure, photos=True)


def overview(images: ImageSet) -> str:
    """Return what to know of the images before a study, as lines of text."""
    headers = [describe(path) for path in images.paths]
    widths, heights = zip(*(size for _, size, _ in headers), strict=True)
    counts = Counter(images.labels.tolist())
    copies = len(images.digests) - len(set(images.digests))
    kind, size, mode = headers[0]
    lines = [f"{len(images.paths):,} images in {len(counts)} classes in {printable(images.root)}"]
    lines += [f"  {counts[label]:6,}  {name}" for label, name in enumerate(images.class_names)]
    lines += [
        f"first image: {printable(images.paths[0])}: {kind} {size} {mode}",
        f"widths {min(widths)} to {max(widths)} (median {median(widths):.0f}), "
        f"heights {min(heights)} to {max(heights)} (median {median(heights):.0f})",
        f"formats: {_tally(kind for kind, _, _ in headers)}",
        f"modes: {_tally(mode for _, _, mode in headers)}",
        f"left out: {len(images.problems)}; ignored, no images: {images.ignored}; copies: {copies}",
    ]
    lines += [f"  {problem}" for problem in images.problems]
    lines += [
        f"  same content in different classes: {', '.join(printable(path) for path in group)}"
        for group in images.duplicates
    ]
    return "\n".join(lines)


def _tally(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in Counter(values).most_common())
