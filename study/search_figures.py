"""Summary -> figures about the search: learning rate, budget, schedules, widths, time."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from study.panels import joined, panels, rule
from study.records import Phase
from study.style import (
    INK,
    SEQUENTIAL,
    Fonts,
    Look,
    label_width,
    log_label,
    lower_limit,
    margins,
    new_figure,
    percent_axis,
    plain,
    spread_labels,
)
from study.summary import Summary
from study.tuning import Choices
from study.winners import number

Drawn = Iterable[tuple[str, str, str, Figure]]


def draw_sensitivity(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Accuracy against learning rate, diverged trials as crosses at the bottom."""
    found = [s for s in summary.sensitivity if len(set(s.learning_rate.tolist())) > 1]
    if not found:
        return
    names = [look[s.optimizer].label for s in found]
    figure, axes = panels(
        len(found),
        "How much does the learning rate matter?",
        "One dot a search trial. Red cross: the trial diverged. Grey: the other optimizers.",
        "Peak learning rate",
    )
    all_rates = np.concatenate([s.learning_rate[~s.diverged] for s in found])
    all_accuracies = np.concatenate([s.accuracy[~s.diverged] for s in found])
    for axis, (place, one) in zip(axes, enumerate(found), strict=True):
        colour, marker, _ = look[one.optimizer]
        axis.plot(all_rates, all_accuracies, ",", color="#c8c8c8")
        fine = ~one.diverged
        axis.plot(
            one.learning_rate[fine],
            one.accuracy[fine],
            marker,
            color=colour,
            ms=3.6,
            mew=0,
            alpha=0.75,
        )
        bad = one.learning_rate[one.diverged]
        axis.plot(bad, np.full(len(bad), 0.0), "x", color="#c0182b", ms=4.5, mew=1.2, clip_on=False)
        axis.set_title(names[place], color=colour, weight="bold")
    rates = np.concatenate([s.learning_rate for s in found])
    low, high = np.log10(rates.min()), np.log10(rates.max())
    axes[0].set_xscale("log")
    axes[0].xaxis.set_major_locator(LogLocator(numticks=4))
    axes[0].xaxis.set_minor_locator(NullLocator())
    axes[0].xaxis.set_major_formatter(log_label)
    axes[0].set_xlim(10 ** (low - 0.2), 10 ** (high + 0.2))
    axes[0].set_ylim(0, 1.02)
    axes[0].yaxis.set_major_locator(MaxNLocator(5))
    percent_axis(axes[0])
    rule(axes)
    yield (
        "learning_rate",
        "Learning-rate sensitivity",
        "A broad hill forgives a wrong learning rate; a narrow one must be tuned.",
        figure,
    )


def draw_gains(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """A slope for each optimizer from Keras's default settings to the tuned ones."""
    found = [g for g in summary.gains if np.isfinite(g.default) and np.isfinite(g.tuned)]
    if not found:
        return
    names = [look[g.optimizer].label for g in found]
    figure = new_figure(
        7,
        max(3.4, 1.5 + 0.33 * len(found)),
        "What does tuning gain?",
        "Left: Keras's default settings, one run. Right: tuned, mean of the confirmation runs.",
    )
    axis = figure.subplots()
    room = 0.5 + label_width([f"{plain(name, 18)} 00.0 %" for name in names], 8)
    margins(figure, left=room, right=room, top=0.85, bottom=0.3)
    values = [v for g in found for v in (g.default, g.tuned)]
    low, high = min(values), max(values)
    reach = max(high - low, 0.02)
    axis.set_ylim(low - 0.06 * reach, high + 0.06 * reach)
    gap = reach * 1.12 * 0.19 / (figure.get_size_inches()[1] - 1.15)
    for gain in found:
        colour, marker, _ = look[gain.optimizer]
        axis.plot(
            [0, 1],
            [gain.default, gain.tuned],
            "-",
            color=colour,
            marker=marker,
            ms=5,
            mec="white",
            mew=0.6,
        )
    for side, key in ((0, "default"), (1, "tuned")):
        ends = [getattr(g, key) for g in found]
        for place, y in enumerate(spread_labels(ends, gap, *axis.get_ylim())):
            text = f"{plain(names[place], 18)} {100 * ends[place]:.1f} %"
            axis.annotate(
                text,
                (side, ends[place]),
                (side + (0.09 if side else -0.09), y),
                ha="left" if side else "right",
                va="center",
                size=8,
                color=look[found[place].optimizer].colour,
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#cccccc",
                    "lw": 0.6,
                    "relpos": (0 if side else 1, 0.5),
                    "shrinkA": 1,
                    "shrinkB": 4,
                },
            )
    axis.set_xlim(-0.02, 1.02)
    axis.set_xticks([0, 1], ["default", "tuned"], size=9.5, color=INK)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.spines["bottom"].set_visible(False)
    yield (
        "default_against_tuned",
        "Default against tuned",
        "A steep line: this optimizer needs tuning. A flat one: its defaults are good here.",
        figure,
    )


