"""Figures about the winner's mistakes: confusion matrix, accuracy by class, confused images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.common.metrics import ACCURACY
from study.common.plot_look import (
    MUTED,
    Fonts,
    Mark,
    ink_on,
    margins,
    new_figure,
    percent_axis,
    shown_names,
)
from study.common.text import label_width, plain, points
from study.report.analysis.confusion import Confusion
from study.report.analysis.summary import Summary
from study.report.figures.picture import NARROWEST, Drawn, write_beside
from study.report.figures.svg import says

WIDEST = 10.2  # inches of the matrix
FEWEST_CLASSES = 12  # shown even if the winner makes no mistake
MOST_COUNTS = 60  # classes; with more the numbers in the matrix are too small to read


def draw_confusion(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the confusion matrix with the most confused pairs, and the accuracy by class."""
    found = summary.confusion
    if found is None:
        return
    names = shown_names(summary.meta.class_names, fonts)
    metric, noun = summary.meta.metric, summary.meta.noun
    about = f"One run of {marks[found.optimizer].label}, {found.images} {noun}s, "
    about += f"accuracy {points(found.accuracy)} %"
    if metric != ACCURACY:
        about += f", {summary.meta.metric_words} {points(found.value)} %"
    others = _mean_of_all(summary, found)
    yield (
        "confusion",
        "Confusion matrix",
        "Each row is a true class; a deep blue cell off the diagonal is a frequent "
        f"mistake.{others}",
        _confusion_figure(found, names, about),
    )
    yield (
        "per_class",
        "Accuracy by class" if metric == ACCURACY else "Recall by class",
        f"Share of each class's {noun}s that the winner classifies correctly.{others}",
        _per_class_figure(found, names, about, noun, metric),
    )


def _mean_of_all(summary: Summary, found: Confusion) -> str:
    """Return a sentence with the mean value of all runs, since only one is shown."""
    row = next(row for row in summary.rows if row.optimizer == found.optimizer)
    mean = row.test_value if found.images == "test" else row.mean
    if row.converged < 2 or np.isnan(mean):
        return ""
    words = summary.meta.metric_words
    return f" This is one run; the mean {words} of all {row.converged} is {points(mean)} %."


def _confusion_figure(found: Confusion, names: Mapping[int, str], about: str) -> Figure:
    classes = len(found.counts)
    cell = min(float(np.clip(7.2 / classes, 0.17, 0.5 if classes > 6 else 0.8)), WIDEST / classes)
    size = float(np.clip(cell * 48, 4, 9))
    label, side = 0.45 + label_width(names.values(), size), cell * classes
    texts = [f"{plain(names[a], 14)} → {plain(names[b], 14)}" for a, b, *_ in found.pairs]
    beside = 0.35 + label_width(texts, 7.5)
    height = max(side, 2.4) + label + 0.9
    across = label + side + (beside + 2.0 if texts else 0.4)
    figure = new_figure(max(across, 7), height, "Which classes are confused?", about)
    matrix = _axis(figure, label + 0.2, height - 0.8 - side, side, side)
    _draw_matrix(matrix, found, [names[i] for i in found.order], cell, size)
    if texts:
        tall = min(0.3 * len(texts), side)
        right = _axis(figure, label + 0.2 + side + beside, height - 1.05 - tall, 1.2, tall)
        _draw_confused(right, found, texts)
    return figure


