"""The pictures of several studies: what moves how much, verdicts over data sets, two studies."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from matplotlib.axes import Axes

from study.common.metrics import WORDS
from study.common.plot_look import (
    COLOURS,
    INK,
    MARKERS,
    MUTED,
    Fonts,
    find_fonts,
    margins,
    marks,
    names_down,
    new_figure,
    percent_axis,
    points_axis,
    shown_names,
)
from study.common.text import at_most, join, label_width, plain, points, points_signed
from study.compare.across_sets import Across
from study.compare.choices import TUNING
from study.compare.effects import OPTIMIZER, Effect
from study.compare.level_figure import draw_levels
from study.compare.pair import Says, StudyPair
from study.compare.several import Several, choices_of_levels, data_words
from study.report.figures.optimizers import VERDICTS, meanings
from study.report.figures.picture import Drawn, Picture, bar, bounds_end, finished, write_beside
from study.report.figures.svg import says

KINDS = {OPTIMIZER: COLOURS[1], TUNING: COLOURS[2]}  # all settings share the first colour
ROOM = 1.05  # of the axis, beyond what it shows
LEFT, RIGHT = 5.0, 2.3  # inches for the names at most, and for the words beside the axis
BESIDE = 4  # data sets in a row of the legend
APART = 0.5  # of a row: how far apart the marks of its data sets are at most


def draw_studies(found: Several) -> tuple[list[Picture], list[Picture]]:
    """Return the pictures of all studies together, and one picture for each pair."""
    names = [name for one in found.effects for name in (*one.data, *one.levels)]
    choices = list(choices_of_levels(found))
    sets = found.across.sets if found.across is not None else ()
    fonts = find_fonts([*names, *found.optimizers, *sets, *found.names])
    pairs = enumerate(found.pairs, start=1)
    return (
        finished(
            chain(
                draw_effects(found, fonts),
                draw_levels(choices, margin=found.margin, metric=found.metric, noun=found.noun),
                draw_across(found, fonts),
            ),
            fonts,
        ),
        finished(chain.from_iterable(draw_pair(pair, n, fonts) for n, pair in pairs), fonts),
    )


def draw_effects(found: Several, fonts: Fonts) -> Drawn:
    """Draw a line for each choice, the largest effect on top."""
    lines = found.effects
    if not lines:
        return
    several = len({one.data for one in lines}) > 1
    names = [_name(one, several=several, gaps=fonts.missing) for one in lines]
    drawing = new_figure(
        10,
        1.75 + 0.34 * len(lines),
        "What moves how much?",
        "Mark: from the worst to the best level, as measured. Bar: simultaneous 95 % on these "
        f"{found.noun}s.",
    )
    axis = drawing.subplots()
    margins(drawing, left=0.3 + label_width(names), right=RIGHT, top=0.8, bottom=0.75)
    start, end = _ends(found)
    axis.axvspan(0, found.margin, color=MUTED, alpha=0.12, lw=0)
    for place, (name, one) in enumerate(zip(names, lines, strict=True)):
        _draw_effect(axis, place, name, one, end)
    axis.axvline(0, color=MUTED, lw=1)
    axis.set_xlim(start, end)
    names_down(axis, names)
    axis.set_xlabel(f"Points of validation {WORDS[found.metric]} (grey: the margin)")
    points_axis(axis)
    choices = {one.choice for one in lines}
    caption = "Orange: the choice of optimizer. " if OPTIMIZER in choices else ""
    if TUNING in choices:
        mean = any(not math.isnan(one.median) for one in lines)
        caption += f"Green: tuned against untuned{', mean over optimizers' if mean else ''}. "
    caption += (
        "Blue: all else. A bar right of the grey margin matters, one inside it does not; one that "
        "starts at 0 may be chance alone."
    )
    if any(len(one.by_set) > 1 for one in lines):
        caption += " Ticks: single data sets, as measured; left of 0 the order is reversed."
    yield "effects", "What moves how much?", caption, drawing


def _name(one: Effect, *, several: bool, gaps: str) -> str:
    """Return the name of a line with its levels, shortened until it fits."""
    name = f"{plain(one.choice, 40)}: {plain(one.worst, 28)} → {plain(one.best, 28)}"
    if several:
        name = f"{name} ({data_words(one)})"
    shown = "".join("?" if character in gaps else character for character in name)
    limit = len(shown)
    while label_width([shown]) > LEFT:
        limit -= 2
        shown = plain(shown, limit)
    return shown


def _ends(found: Several) -> tuple[float, float]:
    """Return the ends of the axis."""
    ends = [end for one in found.effects for end in (one.moves, one.high, *one.by_set)]
    known = [end for end in ends if not math.isnan(end)]
    end = ROOM * max(*known, 2 * found.margin)
    lowest = min(known)
    return lowest - (ROOM - 1) * end if lowest < 0 else 0.0, end


def _draw_effect(axis: Axes, place: int, name: str, one: Effect, end: float) -> None:
    colour = KINDS.get(one.choice, COLOURS[0])
    known = not math.isnan(one.low)
    if known:
        said = says(f"{name}: {points(one.low)} to {points(one.high)} points")
        bar(axis, place, one.low, one.high, end, colour, lw=5, alpha=0.6, gid=said)
    if len(one.by_set) > 1:
        pairs = zip(one.data, one.by_set, strict=True)
        said = says(*[f"{name}, {plain(data)}: {points(moves)} points" for data, moves in pairs])
        axis.plot(one.by_set, [place] * len(one.by_set), "|", color=INK, ms=9, mew=1.2, gid=said)
    said = says(f"{name}: {points(one.moves)} points")
    kind: dict[str, Any] = {"ms": 7, "mec": "white", "mew": 0.8, "clip_on": False, "gid": said}
    axis.plot(one.moves, place, "o", color=colour, **kind)
    words = one.says.value if known else "no bounds"
    if not math.isnan(one.median):
        words += f"; median {points(one.median)}"
    write_beside(
        axis, place, points(one.moves), 0.5, size=8.5, color=INK, weight="bold", ha="right"
    )
    write_beside(axis, place, words, 0.6, size=8.5, color=MUTED)


def draw_across(found: Several, fonts: Fonts) -> Drawn:
    """Draw left what each data set says, right how far behind the best each optimizer may be."""
    across = found.across
    if across is None or not across.placed:
        return
    placed = across.placed
    marked = marks(found.optimizers, fonts)
    names = [marked[one.optimizer].label for one in placed]
    below = 0.65 + 0.2 * math.ceil(len(across.sets) / BESIDE)  # inches for the axis and the legend
    drawing = new_figure(
        10,
        1.2 + below + 0.36 * len(placed),
        "Which optimizer in general?",
        f"Left: behind {names[0]} on each data set, coloured by that set's verdict. Right: behind "
        "the best on average, at most; thick: on these data sets, thin: in general.",
    )
    left, right = drawing.subplots(1, 2, sharey=True)
    margins(drawing, left=0.3 + label_width(names), right=0.9, top=0.85, bottom=below, wspace=0.08)
    _draw_sets(left, across, names, shown_names(across.sets, fonts, "data set"))
    _draw_bounds(right, across, names)
    names_down(left, names)
    right.grid(axis="y", visible=False)
    left.set_xlabel(f"Points of {WORDS[found.metric]} behind {names[0]}")
    right.set_xlabel("Points behind the best (grey: the margin)")
    handles, labels = left.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="lower left", ncols=BESIDE, frameon=False, fontsize=8.5)
    points_axis(left)
    points_axis(right)
    verdicts = {verdict for one in placed for verdict in (*one.verdicts, one.here, one.general)}
    diverged = [names[place] for place, one in enumerate(placed) if one.diverged]
    lost = f" Runs of {join(diverged)} diverged: never good enough." if diverged else ""
    yield (
        "across",
        "Which optimizer in general?",
        f"{meanings(verdicts, short=True)} Left: a mark is a data set, left of 0 where an "
        f"optimizer is ahead of {names[0]}; the stroke is the mean. Right: thin bars "
        f"are bounds for further data sets of this sort; without a bar none is known.{lost}",
        drawing,
    )


def _draw_sets(axis: Axes, across: Across, names: Sequence[str], sets: Mapping[int, str]) -> None:
    leader = across.placed[0]
    for number, best in enumerate(leader.by_set):
        kind: dict[str, Any] = {"ls": "", "marker": MARKERS[number % len(MARKERS)], "ms": 6.5}
        kind |= {"mec": "white", "mew": 0.6, "alpha": 0.9}
        axis.plot([], [], color=MUTED, label=sets[number], **kind)
        for place, one in enumerate(across.placed):
            gap, colour = best - one.by_set[number], VERDICTS[one.verdicts[number]]
            height = place + APART * (number / (len(across.sets) - 1) - 0.5)
            said = says(f"{names[place]}, {sets[number]}: {points(gap)} points behind {names[0]}")
            axis.plot(gap, height, color=colour, gid=said, **kind)
    for place, one in enumerate(across.placed):
        said = says(f"{names[place]}: {points(one.behind)} points behind {names[0]} on average")
        axis.plot([one.behind] * 2, [place - 0.3, place + 0.3], color=INK, lw=2, gid=said)
    axis.axvline(0, color=MUTED, lw=1)


def _draw_bounds(axis: Axes, across: Across, names: Sequence[str]) -> None:
    bounds = [b for one in across.placed for b in (one.at_most_here, one.at_most_general) if b]
    end = bounds_end(bounds, across.margin)
    axis.axvspan(0, across.margin, color=MUTED, alpha=0.12, lw=0)
    axis.axvline(across.margin, color=INK, lw=1)
    known = any(one.at_most_general is not None for one in across.placed)
    apart = 0.17 if known else 0.0
    for place, one in enumerate(across.placed):
        general = ((one.at_most_general, one.general, apart, 1.6, "in general"),) if known else ()
        for bound, verdict, shift, width, scope in (
            (one.at_most_here, one.here, -apart, 5.0, "on these data sets"),
            *general,
        ):
            text = "–" if bound is None else f"≤ {at_most(bound)}"
            write_beside(axis, place + shift, text, 0.07, size=8, color=INK)
            if bound is not None:
                said = says(f"{names[place]}: {text} points behind the best {scope}")
                colour = VERDICTS[verdict]
                bar(axis, place + shift, 0, bound, end, colour, lw=width, gid=said)
    axis.set_xlim(0, end)


def draw_pair(found: StudyPair, number: int, fonts: Fonts) -> Drawn:
    """Draw left both values of each optimizer, right their difference with its interval."""
    changes = [c for c in found.changes if not math.isnan(c.first + c.second)] or found.changes
    marked = marks(found.optimizers, fonts)
    names = [marked[change.optimizer].label for change in changes]
    studies = shown_names(found.names, fonts, "study")
    drawing = new_figure(
        10,
        1.7 + 0.33 * len(changes),
        "What changed?",
        f"Left: open {studies[0]}, filled {studies[1]}. Right: the change in points "
        "with its 95 % interval.",
    )
    left, right = drawing.subplots(1, 2, sharey=True)
    margins(drawing, left=0.3 + label_width(names), right=0.3, top=0.8, bottom=0.55, wspace=0.1)
    for place, change in enumerate(changes):
        colour, marker, name = marked[change.optimizer]
        left.plot([change.first, change.second], [place] * 2, "-", color=colour, lw=1.2)
        for value, study, fill in zip(
            change[1:3], studies.values(), ("white", colour), strict=True
        ):
            said = says(f"{name}, {study}: {points(value)} %")
            left.plot(value, place, marker, color=colour, mfc=fill, ms=7, gid=said)
        kind = ":" if change.says is Says.UNDECIDED else "-"
        said = says(f"{name}: {points_signed(change.low)} to {points_signed(change.high)} points")
        right.plot([change.low, change.high], [place] * 2, kind, color=colour, lw=1.8, gid=said)
        said = says(f"{name}: {points_signed(change.difference)} points")
        right.plot(change.difference, place, marker, color=colour, ms=7, gid=said)
    right.axvspan(-found.margin, found.margin, color=MUTED, alpha=0.10, lw=0)
    right.axvline(0, color=MUTED, lw=1)
    names_down(left, names)
    left.set_xlabel(f"Validation {WORDS[found.metric]}")
    percent_axis(left, "x")
    right.set_xlabel("Change, points (dotted: undecided; grey: the margin)")
    right.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+g}" if value else "0")
    right.grid(axis="y", visible=False)
    yield (
        f"pair_{number}",
        "What changed?",
        "An interval that excludes 0 is more than chance explains; one inside the grey band is "
        "certainly no larger than the margin.",
        drawing,
    )
