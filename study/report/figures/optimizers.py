"""Figures of the winners: the verdicts, differences, learning curves, time to target."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from study.common.metrics import SHORT
from study.common.plot_look import (
    BAND,
    INK,
    MUTED,
    Fonts,
    Mark,
    lower_limit,
    margins,
    names_down,
    new_figure,
    percent_axis,
    points_axis,
    spread_labels,
)
from study.common.text import at_least, at_most, label_width, points
from study.records.trial_record import Phase
from study.report.analysis.pairs import Pair
from study.report.analysis.ranking import Row
from study.report.analysis.summary import Summary
from study.report.analysis.winners import Curves
from study.report.figures.picture import (
    NARROWEST,
    AxisScale,
    Drawn,
    Panels,
    bar,
    bounds_end,
    linear,
    logarithmic,
    titles,
    write_beside,
)
from study.report.figures.svg import says
from study.verdicts.answer import Judged, Verdict
from study.verdicts.looks import FEWEST_REPEATS

VERDICTS = {  # colours that differ in lightness, too
    Verdict.GOOD_ENOUGH: "#007a52",
    Verdict.UNDECIDED: "#a06a00",
    Verdict.NOT_PURSUED: "#868c96",
    Verdict.EXCLUDED: "#c0182b",
}
MEANING = {  # for captions, which explain the verdicts that occur
    Verdict.GOOD_ENOUGH: "Green: good enough, because the thick bar ends within the margin.",
    Verdict.UNDECIDED: "Brown: undecided, possibly the best and possibly as far behind as the "
    "bar reaches.",
    Verdict.NOT_PURSUED: "Grey: not pursued, because the answer did not need more repeats "
    "of it; possibly the best, too.",
    Verdict.EXCLUDED: "Red: excluded, certainly not the best, because the thick bar does not start "
    "at 0.",
}
FEWEST_IN_MATRIX = 3  # optimizers; the ranking has the only difference of two
TOGETHER = 3  # optimizers that share the two panels of the blog post; more get a panel each


def draw_ranking(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw each optimizer's bound to the best against the margin, or the runs without verdicts."""
    answer, words, noun = summary.answer, summary.meta.metric_words, summary.meta.noun
    rows = [row for row in summary.rows if row.basis is Phase.CONFIRM]
    if not rows:
        return
    if not answer.looked:
        yield _without_verdicts(rows, marks, words)
        return
    judged = [answer.about(row.optimizer) for row in rows]
    leader = marks[answer.leader].label
    figure = new_figure(
        9.4,
        1.75 + 0.33 * len(rows),
        "Which optimizers are good enough?",
        f"Thick bar: the largest possible gap to the best on these {noun}s, thin: on new ones "
        f"(95 %). Dot: measured gap to {leader}.",
    )
    axis = figure.subplots()
    names = [marks[row.optimizer].label for row in rows]
    margins(figure, left=0.3 + label_width(names), right=3.3, top=0.85, bottom=0.7)
    every = (b for one in judged for b in (one.at_most_behind, one.at_most_behind_new_images))
    ahead = min(one.behind for one in judged if one.behind is not None)
    known = [bound for bound in every if bound is not None]
    axis.set_xlim(min(1.5 * ahead, 0), bounds_end(known, answer.margin))
    axis.axvspan(0, answer.margin, color=VERDICTS[Verdict.GOOD_ENOUGH], alpha=0.10, lw=0)
    axis.axvline(answer.margin, color=INK, lw=1.1)
    for place, (row, one) in enumerate(zip(rows, judged, strict=True)):
        _draw_judged(axis, place, names[place], one, leader, noun)
        _write_beside(axis, place, one.words, VERDICTS[one.verdict], _numbers(row, one))
    heads = (f"these {noun}s ≤", "new ≤", f"val {SHORT[summary.meta.metric]}")
    _write_beside(axis, -0.95, "verdict", MUTED, heads)
    names_down(axis, names)
    axis.set_xlabel(f"Points of validation {words} behind the best (bars) and {leader} (dots)")
    points_axis(axis)
    kind: dict[str, Any] = {"transform": axis.get_xaxis_transform(), "va": "bottom", "ha": "center"}
    axis.text(answer.margin, 1, f"margin {points(answer.margin)}", size=8, color=INK, **kind)
    yield (
        "ranking",
        "Which optimizers are good enough?",
        meanings(one.verdict for one in judged if one.at_most_behind is not None),
        figure,
    )


