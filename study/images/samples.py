"""What a user looks at before trusting a study: an overview in words, images with their classes."""

import numpy as np

from study.common.fonts import find_fonts, shown_names
from study.common.plot_style import new_figure, style, to_png
from study.common.text import plain
from study.images.decoding import decode
from study.images.image_set import ImageSet

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
            axes.imshow(decode(images.paths[row], SIDE, images.scales))
            axes.set_title(
                plain(names[int(images.labels[row])], 20), fontsize=9, loc="center", y=-0.16
            )
            axes.set_axis_off()
        return to_png(figure, photos=True)
