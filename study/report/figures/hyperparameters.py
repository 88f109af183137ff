"""Figures about hyperparameters: schedules, widths, importance, slices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib import colormaps
from matplotlib.figure import Figure

from study.common.plot_look import (
    INK,
    MUTED,
    SEQUENTIAL,
    Fonts,
    Mark,
    ink_on,
    margins,
    new_figure,
)
from study.common.text import label_width, number, plain, points
from study.report.analysis.search_trials import Choices
from study.report.analysis.summary import Summary
from study.report.figures.picture import (
    NARROWEST,
    Drawn,
    Panels,
    linear,
    searched,
)

MOST_SLICES = 8


def draw_choices(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw heatmaps of what good trials reach: schedule and dense width by optimizer."""
    words = summary.meta.metric_words
    for found, name, title in (
        (summary.schedules, "schedules", "Which schedule suits which optimizer?"),
        (summary.widths, "dense_width", "How wide should the dense layer be?"),
    ):
        if found is not None:
            yield (
                name,
                title,
                f"What the better trials reach: a quarter of those that the search trained to the "
                f"end had this validation {words} or more. With few trials it may be chance.",
                _heatmap(found, title, marks, words),
            )


def _heatmap(found: Choices, title: str, marks: Mapping[str, Mark], words: str) -> Figure:
    known = found.typical[np.isfinite(found.typical)]
    limits = (float(np.quantile(known, 0.1)), float(known.max())) if known.size else (0.0, 1.0)
    return _cells(
        title,
        f"Upper quartile of validation {words}, %; bold: the row's best; small: trials.",
        [marks[name].label for name in found.optimizers],
        [plain(number(v), 14) for v in found.values],
        found.hyperparameter,
        found.typical,
        limits,
        corners=found.trials,
    )


def _cells(
    title: str,
    subtitle: str,
    rows: Sequence[str],
    columns: Sequence[str],
    xlabel: str,
    values: Float[np.ndarray, "rows columns"],
    limits: tuple[float, float],
    *,
    corners: Int[np.ndarray, "rows columns"] | None = None,
) -> Figure:
    """Draw a table of percentages, coloured between `limits`; the best of a row is bold."""
    left = 0.3 + label_width(rows)
    steep = max(map(len, columns)) > 11
    below = 0.3 + label_width(columns) if steep else 0.55
    width = max(left + 0.3 + (0.6 if steep else 0.95) * len(columns), 6)
    figure = new_figure(width, 0.95 + below + 0.42 * len(rows), title, subtitle)
    axis = figure.subplots()
    margins(figure, left=left, right=0.3, top=0.75, bottom=below)
    low, high = limits
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    axis.imshow(scaled, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    known = np.isfinite(values)
    best = np.where(known, values, -np.inf).max(axis=1)
    for i, j in np.argwhere(known):
        ink = ink_on(colormaps[SEQUENTIAL](float(scaled[i, j])))
        text = f"{100 * values[i, j]:.0f}" if corners is None else points(values[i, j])
        weight = "bold" if values[i, j] == best[i] else "normal"
        axis.text(j, i, text, color=ink, weight=weight, ha="center", va="center", size=9)
        if corners is not None:
            kind: dict[str, Any] = {"ha": "right", "va": "bottom", "size": 6}
            axis.text(j + 0.46, i + 0.42, str(corners[i, j]), color=ink, **kind)
    axis.set_xticks(range(len(columns)), columns, color=INK, rotation=90 if steep else 0)
    axis.set_yticks(range(len(rows)), rows, color=INK)
    axis.set_xlabel(xlabel)
    axis.grid(visible=False)
    return figure


def draw_importance(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw a heatmap of hyperparameters by optimizer."""
    found = summary.importance
    if found is None:
        return
    shares = np.round(found.share, 2)
    figure = _cells(
        "Which hyperparameters decide?",
        "Share of the differences between trials that one hyperparameter explains alone, %.",
        [marks[name].label for name in found.optimizers],
        [plain(key, 20) for key in found.hyperparameters],
        "",
        shares,
        (0.0, max(float(np.nanmax(shares)), 0.1) if np.isfinite(shares).any() else 1.0),
    )
    yield (
        "importance",
        "Importance of each hyperparameter",
        "How much of the differences between a search's trials one hyperparameter explains by "
        "itself (among trials of equal length). The rest up to 100 % comes from combinations of "
        "hyperparameters and from chance. Empty: the optimizer has no such hyperparameter.",
        figure,
    )


def draw_slices(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw how well every optimizer does over the values of each numeric hyperparameter."""
    found = summary.slices[:MOST_SLICES]
    if not found:
        return
    reach = max(abs(line.beaten - 0.5).max() for one in found for line in one.lines) + 0.03
    used = {line.optimizer for one in found for line in one.lines}
    shown = [marks[row.optimizer] for row in summary.rows if row.optimizer in used]
    beside = int((NARROWEST - 0.3) / (0.35 + label_width([mark.label for mark in shown])))
    panels = Panels(
        [(plain(one.hyperparameter, 24), INK) for one in found],
        "Which values of the other hyperparameters do well?",
        "Share of the other trials of equal length that a trial beats (50 %: no effect).",
        "",
        [searched(one.across) for one in found],
        linear(0.5 - reach, 0.5 + reach, percent=True),
        beside=0.35,
        legend=0.05 + 0.2 * -(-len(shown) // beside),
    )
    for place, one in enumerate(found):
        panels.plot(place, [one.across.low, one.across.high], [0.5, 0.5], ":", color=MUTED)
        for line in one.lines:
            colour, marker, name = marks[line.optimizer]
            kind: dict[str, Any] = {"marker": marker, "ms": 3.5, "lw": 1.1, "alpha": 0.9}
            ends = zip(line.values, line.beaten, strict=True)
            said = [f"{name}, {value:.3g}: {points(beaten)} %" for value, beaten in ends]
            panels.plot(place, line.values, line.beaten, "-", color=colour, said=said, **kind)
    for colour, marker, label in shown:
        panels.axis.plot([], [], marker, color=colour, ms=5, label=label)
    panels.figure.legend(
        loc="upper left", bbox_to_anchor=(0.0, 1 - 0.6 / panels.height), ncols=beside,
        labelcolor="linecolor", frameon=False, handlelength=1, handletextpad=0.2, columnspacing=1,
    )  # fmt: skip
    yield (
        "slices",
        "Other hyperparameters",
        "A point is a sixth of an optimizer's trials; an axis is the range of the search space. A "
        "line that climbs to one side shows where to search next; a flat line shows that the "
        "default can stay.",
        panels.figure,
    )


DRAWERS = (draw_choices, draw_importance, draw_slices)