def _axis(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add an axis at a place given in inches."""
    whole = figure.get_size_inches()
    return figure.add_axes(
        (left / whole[0], bottom / whole[1], width / whole[0], height / whole[1])
    )


def _draw_matrix(
    axis: Axes, found: Confusion, labels: Sequence[str], cell: float, size: float
) -> None:
    classes = len(labels)
    counts = found.counts[np.ix_(found.order, found.order)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    seen = np.where(shares > 0, shares, np.nan)  # the page's own ground shows through the others
    cells = axis.imshow(
        seen, cmap="Blues", vmin=-0.06, vmax=1, aspect="auto", interpolation="nearest"
    )
    axis.grid(visible=False)
    lines = np.arange(classes - 1) + 0.5
    width = min(0.8, 5 * cell)
    axis.hlines(lines, -0.5, classes - 0.5, color="white", lw=width)
    axis.vlines(lines, -0.5, classes - 0.5, color="white", lw=width)
    step = int(np.ceil(0.12 / cell))  # labels that would overlap are left out
    axis.set_xticks(range(0, classes, step), labels[::step], rotation=90, size=size)
    axis.set_yticks(range(0, classes, step), labels[::step], size=size)
    axis.set_xlabel("Predicted class")
    axis.set_ylabel("True class")
    if classes > MOST_COUNTS:
        return
    for i, j in np.argwhere(counts):
        ink = ink_on(tuple(cells.to_rgba(shares[i, j])))
        text = str(counts[i, j])
        axis.text(j, i, text, ha="center", va="center", size=size * 0.9, color=ink)


def _draw_confused(axis: Axes, found: Confusion, texts: Sequence[str]) -> None:
    counts = [pair[2] for pair in found.pairs]
    bars = axis.barh(range(len(counts)), counts, color="#5a86b8", height=0.6)
    for place, (_, _, count, total) in enumerate(found.pairs):
        bars[place].set_gid(says(f"{texts[place]}: {count} of {total}"))
        axis.text(count, place, f" {count} of {total}", va="center", size=7.5)
    axis.set_yticks(range(len(texts)), texts, size=7.5)
    axis.set_ylim(len(texts) - 0.4, -0.6)
    axis.set_xlim(0, max(counts) * 1.5)
    axis.set_xticks([])
    axis.grid(visible=False)
    axis.spines["bottom"].set_visible(False)
    axis.set_title("Most frequent mistakes\ntrue → predicted", size=8.5)


def _per_class_figure(
    found: Confusion, names: Mapping[int, str], about: str, noun: str, metric: str
) -> Figure:
    natural = np.array(found.order)
    order = natural[np.argsort(np.nan_to_num(found.per_class[natural], nan=2.0), kind="stable")]
    imperfect = int(np.sum(found.per_class < 1))
    order = order[: min(MOST_COUNTS, max(imperfect, FEWEST_CLASSES))]  # the hardest classes
    classes = len(order)
    left_out = len(found.counts) - classes
    if left_out:
        about += f"; {left_out} more {'all right' if imperfect <= classes else 'do better'}"
    figure = new_figure(7, 1.4 + 0.2 * classes, "Which classes are hard?", about)
    axis = figure.subplots()
    margins(figure, left=0.3 + label_width(names.values(), 7.5), right=0.7, top=0.75, bottom=0.5)
    values = found.per_class[order]
    totals = found.counts.sum(axis=1)[order]
    axis.hlines(range(classes), 0, np.nan_to_num(values), color="#7393bd", lw=3)
    said = [f"{names[int(c)]}: {points(v)} %" for c, v in zip(order, values, strict=True) if v == v]
    axis.plot(values, range(classes), "o", color="#0b4f8a", ms=5, gid=says(*said))
    by_image = metric == ACCURACY
    mean = found.accuracy if by_image else float(np.nanmean(found.per_class))
    axis.axvline(mean, color=MUTED, lw=0.9, ls=":")
    for place, (value, total) in enumerate(zip(values, totals, strict=True)):
        text = f"no {noun}s" if np.isnan(value) else f"{round(value * total)} of {total}"
        write_beside(axis, place, text, 0.07, size=7, color=MUTED)
    axis.set_yticks(range(classes), [names[int(i)] for i in order], size=7.5)
    axis.set_ylim(classes - 0.4, -0.6)
    axis.set_xlim(0, 1.02)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel(f"Accuracy; dotted: over all {noun}s" if by_image else "Recall; dotted: mean")
    percent_axis(axis, "x")
    return figure


def draw_mistakes(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the misclassified images, each beside an image of the class that was predicted."""
    found = summary.confusion
    if found is None or not found.mistakes:
        return
    names = shown_names(summary.meta.class_names, fonts)
    columns = min(4, len(found.mistakes))
    rows = -(-len(found.mistakes) // columns)
    width, height = max(columns * 2.3 + 0.3, NARROWEST), 0.95 + rows * 1.5
    figure = new_figure(
        width,
        height,
        "What does it get wrong?",
        f"{marks[found.optimizer].label}, {found.images} images. Left: the image. "
        "Right: a training image of the predicted class.",
    )
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_axis_off()
    for place, mistake in enumerate(found.mistakes):
        row, column = divmod(place, columns)
        left, top = 0.2 + 2.3 * column, height - 0.85 - 1.5 * row
        axis.imshow(mistake.pair, extent=(left, left + 2.0, top - 1.0, top), aspect="auto")
        text = f"{plain(names[mistake.true], 16)} → {plain(names[mistake.said], 16)}"
        axis.text(left, top - 1.06, text, size=8.5, va="top")
        sure = f"{100 * mistake.confidence:.0f} % sure"
        axis.text(left + 2, top - 1.21, sure, size=7.5, va="top", ha="right", color=MUTED)
    axis.set(xlim=(0, width), ylim=(0, height))
    yield (
        "mistakes",
        "The most confused images",
        "True class → prediction: the most frequent mistakes first, then the most confident.",
        figure,
    )


DRAWERS = (draw_confusion, draw_mistakes)