def meanings(verdicts: Iterable[Verdict], *, short: bool = False) -> str:
    """Return what the colours of the verdicts that occur mean, `short` without the reason."""
    occurring = set(verdicts)
    texts = [text for verdict, text in MEANING.items() if verdict in occurring]
    return " ".join(f"{text.split(',')[0]}." if short else text for text in texts)


def _draw_judged(axis: Axes, place: int, name: str, one: Judged, leader: str, noun: str) -> None:
    """Draw the bounds of one optimizer as bars, and its measured gap to the leader as a dot."""
    end = axis.get_xlim()[1]
    if one.at_most_behind is not None:
        start, colour = one.at_least_behind or 0.0, VERDICTS[one.verdict]
        said = says(f"{name}: {_bounds_in_words(one)}")
        bar(axis, place, start, one.at_most_behind, end, colour, lw=5, gid=said)
    if (new := one.at_most_behind_new_images) is not None:
        said = says(f"{name}: at most {at_most(new)} points behind the best on new {noun}s")
        bar(axis, place + 0.27, 0, new, end, MUTED, lw=1.6, gid=said)
    if one.behind is not None and one.behind <= end:
        kind: dict[str, Any] = {"color": INK, "ms": 7, "mec": "white", "mew": 1, "zorder": 4}
        said = says(f"{name}: {points(one.behind)} points behind {leader}")
        axis.plot(one.behind, place, "o", clip_on=False, gid=said, **kind)


def _bounds_in_words(one: Judged) -> str:
    least = "" if one.at_least_behind is None else f"at least {at_least(one.at_least_behind)} and "
    return f"{least}at most {at_most(one.bound)} points behind the best"


def _without_verdicts(
    rows: Sequence[Row], marks: Mapping[str, Mark], words: str
) -> tuple[str, str, str, Figure]:
    """Draw the single runs, where too few repeats allow no verdict."""
    several = sum(row.converged > 0 for row in rows) > 1
    figure = new_figure(
        8,
        1.5 + 0.33 * len(rows),
        "What the optimizers reached",
        "Dots: confirmation runs of the tuned winner. Mark: their mean. No verdict: "
        + (f"fewer than {FEWEST_REPEATS} repeats." if several else "nothing to compare."),
    )
    axis = figure.subplots()
    names = [marks[row.optimizer].label for row in rows]
    margins(figure, left=0.3 + label_width(names), right=0.4, top=0.75, bottom=0.55)
    for place, row in enumerate(rows):
        colour, marker, _ = marks[row.optimizer]
        values = list(row.runs.values())
        said = [
            f"{names[place]}, repeat {r}: {points(value)} %" for (r, _), value in row.runs.items()
        ]
        axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.55, ms=4, mew=0,
                  gid=says(*said))  # fmt: skip
        axis.plot(row.mean, place, marker, color=colour, ms=8, mec="white", mew=0.9,
                  gid=says(f"{names[place]}: {points(row.mean)} % on average"))  # fmt: skip
    names_down(axis, names)
    axis.set_xlabel(f"Validation {words}")
    percent_axis(axis, "x")
    caption = (
        "The order means nothing yet: chance in the split, the search and the seeds may explain it."
        if several
        else "How much runs differ by chance in the split and the seeds."
    )
    return "ranking", "What the optimizers reached", caption, figure


