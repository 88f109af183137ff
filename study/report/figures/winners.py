"""Summary -> figures of the winners: ranking with tie groups, learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.common.fonts import Fonts
from study.common.plot_style import (
    FAINT,
    INK,
    MUTED,
    Look,
    lower_limit,
    margins,
    new_figure,
    percent_axis,
    spread_labels,
)
from study.common.text import label_width
from study.report.analysis.summary import Summary
from study.report.analysis.winners import Curves
from study.report.figures.panels import Panels, Scale, joined, linear, logarithmic
from study.report.figures.picture import Drawn

TOGETHER = 3  # so many optimizers share the post's two panels; more get a panel each


def draw_ranking(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Every confirmation run as a dot, mean and bar, tie groups at the right."""
    confirmed = [row for row in summary.rows if row.optimizer in summary.claims.places]
    if not confirmed:
        return
    names = [look[row.optimizer].label for row in confirmed]
    rows = len(confirmed)
    margin = summary.claims.margin
    bars = "its 95 % interval over reruns of one repeat only"
    caption = (
        "Optimizers under one grey bar at the right are not separated: their order is unknown."
    )
    if np.isfinite(margin):
        caption += (
            " Where coloured bars do not even touch, the difference is real on these images, "
            "unless an optimizer is much more erratic than the others."
        )
        bars = f"half of the smallest real gap ({100 * margin:.1f} points) to each side"
    figure = new_figure(
        8,
        1.5 + 0.33 * rows,
        "Which optimizer reaches most here?",
        f"Dots: single runs of the tuned winner. Mark: their mean. Bar: {bars}.",
    )
    axis = figure.subplots()
    margins(figure, left=0.3 + label_width(names), right=1.9, top=0.75, bottom=0.55)
    for place, row in enumerate(confirmed):
        colour, marker, _ = look[row.optimizer]
        values = list(row.runs.values())
        shake = (np.arange(len(values)) % 3 - 1) * 0.07 - 0.24  # above the bar, side by side
        low, high = row.low, row.high
        if np.isfinite(margin):
            low, high = row.mean - margin / 2, row.mean + margin / 2
        axis.plot(values, place + shake, "o", color=colour, alpha=0.55, ms=3.4, mew=0)
        axis.plot([low, high], [place, place], "-", color=colour, lw=2.4)
        axis.plot(row.mean, place, marker, color=colour, ms=8, mec="white", mew=0.9)
    axis.set_ylim(rows - 0.4, -0.6)
    axis.set_yticks(range(rows), names, color=INK)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("Validation accuracy at the best epoch")
    percent_axis(axis, "x")
    _draw_groups(axis, [row.optimizer for row in confirmed], summary.claims.groups)
    yield (
        "ranking",
        "Ranking",
        caption,
        figure,
    )


def _draw_groups(axis: Axes, names: list[str], groups: Sequence[tuple[str, ...]]) -> None:
    """Vertical bars right of the axis; a dot marks each member of a group."""
    across = axis.get_yaxis_transform()
    step = min(0.05, 0.30 / max(len(groups), 1))
    for number, group in enumerate(groups):
        x = 1.03 + step * number
        rows = [names.index(name) for name in group]
        axis.plot(
            [x, x],
            [min(rows) - 0.2, max(rows) + 0.2],
            "-",
            color=FAINT,
            lw=3,
            transform=across,
            clip_on=False,
            solid_capstyle="round",
        )
        axis.plot([x] * len(rows), rows, "o", color=MUTED, ms=4, transform=across, clip_on=False)
    text = "joined by a bar:\nnot separated"
    if all(len(group) == 1 for group in groups):
        text = "each alone:\nall separated"
    axis.text(
        1.02,
        -0.02,  # below the bars: beside them there is no room for many groups
        text,
        transform=axis.transAxes,
        va="top",
        size=8,
        color=MUTED,
    )