def draw_budgets(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Best so far against epochs spent, with the band of the repeats."""
    found = summary.budgets
    if not any(np.isfinite(b.middle).sum() > 1 for b in found):
        return
    names = [look[b.optimizer].label for b in found]
    figure, axes = panels(
        len(found),
        "How soon does a search find a good setting?",
        "Best validation accuracy so far. Band: all repeats. Grey: the other optimizers.",
        "Epochs spent",
    )
    others = joined((b.epochs, b.middle) for b in found)
    for axis, (place, one) in zip(axes, enumerate(found), strict=True):
        axis.plot(*others, "-", color="#d9d9d9", lw=0.7)
        colour = look[one.optimizer].colour
        axis.plot(one.epochs, one.middle, "-", color=colour)
        axis.fill_between(one.epochs, one.low, one.high, color=colour, alpha=0.18, lw=0)
        axis.set_title(names[place], color=colour, weight="bold")
    axes[0].set_xlim(0, max(float(b.epochs[-1]) for b in found) or 1)
    axes[0].set_ylim(lower_limit(np.concatenate([b.middle for b in found])), 1.02)
    axes[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0].yaxis.set_major_locator(MaxNLocator(5))
    percent_axis(axes[0])
    rule(axes)
    yield (
        "budget",
        "Best so far against budget",
        "A curve that is flat early needs little tuning; one still rising wants a larger budget.",
        figure,
    )


def draw_choices(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Heatmaps of the best search result: schedule and dense width by optimizer."""
    for found, name, title in (
        (summary.schedules, "schedules", "Which schedule suits which optimizer?"),
        (summary.widths, "dense_width", "How wide should the dense layer be?"),
    ):
        if found is not None:
            yield (
                name,
                title,
                "Best validation accuracy of the search; small: number of trials. A cell with few "
                "trials had less luck to draw from.",
                _heatmap(found, title, look),
            )


def _heatmap(found: Choices, title: str, look: Mapping[str, Look]) -> Figure:
    rows, columns = found.best.shape
    names = [look[name].label for name in found.optimizers]
    left = 0.3 + label_width(names)
    figure = new_figure(
        max(left + 0.3 + 0.95 * columns, 5),
        1.5 + 0.42 * rows,
        title,
        "Best validation accuracy in the search, %; bold: the row's best; small: trials.",
    )
    axis = figure.subplots()
    margins(figure, left=left, right=0.3, top=0.75, bottom=0.55)
    known = found.best[np.isfinite(found.best)]
    low, high = (float(np.quantile(known, 0.1)), float(known.max())) if known.size else (0.0, 1.0)
    scaled = np.clip((found.best - low) / max(high - low, 1e-9), 0, 1)
    axis.imshow(scaled, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for i, j in np.argwhere(np.isfinite(found.best)):
        top = found.best[i, j] == np.nanmax(found.best[i])
        light = sum(colormaps[SEQUENTIAL](float(scaled[i, j]))[:3]) > 1.4
        ink = "black" if light else "white"
        axis.text(
            j - 0.05,
            i,
            f"{100 * found.best[i, j]:.1f}",
            ha="center",
            va="center",
            size=9,
            color=ink,
            weight="bold" if top else "normal",
        )
        axis.text(
            j + 0.46, i + 0.42, str(found.trials[i, j]), ha="right", va="bottom", size=6, color=ink
        )
    axis.set_xticks(range(columns), [plain(number(v), 14) for v in found.values], color=INK)
    axis.set_yticks(range(rows), names, color=INK)
    axis.set_xlabel(found.knob)
    axis.grid(visible=False)
    return figure


def draw_time(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Accuracy of the winner against the seconds that one training of it takes."""
    rows = [r for r in summary.rows if r.basis is Phase.CONFIRM and r.train_seconds > 0]
    if not rows:
        return
    names = [look[r.optimizer].label for r in rows]
    figure = new_figure(
        7.5,
        4.4,
        "Is the better optimizer slower?",
        "Mean of the winner's runs with its 95 % interval.",
    )
    axis = figure.subplots()
    room = 0.6 + label_width(names, 8.5)
    margins(figure, left=0.75, right=room, top=0.8, bottom=0.55)
    for row in rows:
        colour, marker, _ = look[row.optimizer]
        axis.plot([row.train_seconds] * 2, [row.low, row.high], "-", color=colour, lw=1, alpha=0.5)
        axis.plot(row.train_seconds, row.mean, marker, color=colour, ms=8, mec="white", mew=0.8)
    axis.set_xlim(0, 1.08 * max(r.train_seconds for r in rows))
    _label_points(
        axis,
        [r.mean for r in rows],
        names,
        [look[r.optimizer] for r in rows],
    )
    axis.set_xlabel("Seconds to train it once, all epochs, on this machine")
    axis.set_ylabel("Validation accuracy")
    percent_axis(axis)
    yield (
        "time",
        "Accuracy against training time",
        "Left and high is best; differences of a few percent in time mean nothing.",
        figure,
    )


def _label_points(
    axis: Axes, heights: Sequence[float], names: Sequence[str], looks: Sequence[Look]
) -> None:
    """Names with their marker at the right edge, in the order of the heights."""
    low, high = axis.get_ylim()
    across = axis.get_yaxis_transform()
    for y, name, look in zip(
        spread_labels(heights, (high - low) * 0.06, low, high), names, looks, strict=True
    ):
        axis.plot(1.04, y, look.marker, color=look.colour, transform=across, clip_on=False, ms=6)
        axis.text(1.07, y, name, transform=across, va="center", size=8.5, color=look.colour)
    axis.set_ylim(low, high)


DRAWERS = (draw_sensitivity, draw_gains, draw_budgets, draw_choices, draw_time)
