"""Figures about cost: what tuning gains, and how long training takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from study.common.metrics import ACCURACY
from study.common.plot_look import (
    INK,
    MUTED,
    Fonts,
    Mark,
    margins,
    new_figure,
    percent_axis,
    spread_labels,
)
from study.common.text import label_width, plain, points
from study.records.trial_record import Phase
from study.report.analysis.summary import Summary
from study.report.figures.picture import Drawn
from study.report.figures.svg import says

LEAST_ERROR = 2e-3  # values above 99.8 % share one height


def draw_gains(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw a slope for each optimizer, from Keras's default settings to the tuned ones."""
    found = [g for g in summary.gains if np.isfinite(g.default) and np.isfinite(g.tuned)]
    if not found:
        return
    names = [plain(marks[g.optimizer].label, 18) for g in found]
    figure = new_figure(
        7.5,
        max(3.4, 1.6 + 0.36 * len(found)),
        "What does tuning gain?",
        f"Validation {summary.meta.metric_words} with Keras's defaults and tuned. Equal steps "
        f"divide the {'errors' if summary.meta.metric == ACCURACY else 'gap to 100 %'} by equal "
        "factors.",
    )
    axis = figure.subplots()
    room = 0.5 + label_width([f"{name} 00.0 %" for name in names], 8)
    margins(figure, left=room, right=room, top=0.85, bottom=0.3)
    ends = {side: [_height(getattr(g, side)) for g in found] for side in ("default", "tuned")}
    low, high = min(map(min, ends.values())), max(map(max, ends.values()))
    reach = max(high - low, 0.05)
    axis.set_ylim(low - 0.06 * reach, high + 0.06 * reach)
    gap = reach * 1.12 * 0.19 / (figure.get_size_inches()[1] - 1.15)
    for gain, name, *slope in zip(found, names, *ends.values(), strict=True):
        said = says(*[f"{name}, {side}: {points(getattr(gain, side))} %" for side in ends])
        kind: dict[str, Any] = {
            "marker": marks[gain.optimizer].marker,
            "ms": 5,
            "mec": "white",
            "mew": 0.6,
        }
        axis.plot([0, 1], slope, "-", color=marks[gain.optimizer].colour, gid=said, **kind)
    for side, (key, heights) in enumerate(ends.items()):
        places = spread_labels(heights, gap, *axis.get_ylim())
        for gain, name, at, y in zip(found, names, heights, places, strict=True):
            text = f"{name} {points(getattr(gain, key))} %"
            _label_end(axis, text, side, at, y, marks[gain.optimizer].colour)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xticks([0, 1], ["default", "tuned"], size=9.5, color=INK)
    axis.set_yticks([])
    axis.spines[["left", "bottom"]].set_visible(False)
    yield (
        "default_against_tuned",
        "Default against tuned",
        "Steep: this optimizer needs tuning. Flat: its defaults are good here. Falling: the search "
        f"was misled, by too few {summary.meta.noun}s or by first rungs that were too short. "
        "Both are means over the same repeats, adjusted to the leader's as in the ranking: of one "
        "default run in each, and of all confirmation runs.",
        figure,
    )


def _height(value: float) -> float:
    """Return how many orders of magnitude are missing to 100 %, upwards."""
    return -float(np.log10(max(1 - value, LEAST_ERROR)))


def _label_end(axis: Axes, text: str, side: int, at: float, y: float, colour: str) -> None:
    """Write a label beside an end of a slope, with a thin line to it."""
    axis.annotate(
        text,
        (side, at),
        (side + (0.09 if side else -0.09), y),
        ha="left" if side else "right",
        va="center",
        size=8,
        color=colour,
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": MUTED,
            "lw": 0.6,
            "relpos": (0 if side else 1, 0.5),
            "shrinkA": 1,
            "shrinkB": 4,
        },
    )


def draw_time(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the winner's metric against the seconds that one training of it takes."""
    rows = [r for r in summary.rows if r.basis is Phase.CONFIRM and r.train_seconds > 0]
    if not rows:
        return
    used = [marks[r.optimizer] for r in rows]
    figure = new_figure(
        7.5,
        4.4,
        "Is the better optimizer slower?",
        "Mean of the winner's confirmation runs with its 95 % interval on these "
        f"{summary.meta.noun}s.",
    )
    axis = figure.subplots()
    room = 0.6 + label_width([mark.label for mark in used], 8.5)
    margins(figure, left=0.75, right=room, top=0.8, bottom=0.55)
    for row, (colour, marker, name) in zip(rows[::-1], used[::-1], strict=True):  # best on top
        at = row.train_seconds
        reach = says(f"{name}: {points(row.low)} to {points(row.high)} %")
        mean = says(f"{name}: {points(row.mean)} % in {at:.2f} s")
        axis.plot([at] * 2, [row.low, row.high], "-", color=colour, lw=1, alpha=0.5, gid=reach)
        axis.plot(at, row.mean, marker, color=colour, ms=8, mec="white", mew=0.8, gid=mean)
    axis.set_xlim(0, 1.08 * max(r.train_seconds for r in rows))
    _label_points(axis, [r.mean for r in rows], used)
    axis.set_xlabel("Seconds to train the tuned head once, all epochs, on this machine")
    words = summary.meta.metric_words
    axis.set_ylabel(f"Validation {words}")
    percent_axis(axis)
    yield (
        "time",
        f"{words[0].upper()}{words[1:]} against training time",
        "The upper left is best. The time also depends on the tuned width of the dense layer, and "
        "heads were trained side by side: small differences mean nothing.",
        figure,
    )


def _label_points(axis: Axes, heights: Sequence[float], marks: Sequence[Mark]) -> None:
    """Write names with their markers at the right edge, in the order of the heights."""
    low, high = axis.get_ylim()
    across = axis.get_yaxis_transform()
    places = spread_labels(heights, (high - low) * 0.06, low, high)
    for y, (colour, marker, name) in zip(places, marks, strict=True):
        axis.plot(1.04, y, marker, color=colour, transform=across, clip_on=False, ms=6)
        axis.text(1.07, y, name, transform=across, va="center", size=8.5, color=colour)
    axis.set_ylim(low, high)


DRAWERS = (draw_gains, draw_time)
