"""Small multiples: a grid of panels with shared axes, one an optimizer, drawn quickly."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.style import GRID, margins, new_figure
from study.tuning import Numbers


def panels(count: int, title: str, subtitle: str, xlabel: str) -> tuple[Figure, list[Axes]]:
    """A grid of small panels with shared axes; the labels stand only at the outside."""
    columns = min(4, count)
    rows = -(-count // columns)
    width = max(2.6 * columns + 0.8, 6.5)
    figure = new_figure(width, 1.3 + 1.75 * rows, title, subtitle)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    margins(figure, left=0.7, right=0.2, top=0.95, bottom=0.55, wspace=0.12, hspace=0.32)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.set_visible(False)
    for place, axis in enumerate(axes[:count]):
        axis.grid(visible=False)
        axis.yaxis.set_visible(place % columns == 0)
        axis.xaxis.set_visible(place >= count - columns)
        axis.set_xlabel(xlabel)
        axis.tick_params(labelbottom=True)
    return figure, axes[:count]


def rule(axes: Sequence[Axes]) -> None:
    """Grid lines for panels whose scales are set; one artist a panel draws much sooner."""
    (left, right), (low, high) = axes[0].get_xlim(), axes[0].get_ylim()
    for axis in axes:
        kind: dict[str, Any] = {"color": GRID, "lw": 0.7, "zorder": 0.5}
        axis.hlines(axes[0].get_yticks(), left, right, **kind)
        axis.vlines(axes[0].get_xticks(), low, high, **kind)
    axes[0].set(xlim=(left, right), ylim=(low, high))


def joined(lines: Iterable[tuple[Numbers, Numbers]]) -> tuple[Numbers, Numbers]:
    """Many lines as one, with gaps between them: one cheap artist instead of dozens."""
    gap = np.array([np.nan])
    parts = [(np.append(x, gap), np.append(y, gap)) for x, y in lines]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])
