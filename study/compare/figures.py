"""Pictures of several studies: what moves how much, verdicts over data sets, two side by side."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from study.common.metrics import WORDS
from study.common.plot_look import (
    COLOURS,
    INK,
    MARKERS,
    MUTED,
    Fonts,
    margins,
    marks,
    names_down,
    new_figure,
    percent_axis,
    points_axis,
    shown_names,
    style,
    to_png,
)
from study.common.text import join, label_width, plain, points
from study.compare.across_sets import Across, Placed
from study.compare.choices import TUNING
from study.compare.effects import OPTIMIZER, Effect
from study.compare.pair import Says, StudyPair
from study.compare.several import Several
from study.report.figures.optimizers import FARTHEST, VERDICTS
from study.report.figures.picture import Picture
from study.verdicts.answer import Verdict

KINDS = {OPTIMIZER: COLOURS[1], TUNING: COLOURS[2]}  # all settings share the first colour
ROOM = 1.05  # of the axis, beyond what it shows
NAMED = 2  # data sets of a line
FARTHEST_NEW = 1.6  # times as far the axis goes for bounds on new images
LEFT, RIGHT = 5.0, 1.9  # inches for the names at most, and for the words beside the axis

BESIDE = 4  # data sets in a row of the legend


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
    return min(0.0, ROOM * min(known)), ROOM * max(
        end, min(max(far, default=0.0), FARTHEST_NEW * end)
    )


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


def draw_across(across: Across, optimizers: Sequence[str], metric: str, fonts: Fonts) -> Picture:
    """Left what each set says, right how far behind the best each is at most."""
    placed = across.placed
    look = marks(optimizers, fonts)
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


def draw_pair(found: StudyPair, fonts: Fonts, number: int) -> Picture:
    """Left both values of each optimizer, right their difference with its interval."""
    changes = [c for c in found.changes if not math.isnan(c.first + c.second)] or [*found.changes]
    look = marks(found.optimizers, fonts)
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
    return Picture(f"pair_{number}", "What changed?", caption, png, drawing)