def _numbers(row: Row, one: Judged) -> tuple[str, ...]:
    """Return both bounds and the mean; a dash where nothing is known."""
    bounds = (one.at_most_behind, one.at_most_behind_new_images)
    mean = f"{points(row.mean)} %" if np.isfinite(row.mean) else "–"
    return (*("–" if bound is None else at_most(bound) for bound in bounds), mean)


def _write_beside(
    axis: Axes, place: float, verdict: str, colour: str, numbers: Sequence[str]
) -> None:
    """Write a line of the columns at the right."""
    write_beside(axis, place, verdict, 0.15, size=8.5, color=colour, weight="bold")
    for text, end in zip(numbers, (2.05, 2.6, 3.2), strict=True):
        write_beside(axis, place, text, end, size=8.5, color=INK, ha="right")


def draw_pairs(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the difference of every two optimizers, coloured where they are separated."""
    names = [row.optimizer for row in summary.rows if row.basis is Phase.CONFIRM]
    if len(names) < FEWEST_IN_MATRIX or not any(pair.separated for pair in summary.pairs):
        return
    noun, cell = summary.meta.noun, 0.5
    labels = [marks[name].label for name in names]
    framed = any(pair.carries_over for pair in summary.pairs)
    left, side = 0.3 + label_width(labels), cell * len(names)
    figure = new_figure(
        max(left + side + 0.3, NARROWEST),
        1.1 + side + left,
        "Which optimizer is ahead of which?",
        f"Row minus column, in points. Colour: separated on these {noun}s"
        + (". Frame: on new ones, too." if framed else "."),
    )
    axis = figure.subplots()
    width = figure.get_size_inches()[0]
    margins(figure, left=left, right=width - left - side, top=0.8, bottom=left)
    for pair in summary.pairs:
        for row, column, sign in ((pair.first, pair.second, 1), (pair.second, pair.first, -1)):
            said = f"{marks[row].label} minus {marks[column].label}: "
            _draw_pair(axis, pair, names.index(column), names.index(row), sign, said)
    names_down(axis, labels)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.set_xticks(range(len(names)), labels, color=INK, rotation=90)
    axis.grid(visible=False)
    yield (
        "pairs",
        "Differences of all pairs",
        "Green: the row is ahead of the column, red: behind, beyond what chance in splits, "
        "searches and seeds explains (simultaneous 95 % over all pairs). Without colour: as "
        "measured, but it may be chance. "
        + (f"Framed: it also holds on new {noun}s of the same kind. " if framed else "")
        + "Verdicts need fewer comparisons than all pairs, so one may be excluded without a "
        "colour. Each difference is over the repeats that both have, so differences need not add "
        "up.",
        figure,
    )


def _draw_pair(axis: Axes, pair: Pair, x: int, y: int, sign: int, said: str) -> None:
    """Draw one cell of the matrix of pairs; `sign` is -1 where the row is the second of them."""
    if np.isnan(pair.difference):
        return
    ahead, ends = sign * pair.difference, sorted((sign * pair.low, sign * pair.high))
    said += f"{points(ahead)} points"
    if not np.isnan(pair.low):
        said += f" ({points(ends[0])} to {points(ends[1])})"
    colour, opacity = VERDICTS[Verdict.GOOD_ENOUGH if ahead > 0 else Verdict.EXCLUDED], 0.3
    if not pair.separated:
        colour, opacity = MUTED, 0.05
    kind: dict[str, Any] = {"ec": INK, "lw": 1.2} if pair.carries_over else {"lw": 0}
    corner, filled = (x - 0.44, y - 0.44), to_rgba(colour, opacity)
    axis.add_patch(Rectangle(corner, 0.88, 0.88, fc=filled, gid=says(said), **kind))
    kind = {"ha": "center", "va": "center", "size": 8, "gid": says(said)}
    axis.text(x, y, points(ahead), color=INK if pair.separated else MUTED, **kind)


def draw_target(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the share of each optimizer's confirmation runs that have reached the target."""
    found = summary.target
    if found is None:
        return
    used = [marks[name] for name in found.optimizers]
    target = f"{points(found.value)} %"
    figure = new_figure(
        8,
        4.4,
        "How soon is a run good enough?",
        f"Share of the confirmation runs that have reached {target} validation "
        f"{summary.meta.metric_words}.",
    )
    axis = figure.subplots()
    margins(
        figure, left=0.75, right=0.3 + label_width([m.label for m in used]), top=0.8, bottom=0.5
    )
    epochs = np.arange(1, found.share.shape[1] + 1)
    for share, (colour, marker, name) in zip(found.share, used, strict=True):
        few = _few(marker, len(epochs))
        said = says(*_by_epoch(name, share)[:: few["markevery"]])
        axis.step(epochs, share, where="post", color=colour, lw=1.4, clip_on=False, gid=said, **few)
    up = linear(0, 1, percent=True)
    _apply(axis, _epochs(len(epochs)), up)
    _name_ends(axis, up, [share[-1] for share in found.share], used)
    axis.set_xlabel("Epoch")
    yield (
        "target",
        "Time to target",
        f"{target} is the mean of {marks[summary.answer.leader].label}, which leads, less the "
        "margin. Further left and higher is better; a run that diverged never reaches it. The "
        "values are those of single epochs, so a noisy run may reach it by chance.",
        figure,
    )


def draw_curves(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the metric and the loss of every winner against the epoch, as in the blog post."""
    curves, words = summary.curves, summary.meta.metric_words
    caption = "Solid: validation. Dashed: training (with dropout). Band: lowest to highest run."
    if not curves:
        return
    if len(curves) <= TOGETHER:
        yield "curves", "Learning curves", caption, _curves_together(curves, marks, words)
        return
    for kind, key, title in (("value", summary.meta.metric, words), ("loss", "loss", "loss")):
        figure = _curves_apart(curves, marks, kind, title)
        yield f"curves_{key}", f"Learning curves: {title}", caption, figure


def _curves_together(curves: Sequence[Curves], marks: Mapping[str, Mark], words: str) -> Figure:
    figure = new_figure(
        10, 4.2, "How the winners learn", "Solid: validation. Dashed: training. Band: all runs."
    )
    used = [marks[found.optimizer] for found in curves]
    room = 0.25 + label_width([mark.label for mark in used])
    panel = (10 - 0.75 - 0.65 - 2 * room) / 2
    axes = figure.subplots(1, 2)
    margins(figure, left=0.75, right=room, top=0.95, bottom=0.5, wspace=(0.65 + room) / panel)
    for axis, kind, title in zip(axes, ("value", "loss"), (words, "loss"), strict=True):
        for found, (colour, marker, name) in zip(curves, used, strict=True):
            train, val = getattr(found, kind), getattr(found, f"val_{kind}")
            epochs = np.arange(1, len(val.mean) + 1)
            few: dict[str, Any] = _few(marker, len(epochs))
            axis.plot(epochs, train.mean, "--", color=colour, lw=1.1, mfc="white", **few)
            said = says(*_by_epoch(name, val.mean, kind)[:: few["markevery"]])
            axis.plot(epochs, val.mean, "-", color=colour, lw=1.9, gid=said, **few)
            if found.runs > 1:
                axis.fill_between(epochs, val.low, val.high, color=colour, alpha=BAND, lw=0)
        up = _heights(curves, kind)
        _apply(axis, _epochs(_longest(curves)), up)
        _name_ends(axis, up, [getattr(found, f"val_{kind}").mean[-1] for found in curves], used)
        axis.set_title(title[0].upper() + title[1:])
        axis.set_xlabel("Epoch")
    return figure


def _name_ends(axis: Axes, up: AxisScale, ends: Sequence[float], marks: Sequence[Mark]) -> None:
    """Write each name at the right edge, where its curve ends."""
    heights = [float(np.nan_to_num(np.clip(up(end), 0, 1))) for end in ends]
    for y, (colour, _, name) in zip(spread_labels(heights, 0.06, 0, 1), marks, strict=True):
        axis.annotate(
            name,
            (1, y),
            (6, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            size=9,
            color=colour,
            annotation_clip=False,
        )


def _curves_apart(
    curves: Sequence[Curves], marks: Mapping[str, Mark], kind: str, words: str
) -> Figure:
    panels = Panels(
        titles(marks, (found.optimizer for found in curves)),
        f"How the winners learn: {words}",
        "Solid: validation. Dashed: training. Band: all runs. Grey: the other optimizers.",
        "Epoch",
        _epochs(_longest(curves)),
        _heights(curves, kind),
    )
    means = [getattr(found, f"val_{kind}").mean for found in curves]
    panels.plot_behind((np.arange(1.0, len(mean) + 1), mean) for mean in means)
    for place, found in enumerate(curves):
        colour, marker, name = marks[found.optimizer]
        train, val = getattr(found, kind), getattr(found, f"val_{kind}")
        epochs = np.arange(1, len(val.mean) + 1)
        few: dict[str, Any] = _few(marker, len(epochs)) | {"color": colour}
        said = _by_epoch(name, val.mean, kind)
        panels.plot(place, epochs, train.mean, "--", lw=1.1, mfc="white", **few)
        panels.plot(place, epochs, val.mean, "-", lw=1.9, said=said, **few)
        if found.runs > 1:
            panels.band(place, epochs, val.low, val.high, colour)
    return panels.figure


def _by_epoch(name: str, values: Iterable[float], kind: str = "value") -> list[str]:
    """Return what the mark of each epoch says; "" where there is no value."""
    return [
        f"{name}, epoch {epoch}: {f'{points(value)} %' if kind == 'value' else f'{value:.3f}'}"
        if np.isfinite(value)
        else ""
        for epoch, value in enumerate(values, start=1)
    ]


def _few(marker: str, epochs: int) -> dict[str, Any]:
    """Return the style of about eight markers along a curve, which help where colours do not."""
    return {"marker": marker, "ms": 4, "markevery": max(1, epochs // 8)}


def _longest(curves: Sequence[Curves]) -> int:
    return max(len(found.val_loss.mean) for found in curves)


def _epochs(epochs: int) -> AxisScale:
    if epochs < 3:
        return AxisScale(0.5, epochs + 0.5, tuple(range(1, epochs + 1)), ("1", "2")[:epochs])
    found = linear(1, epochs, whole=True)
    ticks = (1.0, *(t for t in found.ticks if t > 1 and t == int(t)))
    return AxisScale(1, epochs, ticks, tuple(f"{t:g}" for t in ticks))


def _heights(curves: Sequence[Curves], kind: str) -> AxisScale:
    """Return percent for the metric; decades for losses, so that the first epoch hides nothing."""
    bands = [band for c in curves for band in (getattr(c, kind), getattr(c, f"val_{kind}"))]
    values = np.concatenate([band.mean for band in bands])
    if kind == "value":
        return linear(lower_limit(values), 1.02, percent=True)
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return linear(0, 1)
    low, high = max(float(known.min()), 1e-4), float(np.quantile(known, 0.995))
    return logarithmic(low / 1.3, max(high, low * 2) * 1.3)


def _apply(axis: Axes, across: AxisScale, up: AxisScale) -> None:
    axis.set_xlim(across.low, across.high)
    axis.set_xticks(across.ticks, across.labels)
    if up.log:
        axis.set_yscale("log")
    axis.set_yticks(up.ticks, up.labels)
    axis.minorticks_off()
    axis.set_ylim(up.low, up.high)


DRAWERS = (draw_ranking, draw_target, draw_pairs, draw_curves)
