"""Summary -> figures about the search: learning rate, budget, who is best at which budget."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from study.common.fonts import Fonts
from study.common.plot_style import (
    Look,
    lower_limit,
    margins,
    new_figure,
    percent_axis,
    spread_labels,
)
from study.common.text import label_width
from study.report.analysis.search_trials import Sensitivity
from study.report.analysis.summary import Summary
from study.report.figures.panels import Panels, Scale, joined, linear, logarithmic
from study.report.figures.picture import Drawn

NAMED = 0.04  # a thinner stripe of the stack gets no name


def draw_sensitivity(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Accuracy against learning rate; short trials faint, diverged ones as crosses below."""
    found = [s for s in summary.sensitivity if len(set(s.learning_rate.tolist())) > 1]
    if not found:
        return
    stopped = any((~s.whole).any() for s in found)
    panels = Panels(
        [(look[s.optimizer].label, look[s.optimizer].colour) for s in found],
        "How much does the learning rate matter?",
        "One dot a search trial"
        + ("; faint: stopped early by Hyperband. " if stopped else ". ")
        + "Line: the best nearby. Red cross below: it diverged.",
        "Peak learning rate",
        _rates(found),
        linear(-0.06, 1.02, percent=True),
    )
    for place, one in enumerate(found):
        colour, marker, _ = look[one.optimizer]
        kind = {"color": colour, "mew": 0, "ls": ""}
        for rows, more in (
            (~one.whole & ~one.diverged, {"ms": 2.4, "alpha": 0.22, "marker": "o"}),
            (one.whole & ~one.diverged, {"ms": 3.8, "alpha": 0.85, "marker": marker}),
        ):
            panels.plot(place, one.learning_rate[rows], one.accuracy[rows], **kind, **more)
        panels.plot(place, *_envelope(one), "-", color=colour, lw=1.2, alpha=0.8)
        bad = one.learning_rate[one.diverged]
        panels.plot(place, bad, np.full(len(bad), -0.035), "x", color="#c0182b", ms=3.5, mew=0.8)
    yield (
        "learning_rate",
        "Learning-rate sensitivity",
        "A broad hill forgives a wrong learning rate; a narrow one must be tuned.",
        panels.figure,
    )


def _rates(found: Iterable[Sensitivity]) -> Scale:
    rates = np.concatenate([s.learning_rate for s in found])
    return logarithmic(float(rates.min()) / 1.5, float(rates.max()) * 1.5)


def _envelope(one: Sensitivity) -> tuple[np.ndarray, np.ndarray]:
    """The best accuracy in each third of a decade that holds a trial."""
    places = np.floor(np.log10(one.learning_rate) * 3)
    bins = np.unique(places)
    best = [one.accuracy[places == place].max() for place in bins]
    return 10 ** ((bins + 0.5) / 3), np.array(best)


def draw_budgets(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Best so far against epochs spent, with the band of the repeats."""
    found = summary.best_so_far
    if not any(np.isfinite(b.middle).sum() > 1 for b in found):
        return
    panels = Panels(
        [(look[b.optimizer].label, look[b.optimizer].colour) for b in found],
        "How soon does a search find a good setting?",
        "Best validation accuracy so far: median and range of the repeats. "
        "Grey: the other optimizers.",
        "Epochs spent by the search",
        linear(0, max(float(b.epochs[-1]) for b in found) or 1, whole=True),
        linear(lower_limit(np.concatenate([b.middle for b in found])), 1.02, percent=True),
    )
    others = joined((b.epochs, b.middle) for b in found)
    for place, one in enumerate(found):
        colour = look[one.optimizer].colour
        panels.plot(place, *others, "-", color="#d9d9d9", lw=0.7)
        panels.band(place, one.epochs, one.low, one.high, colour)
        panels.plot(place, one.epochs, one.middle, "-", color=colour)
    yield (
        "budget",
        "Best so far against budget",
        "A curve that is flat early needs little tuning; one still rising wants a larger budget. "
        "The best of a search is optimistic: the ranking comes from reruns.",
        panels.figure,
    )


def draw_chances(summary: Summary, look: dict[str, Look], fonts: Fonts) -> Drawn:
    """Stacked shares: how likely each optimizer's search is ahead at a budget."""
    found = summary.chances
    if found is None:
        return
    order = np.argsort(-found.chance[:, -1], kind="stable")
    names = [look[found.optimizers[i]].label for i in order]
    figure = new_figure(
        8,
        4.4,
        "Which optimizer to tune, if there is only so much budget?",
        "Height of a stripe: how likely that optimizer's search has found the best setting of all.",
    )
    axis = figure.subplots()
    room = 0.35 + label_width([f"{name} 00 %" for name in names], 8.5)
    margins(figure, left=0.75, right=room, top=0.8, bottom=0.55)
    shares = found.chance[order]
    colours = [look[found.optimizers[i]].colour for i in order]
    axis.stackplot(found.epochs, shares, colors=colours, lw=0.5, edgecolor="white", alpha=0.85)
    ends = shares[:, -1]
    middles = np.cumsum(ends) - ends / 2
    shown = [place for place in range(len(names)) if ends[place] >= NAMED]
    moved = spread_labels([float(middles[place]) for place in shown], 0.06, 0, 1)
    for place, y in zip(shown, moved, strict=True):
        text = f"{names[place]} {100 * ends[place]:.0f} %"
        kind: dict[str, Any] = {"va": "center", "size": 8.5, "color": colours[place]}
        axis.text(1.02, y, text, transform=axis.transAxes, **kind)
    axis.set_xlim(found.epochs[0], found.epochs[-1])
    axis.set_ylim(0, 1)
    axis.set_xlabel("Epochs spent on each optimizer")
    axis.set_ylabel("Probability to be ahead")
    percent_axis(axis)
    yield (
        "best_at_budget",
        "P(best | budget)",
        "From the searches of all repeats (Sivaprasad et al. 2020). Many stripes of like height: "
        "it hardly matters which one is tuned.",
        figure,
    )


DRAWERS = (draw_sensitivity, draw_budgets, draw_chances)
