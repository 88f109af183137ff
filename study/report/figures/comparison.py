"""Comparison -> its picture."""

import math

from study.common.metrics import WORDS
from study.common.plot_look import (
    MUTED,
    Fonts,
    looks,
    margins,
    names_down,
    new_figure,
    percent_axis,
    style,
    to_png,
)
from study.common.text import label_width, plain
from study.report.analysis.study_comparison import Comparison, Says
from study.report.figures.picture import Picture


def draw_comparison(found: Comparison, fonts: Fonts) -> Picture:
    """Left both values of each optimizer, right their difference with its interval."""
    changes = [c for c in found.changes if not math.isnan(c.first + c.second)] or [*found.changes]
    look = looks(found.optimizers, fonts)
    names = [look[change.optimizer].label for change in changes]
    with style(fonts):
        drawing = new_figure(
            10,
            1.7 + 0.33 * len(changes),
            "What changed?",
            f"Left: open {plain(found.names[0], 30)}, filled {plain(found.names[1], 30)}. "
            "Right: the change in points with its 95 % interval.",
        )
        left, right = drawing.subplots(1, 2, sharey=True)
        margins(drawing, left=0.3 + label_width(names), right=0.3, top=0.8, bottom=0.55, wspace=0.1)
        for place, change in enumerate(changes):
            colour, marker, _ = look[change.optimizer]
            left.plot([change.first, change.second], [place] * 2, "-", color=colour, lw=1.2)
            left.plot(change.first, place, marker, color=colour, mfc="white", ms=7)
            left.plot(change.second, place, marker, color=colour, ms=7)
            kind = ":" if change.says is Says.UNDECIDED else "-"
            right.plot([change.low, change.high], [place] * 2, kind, color=colour, lw=1.8)
            right.plot(change.difference, place, marker, color=colour, ms=7)
        right.axvspan(-found.margin, found.margin, color=MUTED, alpha=0.10, lw=0)
        right.axvline(0, color=MUTED, lw=1)
        names_down(left, names)
        left.set_xlabel(f"Validation {WORDS[found.metric]}")
        percent_axis(left, "x")
        right.set_xlabel("Change, points (dotted: undecided; grey: the margin)")
        right.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+g}" if value else "0")
        right.grid(axis="y", visible=False)
        png = to_png(drawing)
    caption = (
        "An interval that leaves out 0 is more than luck; one inside the grey band is certainly no "
        "more than the margin."
    )
    return Picture("compare", "What changed?", caption, png, drawing)
