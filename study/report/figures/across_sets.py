"""The verdicts over data sets -> their picture."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from study.common.metrics import WORDS
from study.common.plot_look import (
    INK,
    MARKERS,
    MUTED,
    Fonts,
    looks,
    margins,
    names_down,
    new_figure,
    points_axis,
    shown_names,
    style,
    to_png,
)
from study.common.text import label_width, points
from study.report.analysis.across_sets import Across, Placed
from study.report.figures.optimizers import FARTHEST, VERDICTS
from study.report.figures.picture import Picture
from study.verdicts.answer import Verdict

BESIDE = 4  # data sets in a row of the legend


def draw_across(across: Across, optimizers: Sequence[str], metric: str, fonts: Fonts) -> Picture:
    """Left what each set says, right how far behind the best each is at most."""
    placed = across.placed
    look = looks(optimizers, fonts)
    names = [look[one.optimizer].label for one in placed]
    below = 0.65 + 0.2 * math.ceil(len(across.sets) / BESIDE)  # inches for the axis and the legend
    with style(fonts):
        drawing = new_figure(
            10,
            1.2 + below + 0.36 * len(placed),
            "Which optimizer in general?",
            "Left: behind the leader on each data set. Right: behind the best at most, on average; "
            "thick: on these data sets, thin: in general.",
        )
        left, right = drawing.subplots(1, 2, sharey=True)
        margins(drawing, left=0.3 + label_width(names), right=0.9, top=0.85, bottom=below,
                wspace=0.08)  # fmt: skip
        _draw_sets(left, across, shown_names(across.sets, fonts, "data set"))
        _draw_bounds(right, across)
        names_down(left, names)
        right.grid(axis="y", visible=False)
        left.set_xlabel(f"Points of {WORDS[metric]} behind {names[0]}")
        right.set_xlabel("Points behind the best (grey: the margin)")
        handles, labels = left.get_legend_handles_labels()
        drawing.legend(handles, labels, loc="lower left", ncols=BESIDE, frameon=False, fontsize=8.5)
        points_axis(left)
        points_axis(right)
        png = to_png(drawing)
    caption = (
        "Green: good enough, red: excluded, grey: undecided. Left, every mark is a data set with "
        "its own verdict, left of 0 where an optimizer is ahead of the leader; the stroke is the "
        "mean. Right, without a line nothing can be claimed; thin lines ask for more: that it "
        "holds for further data sets of this sort."
    )
    return Picture("across", "Which optimizer in general?", caption, png, drawing)


def _draw_sets(axis: Axes, across: Across, names: Mapping[int, str]) -> None:
    leader = across.placed[0]
    gaps = [
        [best - own for best, own in zip(leader.by_set, one.by_set, strict=True)]
        for one in across.placed
    ]
    for number in range(len(across.sets)):
        kind: dict[str, Any] = {"ls": "", "marker": MARKERS[number % len(MARKERS)], "ms": 6.5}
        kind |= {"mec": "white", "mew": 0.6, "alpha": 0.9}
        axis.plot([], [], color=MUTED, label=names[number], **kind)
        for place, one in enumerate(across.placed):
            axis.plot(gaps[place][number], place, color=VERDICTS[one.verdicts[number]], **kind)
    for place, one in enumerate(across.placed):
        axis.plot([one.behind] * 2, [place - 0.3, place + 0.3], color=INK, lw=2)
    axis.axvline(0, color=MUTED, lw=1)


def _draw_bounds(axis: Axes, across: Across) -> None:
    bounds = [b for one in across.placed for b in (one.at_most_here, one.at_most_general) if b]
    end = 1.06 * max(min(max(bounds, default=0.0), FARTHEST * across.margin), 2 * across.margin)
    axis.axvspan(0, across.margin, color=MUTED, alpha=0.12, lw=0)
    axis.axvline(across.margin, color=INK, lw=1)
    for place, one in enumerate(across.placed):
        _draw_bound(axis, place - 0.12, one.at_most_here, one.here, end, 5)
        _draw_bound(axis, place + 0.16, one.at_most_general, one.general, end, 1.6)
        axis.text(1.02, place, _words(one), size=8, color=INK, va="center",
                  transform=axis.get_yaxis_transform())  # fmt: skip
    axis.set_xlim(0, end)


def _draw_bound(
    axis: Axes, height: float, bound: float | None, verdict: Verdict, end: float, width: float
) -> None:
    if bound is None:
        return
    colour = VERDICTS[verdict]
    axis.plot([0, min(bound, end)], [height] * 2, color=colour, lw=width, solid_capstyle="butt")
    if bound > end:
        axis.plot(end, height, ">", color=colour, ms=6, clip_on=False)


def _words(one: Placed) -> str:
    def said(bound: float | None) -> str:
        return "–" if bound is None else f"≤ {points(bound)}"

    return f"{said(one.at_most_here)}\n{said(one.at_most_general)}"
