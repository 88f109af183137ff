"""Summary -> figures about hyperparameters: schedules, widths, importance, slices, parallel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from study.common.plot_look import GRID, INK, MUTED, SEQUENTIAL, Fonts, Mark, margins, new_figure
from study.common.text import label_width, number, plain
from study.report.analysis.importance import Importance, Slices
from study.report.analysis.search_trials import Choices
from study.report.analysis.summary import Summary
from study.report.figures.picture import AxisScale, Drawn, Panels, joined, linear, logarithmic

MOST_SLICES = 8
MOST_GREY = 30  # lines behind the best ones; more are a blot


def draw_choices(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """Heatmaps of the best search result: schedule and dense width by optimizer."""
    words = summary.meta.metric_words
    for found, name, title in (
        (summary.schedules, "schedules", "Which schedule suits which optimizer?"),
        (summary.widths, "dense_width", "How wide should the dense layer be?"),
    ):
        if found is not None:
            yield (
                name,
                title,
                f"Best validation {words} of the search; small: number of trials. A cell with few "
                "trials had less luck to draw from; differences of a few points are luck.",
                _heatmap(found, title, look, words),
            )


def _heatmap(found: Choices, title: str, look: Mapping[str, Mark], words: str) -> Figure:
    known = found.best[np.isfinite(found.best)]
    low, high = (float(np.quantile(known, 0.1)), float(known.max())) if known.size else (0.0, 1.0)
    top = np.nanmax(np.where(np.isfinite(found.best), found.best, -1), axis=1)
    return _cells(
        title,
        f"Best validation {words} in the search, %; bold: the row's best; small: trials.",
        [look[name].label for name in found.optimizers],
        [plain(number(v), 14) for v in found.values],
        found.hyperparameter,
        found.best,
        (low, high),
        corners=found.trials,
        bold=found.best == top[:, None],
    )


def _cells(
    title: str,
    subtitle: str,
    rows: Sequence[str],
    columns: Sequence[str],
    xlabel: str,
    values: np.ndarray,
    limits: tuple[float, float],
    *,
    bold: np.ndarray,
    corners: np.ndarray | None = None,
) -> Figure:
    """A table of percentages, coloured between `limits`; (rows, columns), NaN stays empty."""
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
    for i, j in np.argwhere(np.isfinite(values)):
        light = sum(colormaps[SEQUENTIAL](float(scaled[i, j]))[:3]) > 1.4
        ink = "black" if light else "white"
        text, weight = f"{100 * values[i, j]:.3g}", "bold" if bold[i, j] else "normal"
        place: dict[str, Any] = {"ha": "center", "va": "center", "size": 9}
        axis.text(j, i, text, color=ink, weight=weight, **place)
        if corners is not None:
            place = {"ha": "right", "va": "bottom", "size": 6}
            axis.text(j + 0.46, i + 0.42, str(corners[i, j]), color=ink, **place)
    axis.set_xticks(range(len(columns)), columns, color=INK, rotation=90 if steep else 0)
    axis.set_yticks(range(len(rows)), rows, color=INK)
    axis.set_xlabel(xlabel)
    axis.grid(visible=False)
    return figure


def draw_importance(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """A heatmap of hyperparameters by optimizer."""
    found = summary.importance
    if found is None:
        return
    yield (
        "importance",
        "Importance of each hyperparameter",
        "How much of the differences between a search's trials this one explains by itself "
        "(trials compared with those trained as long). What is missing to 100 % comes from "
        "several of them together and from luck. Empty: the optimizer has no such hyperparameter.",
        _importance_figure(found, look),
    )


def _importance_figure(found: Importance, look: Mapping[str, Mark]) -> Figure:
    shares = np.where(np.isfinite(found.share), np.round(found.share, 2), np.nan)
    top = np.nanmax(np.where(np.isfinite(shares), shares, -1), axis=1)
    return _cells(
        "Which hyperparameters decide?",
        "Share of the differences between trials that one hyperparameter explains alone, %.",
        [look[name].label for name in found.optimizers],
        [plain(key, 20) for key in found.hyperparameters],
        "",
        shares,
        (0.0, max(float(np.nanmax(shares)), 0.1) if np.isfinite(shares).any() else 1.0),
        bold=shares == top[:, None],
    )


def draw_slices(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """How well every optimizer does over the values of each numeric hyperparameter."""
    found = summary.slices[:MOST_SLICES]
    if not found:
        return
    reach = max(abs(line.beaten - 0.5).max() for one in found for line in one.lines) + 0.03
    panels = Panels(
        [(plain(one.hyperparameter, 24), INK) for one in found],
        "Which values of the other hyperparameters do well?",
        "Share of the other trials beaten, those trained as long (50 %: no effect). "
        "A point is a sixth of an optimizer's trials.",
        "",
        [_across(one) for one in found],
        linear(0.5 - reach, 0.5 + reach, percent=True),
        legend=0.25,
    )
    for place, one in enumerate(found):
        kind: dict[str, Any]
        panels.plot(place, [_across(one).low, _across(one).high], [0.5, 0.5], ":", color=MUTED)
        for line in one.lines:
            colour, marker, _ = look[line.optimizer]
            kind = {"color": colour, "marker": marker, "ms": 3.5, "lw": 1.1, "alpha": 0.9}
            panels.plot(place, line.values, line.beaten, "-", **kind)
    _legend(
        panels, [n for n in look if any(n == s.optimizer for o in found for s in o.lines)], look
    )
    yield (
        "slices",
        "Other hyperparameters",
        "A line that climbs to one side says where to search next; a flat one that the default "
        "can stay.",
        panels.figure,
    )


def _across(one: Slices) -> AxisScale:
    values = np.concatenate([line.values for line in one.lines])
    low, high = float(values.min()), float(values.max())
    if one.log and low > 0:
        return logarithmic(low / 1.2, high * 1.2)
    room = 0.04 * (high - low)
    return linear(low - room, high + room)


def _legend(panels: Panels, names: Sequence[str], look: Mapping[str, Mark]) -> None:
    """Names with their markers in one line above the panels."""
    x, y = 0.2, panels.figure.get_size_inches()[1] - 0.72
    for name in names:
        colour, marker, label = look[name]
        panels.axis.plot([x], [y], marker, color=colour, ms=5)
        panels.axis.text(x + 0.09, y, label, color=colour, size=8.5, va="center")
        x += 0.3 + label_width([label], 8.5)


def draw_parallel(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """Parallel coordinates: a line a trial, the best tenth of each optimizer in its colour."""
    axes, found = summary.parallel
    if not found:
        return
    ends = [
        f"{plain(axis.hyperparameter, 13)}\n{plain(axis.low, 11)} to\n{plain(axis.high, 11)}"
        for axis in axes
    ]
    across = AxisScale(0, len(axes) - 1, tuple(range(len(axes))), tuple(ends))
    panels = Panels(
        [(look[one.optimizer].label, look[one.optimizer].colour) for one in found],
        "Which settings do the best trials share?",
        f"A line is a trial, from its learning rate to its {summary.meta.metric_words}; in colour: "
        "the best tenth.",
        "",
        across,
        AxisScale(0, 1, (), ()),
        columns=2,
        wide=4.9,
        beside=0.9,
    )
    x = np.arange(len(axes), dtype=float)
    for place, one in enumerate(found):
        grey = np.flatnonzero(~one.best)
        grey = grey[:: max(1, len(grey) // MOST_GREY)]
        styles: list[tuple[np.ndarray, dict[str, Any]]] = [
            (grey, {"color": GRID, "lw": 0.6}),
            (
                np.flatnonzero(one.best),
                {"color": look[one.optimizer].colour, "lw": 0.9, "alpha": 0.75},
            ),
        ]
        for rows, kind in styles:
            if len(rows):
                panels.plot(place, *joined((x, line) for line in one.places[rows]), "-", **kind)
    yield (
        "parallel",
        "Parallel coordinates",
        "Where coloured lines bundle, the setting matters; where they spread, it does not.",
        panels.figure,
    )


DRAWERS = (draw_choices, draw_importance, draw_slices, draw_parallel)