def draw_curves(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Training and validation accuracy and loss of every winner, the post's figure."""
    curves = summary.curves
    names = [look[found.optimizer].label for found in curves]
    caption = (
        "Solid: validation. Dashed: training (with dropout on). "
        "Band: lowest to highest run of the winner."
    )
    if not curves:
        return
    if len(curves) <= TOGETHER:
        yield "curves", "Learning curves", caption, _curves_together(curves, look, names)
        return
    for kind in ("accuracy", "loss"):
        figure = _curves_apart(curves, look, names, kind)
        yield f"curves_{kind}", f"Learning curves: {kind}", caption, figure


def _curves_together(
    curves: Sequence[Curves], look: Mapping[str, Look], names: Sequence[str]
) -> Figure:
    figure = new_figure(
        10, 4.2, "How the winners learn", "Solid: validation. Dashed: training. Band: all runs."
    )
    left, right = figure.subplots(1, 2)
    room = 0.25 + label_width(names)
    panel = (10 - 0.75 - 0.65 - 2 * room) / 2
    gap = (0.65 + room) / panel
    margins(figure, left=0.75, right=room, top=0.95, bottom=0.5, wspace=gap)
    for axis, kind in ((left, "accuracy"), (right, "loss")):
        for found in curves:
            colour, marker, _ = look[found.optimizer]
            train, val = getattr(found, kind), getattr(found, f"val_{kind}")
            epochs = np.arange(1, len(val.mean) + 1)
            few: dict[str, Any] = _few(marker, len(epochs))
            axis.plot(epochs, train.mean, "--", color=colour, lw=1.1, mfc="white", **few)
            axis.plot(epochs, val.mean, "-", color=colour, lw=1.9, **few)
            if found.runs > 1:
                axis.fill_between(epochs, val.low, val.high, color=colour, alpha=0.18, lw=0)
        up = _heights(curves, kind)
        _apply(axis, _epochs(curves), up)
        ends = [float(getattr(found, f"val_{kind}").mean[-1]) for found in curves]
        _name_ends(axis, up, ends, names, [look[found.optimizer].colour for found in curves])
        axis.set_title(kind.capitalize())
        axis.set_xlabel("Epoch")
    return figure


def _name_ends(
    axis: Axes, up: Scale, ends: Sequence[float], names: Sequence[str], colours: Sequence[str]
) -> None:
    """Write each name at the right edge, where its curve ends."""
    heights = [0.0 if np.isnan(up(end)) else float(np.clip(up(end), 0, 1)) for end in ends]
    for y, name, colour in zip(spread_labels(heights, 0.06, 0, 1), names, colours, strict=True):
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
    curves: Sequence[Curves], look: Mapping[str, Look], names: Sequence[str], kind: str
) -> Figure:
    panels = Panels(
        [(n, look[c.optimizer].colour) for n, c in zip(names, curves, strict=True)],
        f"How the winners learn: {kind}",
        "Solid: validation. Dashed: training. Band: all runs. Grey: the other optimizers.",
        "Epoch",
        _epochs(curves),
        _heights(curves, kind),
    )
    means = [getattr(found, f"val_{kind}").mean for found in curves]
    others = joined((np.arange(1.0, len(mean) + 1), mean) for mean in means)
    for place, found in enumerate(curves):
        panels.plot(place, *others, "-", color="#d9d9d9", lw=0.7)
        colour, marker, _ = look[found.optimizer]
        train, val = getattr(found, kind), getattr(found, f"val_{kind}")
        epochs = np.arange(1, len(val.mean) + 1)
        few = _few(marker, len(epochs))
        panels.plot(place, epochs, train.mean, "--", color=colour, lw=1.1, mfc="white", **few)
        panels.plot(place, epochs, val.mean, "-", color=colour, lw=1.9, **few)
        if found.runs > 1:
            panels.band(place, epochs, val.low, val.high, colour)
    return panels.figure


def _few(marker: str, epochs: int) -> dict[str, Any]:
    """A marker now and then tells colours apart in print."""
    return {"marker": marker, "ms": 4, "markevery": max(1, epochs // 8)}


def _epochs(curves: Sequence[Curves]) -> Scale:
    epochs = max(len(found.val_loss.mean) for found in curves)
    if epochs < 3:
        return Scale(0.5, epochs + 0.5, tuple(range(1, epochs + 1)), ("1", "2")[:epochs])
    found = linear(1, epochs, whole=True)
    ticks = (1.0, *(t for t in found.ticks if t > 1 and t == int(t)))
    return Scale(1, epochs, ticks, tuple(f"{t:g}" for t in ticks))


def _heights(curves: Sequence[Curves], kind: str) -> Scale:
    """Percent for accuracies; decades for losses, so that the first epoch hides nothing."""
    bands = [band for c in curves for band in (getattr(c, kind), getattr(c, f"val_{kind}"))]
    values = np.concatenate([band.mean for band in bands])
    if kind == "accuracy":
        return linear(lower_limit(values), 1.02, percent=True)
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return linear(0, 1)
    low, high = max(float(known.min()), 1e-4), float(np.quantile(known, 0.995))
    return logarithmic(low / 1.3, max(high, low * 2) * 1.3)


def _apply(axis: Axes, across: Scale, up: Scale) -> None:
    axis.set_xlim(across.low, across.high)
    axis.set_xticks(across.ticks, across.labels)
    if up.log:
        axis.set_yscale("log")
    axis.set_yticks(up.ticks, up.labels)
    axis.minorticks_off()
    axis.set_ylim(up.low, up.high)


DRAWERS = (draw_ranking, draw_curves)
