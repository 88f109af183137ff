"""The picture of every level of the choices that several studies made."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from study.common.metrics import WORDS
from study.common.plot_look import (
    COLOURS,
    INK,
    MUTED,
    margins,
    names_down,
    new_figure,
    points_axis,
)
from study.common.text import label_width, plain, points
from study.compare.gaps import Gap
from study.compare.untuned import DEFAULTS
from study.report.figures.picture import Drawn, bar, bounds_end, write_beside
from study.report.figures.svg import says

HERE, GENERAL = COLOURS[0], COLOURS[1]
APART = 0.17  # of a row, between its two bars


class _Row(NamedTuple):
    name: str
    gap: Gap | None  # None: a heading


def draw_levels(
    choices: Sequence[tuple[str, tuple[Gap, ...]]], *, margin: float, metric: str, noun: str
) -> Drawn:
    """Draw how far each level is behind the best level of its choice."""
    rows = list(_rows(choices))
    if not rows:
        return
    names = [row.name for row in rows]
    bounds = [
        end
        for row in rows
        if row.gap
        for end in (row.gap.behind, row.gap.at_most, row.gap.general_at_most)
        if not math.isnan(end)
    ]
    general = any(row.gap and not math.isnan(row.gap.general_at_most) for row in rows)
    drawing = new_figure(
        10,
        1.6 + 0.26 * len(rows),
        "What does the wrong choice cost?",
        f"Mark: behind the best of the same choice, as measured. Bar: 95 % on these {noun}s"
        f"{'; thin: in general' if general else ''}.",
    )
    axis = drawing.subplots()
    margins(drawing, left=0.3 + label_width(names), right=0.7, top=0.8, bottom=0.6)
    end = bounds_end(bounds, margin)
    axis.axvspan(0, margin, color=MUTED, alpha=0.12, lw=0)
    for place, row in enumerate(rows):
        if row.gap is None:
            axis.axhline(place, color="white", lw=12, zorder=0.5)
        else:
            _draw_gap(axis, place, row.name, row.gap, end, APART if general else 0.0)
    axis.set_xlim(0, end)
    names_down(axis, names)
    for label, row in zip(axis.get_yticklabels(), rows, strict=True):
        if row.gap is None:
            label.set_fontweight("bold")
    axis.set_xlabel(f"Points of {WORDS[metric]} behind the best (grey: the margin)")
    points_axis(axis)
    beside = ""
    if any(choice == DEFAULTS for choice, _ in choices):
        beside = f" Beside {DEFAULTS} stands the best tuned optimizer."
    yield (
        "levels",
        "What does the wrong choice cost?",
        "A level whose bar begins right of 0 is certainly worse than another; one whose bar ends "
        "in the grey band certainly loses no more than the margin. The bounds of one choice hold "
        f"together.{beside} An arrow: beyond the axis.",
        drawing,
    )


def _rows(choices: Sequence[tuple[str, tuple[Gap, ...]]]) -> Iterator[_Row]:
    for choice, gaps in choices:
        yield _Row(plain(choice, 40), None)
        for one in gaps:
            yield _Row(plain(one.level, 40), one)


def _draw_gap(axis: Axes, place: int, name: str, one: Gap, end: float, apart: float) -> None:
    for low, high, shift, width, colour, scope in (
        (one.at_least, one.at_most, -apart, 5.0, HERE, "on these data sets"),
        (one.general_at_least, one.general_at_most, apart, 1.6, GENERAL, "in general"),
    ):
        if not math.isnan(high):
            said = says(f"{name}, {scope}: {points(max(low, 0.0))} to {points(high)} points")
            bar(axis, place + shift, max(low, 0.0), high, end, colour, lw=width, gid=said)
    said = says(f"{name}: {points(one.behind)} points behind")
    kind: dict[str, Any] = {"clip_on": one.behind > end, "gid": said, "zorder": 3}
    axis.plot(one.behind, place, "o", color=INK, ms=5, mec="white", mew=0.6, **kind)
    write_beside(axis, place, points(one.behind), 0.1, size=8, color=INK)
