"""Images with their class names under them: what a user looks at before trusting a study."""

import io

import numpy as np

from study.images import ImageSet
from study.pixels import decode
from study.style import find_fonts, new_figure, plain, style

COLUMNS, ROWS = 5, 3  # as the blog post has it
SIDE = 160  # pixels of a picture in the grid


def sample_grid(images: ImageSet, rows: np.ndarray, *, seed: int) -> bytes:
    """Draw up to 15 of the images `rows`, of as many classes as possible, each with its name.

    Returns:
        A PNG.
    """
    order = np.random.default_rng(seed).permutation(rows)
    _, firsts = np.unique(images.labels[order], return_index=True)
    chosen = [int(order[place]) for place in np.sort(firsts)]
    chosen += [int(row) for row in order if row not in chosen]
    chosen = chosen[: COLUMNS * ROWS]
    names = [plain(images.class_names[images.labels[row]], 20) for row in chosen]
    with style(find_fonts(names)):
        figure = new_figure(9, 6.6, "Training images and their classes")
        for place, (row, name) in enumerate(zip(chosen, names, strict=True)):
            left, down = place % COLUMNS / COLUMNS, place // COLUMNS / ROWS
            axes = figure.add_axes((left + 0.02, 0.92 * (1 - down) - 0.25, 0.16, 0.22))
            axes.imshow(decode(images.paths[row], SIDE))
            axes.set_title(name, fontsize=9, loc="center", y=-0.16)
            axes.set_axis_off()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()
