"""Several studies -> the picture of what moves how much."""

import math
from typing import Any

from matplotlib.axes import Axes

from study.common.metrics import WORDS
from study.common.plot_look import (
    COLOURS,
    INK,
    MUTED,
    Fonts,
    margins,
    names_down,
    new_figure,
    points_axis,
    style,
    to_png,
)
from study.common.text import join, label_width, plain, points
from study.report.analysis.choices import TUNING
from study.report.analysis.effects import OPTIMIZER, Effect
from study.report.analysis.several_studies import Several
from study.report.figures.picture import Picture

KINDS = {OPTIMIZER: COLOURS[1], TUNING: COLOURS[2]}  # all settings share the first colour
ROOM = 1.05  # of the axis, beyond what it shows
NAMED = 2  # data sets of a line
FARTHEST = 1.6  # times as far the axis goes for bounds on new images
LEFT, RIGHT = 5.0, 1.9  # inches for the names at most, and for the words beside the axis


def draw_effects(found: Several, fonts: Fonts) -> Picture:
    """A line a choice, what moves most on top: measured, on these images, on new ones."""
    lines = found.effects
    several = len({one.data for one in lines}) > 1
    gaps = set(fonts.missing)
    names = [_name(one, several=several, gaps=gaps) for one in lines]
    with style(fonts):
        drawing = new_figure(
            10,
            1.75 + 0.34 * len(lines),
            "What moves how much?",
            "Mark: from the worst to the best level, as measured. Thick: 95 % on these "
            f"{found.noun}s, all lines together. Thin: on new {found.noun}s.",
        )
        axis = drawing.subplots()
        margins(drawing, left=0.3 + label_width(names), right=RIGHT, top=0.8, bottom=0.75)
        start, end = _axis(found)
        axis.axvspan(0, found.margin, color=MUTED, alpha=0.12, lw=0)
        for place, one in enumerate(lines):
            _draw_line(axis, place, one, end)
        axis.axvline(0, color=MUTED, lw=1)
        axis.set_xlim(start, end)
        names_down(axis, names)
        axis.set_xlabel(f"Points of validation {WORDS[found.metric]} (grey: the margin)")
        points_axis(axis)
        png = to_png(drawing)
    caption = (
        "Orange: the choice of optimizer. Green: tuned against untuned. Blue: settings in which "
        "the studies differ. A line right of the grey margin matters, one inside it does not; "
        "one that begins at 0 may be luck alone."
    )
    if any(len(one.by_set) > 1 for one in lines):
        caption += (
            " Ticks: single data sets, as measured, left of 0 where it is the other way round."
        )
    return Picture("effects", "What moves how much?", caption, png, drawing)


def _axis(found: Several) -> tuple[float, float]:
    """From the lowest data set to the bounds; those on new images only if they are not far out."""
    ends = [end for one in found.effects for end in (one.moves, one.high, *one.by_set)]
    known = [end for end in ends if not math.isnan(end)]
    far = [one.new_high for one in found.effects if not math.isnan(one.new_high)]
    end = max(*known, 2 * found.margin)
    return min(0.0, ROOM * min(known)), ROOM * max(end, min(max(far, default=0.0), FARTHEST * end))


def _draw_line(axis: Axes, place: int, one: Effect, end: float) -> None:
    colour = KINDS.get(one.choice, COLOURS[0])
    if not math.isnan(one.new_high):
        axis.plot([one.new_low, min(one.new_high, end)], [place] * 2, color=colour, lw=1)
        if one.new_high > end:
            axis.plot(end, place, ">", color=colour, ms=5, clip_on=False)
    if not math.isnan(one.low):
        axis.plot([one.low, one.high], [place] * 2, color=colour, lw=5, alpha=0.6,
                  solid_capstyle="butt")  # fmt: skip
    if len(one.by_set) > 1:
        axis.plot(one.by_set, [place] * len(one.by_set), "|", color=INK, ms=9, mew=1.2)
    axis.plot(one.moves, place, "o", color=colour, ms=7, mec="white", mew=0.8, clip_on=False)
    kind: dict[str, Any] = {"va": "center", "size": 8.5, "transform": axis.get_yaxis_transform()}
    known = not math.isnan(one.low)
    axis.text(1.03, place, points(one.moves), color=INK, weight="bold", **kind)
    axis.text(1.10, place, one.says.value if known else "no bounds", color=MUTED, **kind)


def _name(one: Effect, *, several: bool, gaps: set[str]) -> str:
    name = f"{plain(one.choice, 40)}: {plain(one.worst, 28)} → {plain(one.best, 28)}"
    if several:
        name = f"{name} ({data_words(one)})"
    shown = "".join("?" if character in gaps else character for character in name)
    limit = len(shown)
    while label_width([shown]) > LEFT:
        limit -= 2
        shown = plain(shown, limit)
    return shown


def data_words(one: Effect) -> str:
    """The data sets of a line."""
    few = len(one.data) <= NAMED
    return join([plain(name, 30) for name in one.data]) if few else f"{len(one.data)} data sets"
