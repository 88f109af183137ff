"""Summary -> figures/*.png: what the winners reach. The search's figures are `search_figures`.

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

from study import search_figures
from study.files import write_atomically
from study.style import (
    FAINT,
    INK,
    MUTED,
    Fonts,
    Look,
    find_fonts,
    looks,
    lower_limit,
    margins,
    new_figure,
    percent_axis,
    plain,
    shown_names,
    spread_labels,
    style,
)
from study.summary import Summary
from study.winners import Confusion, Curves

TOGETHER = 3  # so many optimizers share the post's two panels; more get a panel each
MOST_COUNTS = 60  # classes; above that the numbers in the matrix are too small to read


class Picture(NamedTuple):
    """One drawn figure."""

    name: str  # of the file, without .png
    title: str
    caption: str  # how to read it
    png: bytes


def draw_figures(summary: Summary) -> tuple[list[Picture], list[str]]:
    """Every figure that the study has data for, and warnings about fonts."""
    fonts = find_fonts([*summary.meta.class_names, *summary.meta.optimizers, summary.meta.name])
    look = looks([*summary.meta.optimizers, *(row.optimizer for row in summary.rows)])
    drawers: list[Callable[..., Iterable[tuple[str, str, str, Figure]]]] = [
        draw_ranking,
        draw_curves,
        draw_confusion,
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
    names = shown_names([row.optimizer for row in confirmed], fonts, "optimizer")
    rows = len(confirmed)
    figure = new_figure(
        8,
        1.5 + 0.33 * rows,
        "Which optimizer reaches most here?",
        "Dots: single runs of the tuned winner. Mark and bar: mean and 95 % interval.",
    )
    axis = figure.subplots()
    margins(figure, left=1.6, right=1.9, top=0.75, bottom=0.55)
    for place, row in enumerate(confirmed):
        colour, marker = look[row.optimizer]
        values = list(row.runs.values())
        shake = (np.arange(len(values)) % 3 - 1) * 0.07 - 0.24  # above the bar, side by side
        axis.plot(values, place + shake, "o", color=colour, alpha=0.55, ms=3.4, mew=0)
        axis.plot([row.low, row.high], [place, place], "-", color=colour, lw=1.8)
        axis.plot(row.mean, place, marker, color=colour, ms=8, mec="white", mew=0.9)
    axis.set_ylim(rows - 0.4, -0.6)
    axis.set_yticks(range(rows), [names[i] for i in range(rows)], color=INK)
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
    names = shown_names([found.optimizer for found in curves], fonts, "optimizer")
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
    curves: Sequence[Curves], look: Mapping[str, Look], names: Mapping[int, str]
) -> Figure:
    figure = new_figure(
        10, 4.2, "How the winners learn", "Solid: validation. Dashed: training. Band: all runs."
    )
    left, right = figure.subplots(1, 2)
    margins(figure, left=0.75, right=1.3, top=0.95, bottom=0.5, wspace=0.42)
    for axis, kind in ((left, "accuracy"), (right, "loss")):
        ends = []
        for found in curves:
            colour, marker = look[found.optimizer]
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
    curves: Sequence[Curves], look: Mapping[str, Look], names: Mapping[int, str], kind: str
) -> Figure:
    figure, axes = search_figures.panels(
        len(curves),
        f"How the winners learn: {kind}",
        "Solid: validation. Dashed: training. Band: all runs. Grey: the other optimizers.",
        "Epoch",
    )
    means = [getattr(found, f"val_{kind}").mean for found in curves]
    others = search_figures.joined((np.arange(1.0, len(mean) + 1), mean) for mean in means)
    for axis, (place, found) in zip(axes, enumerate(curves), strict=True):
        axis.plot(*others, "-", color="#d9d9d9", lw=0.7)
        colour, marker = look[found.optimizer]
        _draw_pair(axis, found, kind, colour, marker)
        _scale_curves(axis, curves, kind)
        axis.set_title(names[place], color=colour, weight="bold")
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


def draw_confusion(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Confusion matrix with the most confused pairs beside it, and accuracy by class."""
    found = summary.confusion
    if found is None:
        return
    names = shown_names(summary.meta.class_names, fonts)
    winner = plain(found.optimizer)
    about = f"{winner}, {found.images} images, accuracy {100 * found.accuracy:.1f} %"
    yield (
        "confusion",
        "Confusion matrix",
        "Each row is a true class; a dark cell off the diagonal is a frequent mistake.",
        _confusion_figure(found, names, about),
    )
    yield (
        "per_class",
        "Accuracy by class",
        "Share of each class's images that the winner names rightly.",
        _per_class_figure(found, names, about),
    )


