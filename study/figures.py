"""Summary -> figures/*.png: what the winners reach; `confusion_figures` and
`search_figures` draw the rest.

Each figure draws one tuple of the summary and nothing else; each title says what to look for.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from study import confusion_figures, search_figures
from study.files import write_atomically
from study.panels import joined, panels, rule
from study.style import (
    FAINT,
    INK,
    MUTED,
    Fonts,
    Look,
    find_fonts,
    label_width,
    looks,
    lower_limit,
    margins,
    new_figure,
    percent_axis,
    spread_labels,
    style,
)
from study.summary import Summary
from study.winners import Curves

TOGETHER = 3  # so many optimizers share the post's two panels; more get a panel each


class Picture(NamedTuple):
    """One drawn figure."""

    name: str  # of the file, without .png
    title: str
    caption: str  # how to read it
    png: bytes


def draw_figures(summary: Summary) -> tuple[list[Picture], list[str]]:
    """Every figure that the study has data for, and warnings about fonts."""
    fonts = find_fonts([*summary.meta.class_names, *summary.meta.optimizers])
    look = looks([*summary.meta.optimizers, *(row.optimizer for row in summary.rows)], fonts)
    drawers: list[Callable[..., Iterable[tuple[str, str, str, Figure]]]] = [
        draw_ranking,
        draw_curves,
        *confusion_figures.DRAWERS,
        *search_figures.DRAWERS,
    ]
    pictures = []
    with style(fonts):
        for drawer in drawers:
            for name, title, caption, figure in drawer(summary, look, fonts):
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png", pil_kwargs={"compress_level": 3})
                pictures.append(Picture(name, title, caption, buffer.getvalue()))
    return pictures, _font_warnings(fonts)


def write_figures(pictures: Iterable[Picture], folder: Path) -> None:
    """Write the PNG files, and remove those of an earlier report that no longer apply."""
    names = set()
    for picture in pictures:
        names.add(f"{picture.name}.png")
        write_atomically(folder / f"{picture.name}.png", picture.png)
    for old in folder.glob("*.png"):
        if old.name not in names:
            old.unlink()


def _font_warnings(fonts: Fonts) -> list[str]:
    if not fonts.missing:
        return []
    return [
        f"no installed font has the characters {fonts.missing[:20]!r}, so figures show numbers in "
        'place of those names; install the font "Noto Sans CJK" (Debian, Ubuntu: fonts-noto-cjk) '
        "or another one for this script, and run the report again"
    ]


Drawn = Iterable[tuple[str, str, str, Figure]]


def draw_ranking(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Every confirmation run as a dot, mean and interval, tie groups as bars at the right."""
    confirmed = [row for row in summary.rows if row.optimizer in summary.claims.places]
    if not confirmed:
        return
    names = [look[row.optimizer].label for row in confirmed]
    rows = len(confirmed)
    figure = new_figure(
        8,
        1.5 + 0.33 * rows,
        "Which optimizer reaches most here?",
        "Dots: single runs of the tuned winner. Mark and bar: mean and 95 % interval"
        + (", over reruns of one repeat only." if summary.claims.repeats < 2 else "."),
    )
    axis = figure.subplots()
    margins(figure, left=0.3 + label_width(names), right=1.9, top=0.75, bottom=0.55)
    for place, row in enumerate(confirmed):
        colour, marker, _ = look[row.optimizer]
        values = list(row.runs.values())
        shake = (np.arange(len(values)) % 3 - 1) * 0.07 - 0.24  # above the bar, side by side
        axis.plot(values, place + shake, "o", color=colour, alpha=0.55, ms=3.4, mew=0)
        axis.plot([row.low, row.high], [place, place], "-", color=colour, lw=1.8)
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
        "Optimizers under one grey bar at the right are not separated: their order is not known.",
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
    text = "joined by a bar:\nnot separated" if len(groups[0]) > 1 else "each alone:\nall separated"
    axis.text(
        1.05 + step * len(groups),
        0.5,
        text,
        transform=axis.transAxes,
        va="center",
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
        ends = []
        for found in curves:
            colour, marker, _ = look[found.optimizer]
            ends.append(_draw_pair(axis, found, kind, colour, marker))
        _scale_curves(axis, curves, kind)
        low, high = axis.get_ylim()
        ends = [low if np.isnan(end) else float(np.clip(end, low, high)) for end in ends]
        for place, end in enumerate(spread_labels(ends, (high - low) * 0.06, low, high)):
            axis.annotate(
                names[place],
                (1, end),
                (6, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                va="center",
                size=9,
                color=look[curves[place].optimizer].colour,
                annotation_clip=False,
            )
        axis.set_title(kind.capitalize())
        axis.set_xlabel("Epoch")
    return figure


def _curves_apart(
    curves: Sequence[Curves], look: Mapping[str, Look], names: Sequence[str], kind: str
) -> Figure:
    figure, axes = panels(
        len(curves),
        f"How the winners learn: {kind}",
        "Solid: validation. Dashed: training. Band: all runs. Grey: the other optimizers.",
        "Epoch",
    )
    means = [getattr(found, f"val_{kind}").mean for found in curves]
    others = joined((np.arange(1.0, len(mean) + 1), mean) for mean in means)
    for axis, (place, found) in zip(axes, enumerate(curves), strict=True):
        axis.plot(*others, "-", color="#d9d9d9", lw=0.7)
        colour, marker, _ = look[found.optimizer]
        _draw_pair(axis, found, kind, colour, marker)
        axis.set_title(names[place], color=colour, weight="bold")
    _scale_curves(axes[0], curves, kind)  # the others share it
    rule(axes)
    return figure


def _draw_pair(axis: Axes, found: Curves, kind: str, colour: str, marker: str) -> float:
    """Training dashed, validation solid with its band; returns the last validation value."""
    train, val = getattr(found, kind), getattr(found, f"val_{kind}")
    epochs = np.arange(1, len(val.mean) + 1)
    few: dict[str, Any] = {"marker": marker, "ms": 4.5, "markevery": max(1, len(epochs) // 8)}
    axis.plot(epochs, train.mean, "--", color=colour, lw=1.1, mfc="white", **few)
    axis.plot(epochs, val.mean, "-", color=colour, lw=1.9, **few)
    if found.runs > 1:
        axis.fill_between(epochs, val.low, val.high, color=colour, alpha=0.18, lw=0)
    return float(val.mean[-1])


def _scale_curves(axis: Axes, curves: Sequence[Curves], kind: str) -> None:
    """Few ticks at sensible epochs; a loss axis that one bad optimizer cannot blow up."""
    epochs = max(len(found.val_loss.mean) for found in curves)
    ticks = [t for t in MaxNLocator(5, integer=True).tick_values(1, epochs) if 1 < t <= epochs]
    axis.xaxis.set_major_locator(FixedLocator([1, *ticks]))
    axis.set_xlim(0.5 if epochs < 3 else 1, epochs + (0.5 if epochs < 3 else 0))
    axis.yaxis.set_major_locator(MaxNLocator(5))
    if kind == "accuracy":
        values = np.concatenate([np.append(c.val_accuracy.mean, c.accuracy.mean) for c in curves])
        axis.set_ylim(lower_limit(values), 1.02)
        percent_axis(axis)
        return
    means = [np.concatenate((c.loss.mean, c.val_loss.mean)) for c in curves]
    tops = [float(np.nanmax(m)) for m in means if np.isfinite(m).any()]
    axis.set_ylim(0, 1.05 * min(max(tops, default=1.0), 3 * float(np.median(tops or [1.0]))) or 1.0)