def _confusion_figure(found: Confusion, names: Mapping[int, str], about: str) -> Figure:
    classes = len(found.counts)
    cell = float(np.clip(7.2 / classes, 0.17, 0.5))
    longest = max(len(name) for name in names.values())
    size = float(np.clip(cell * 48, 4, 9))
    label = 0.45 + longest * size * 0.0083  # inches: a letter is about 0.6 em wide
    side = cell * classes
    texts = [f"{plain(names[a], 14)} → {plain(names[b], 14)}" for a, b, *_ in found.pairs]
    beside_label = 0.35 + max(map(len, texts), default=0) * 7.5 * 0.0083
    height = max(side, 2.4) + label + 0.9
    width = label + side + (beside_label + 2.0 if texts else 0.4)
    figure = new_figure(max(width, 7), height, "Which classes are confused?", about)
    axis = figure.add_axes((0, 0, 1, 1))
    _place(axis, label + 0.2, height - 0.8 - side, side, side)
    shares = found.counts / np.maximum(found.counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=-0.06, vmax=1, aspect="auto", interpolation="nearest")
    axis.grid(visible=False)
    lines = np.arange(classes - 1) + 0.5
    axis.hlines(lines, -0.5, classes - 0.5, color="white", lw=0.8)
    axis.vlines(lines, -0.5, classes - 0.5, color="white", lw=0.8)
    labels = [names[i] for i in range(classes)]
    axis.set_xticks(range(classes), labels, rotation=90, size=size)
    axis.set_yticks(range(classes), labels, size=size)
    axis.set_xlabel("Predicted class")
    axis.set_ylabel("True class")
    if classes <= MOST_COUNTS:
        for i, j in zip(*np.nonzero(found.counts), strict=True):
            dark = shares[i, j] > 0.55
            axis.text(
                j,
                i,
                str(found.counts[i, j]),
                ha="center",
                va="center",
                size=size * 0.9,
                color="white" if dark else INK,
            )
    if found.pairs:
        beside = figure.add_axes((0, 0, 1, 1))
        tall = min(0.3 * len(found.pairs), side)
        _place(beside, label + 0.2 + side + beside_label, height - 1.05 - tall, 1.2, tall)
        _draw_confused(beside, found, texts)
    return figure


def _place(axis: Axes, left: float, bottom: float, width: float, height: float) -> None:
    """Put an axis at a place given in inches."""
    assert axis.figure is not None
    whole_width, whole_height = axis.figure.get_size_inches()  # type: ignore[union-attr]
    axis.set_position(
        (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    )


def _draw_confused(axis: Axes, found: Confusion, texts: Sequence[str]) -> None:
    counts = [pair[2] for pair in found.pairs]
    axis.barh(range(len(counts)), counts, color="#5a86b8", height=0.6)
    for place, (_, _, count, total) in enumerate(found.pairs):
        axis.text(count, place, f" {count} of {total}", va="center", size=7.5)
    axis.set_yticks(range(len(texts)), texts, size=7.5)
    axis.set_ylim(len(texts) - 0.4, -0.6)
    axis.set_xlim(0, max(counts) * 1.5)
    axis.set_xticks([])
    axis.grid(visible=False)
    axis.spines["bottom"].set_visible(False)
    axis.set_title("Most frequent mistakes\ntrue → predicted", size=8.5)


def _per_class_figure(found: Confusion, names: Mapping[int, str], about: str) -> Figure:
    order = np.argsort(np.nan_to_num(found.per_class, nan=2.0), kind="stable")
    classes = len(order)
    figure = new_figure(7, 1.4 + 0.2 * classes, "Which classes are hard?", about)
    axis = figure.subplots()
    longest = max(len(name) for name in names.values())
    margins(figure, left=0.35 + 0.075 * longest, right=0.7, top=0.75, bottom=0.5)
    values = found.per_class[order]
    totals = found.counts.sum(axis=1)[order]
    axis.hlines(range(classes), 0, np.nan_to_num(values), color="#a9c1dc", lw=3)
    axis.plot(values, range(classes), "o", color="#0b4f8a", ms=5)
    axis.axvline(found.accuracy, color=MUTED, lw=0.9, ls=":")
    for place, (value, total) in enumerate(zip(values, totals, strict=True)):
        text = "no images" if np.isnan(value) else f"{round(value * total)} of {total}"
        axis.annotate(
            text,
            (1, place),
            (5, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            size=7,
            color=MUTED,
        )
    axis.set_yticks(range(classes), [names[int(i)] for i in order], size=7.5)
    axis.set_ylim(classes - 0.4, -0.6)
    axis.set_xlim(0, 1.02)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("Accuracy; dotted: over all images")
    percent_axis(axis, "x")
    return figure
