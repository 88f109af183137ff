"""Summary -> figures about the search: learning rate, budget, what smaller budgets find."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from study.common.plot_look import Fonts, Mark, lower_limit
from study.common.text import counted, points
from study.report.analysis.search_trials import Sensitivity
from study.report.analysis.summary import Summary
from study.report.figures.picture import AxisScale, Drawn, Panels, joined, linear, logarithmic

MOST_DOTS = 20_000  # of a panel; more are a blot


def draw_sensitivity(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """The metric against learning rate; short trials faint, diverged ones as crosses below."""
    found = [s for s in summary.sensitivity if len(set(s.learning_rate.tolist())) > 1]
    if not found:
        return
    stopped = any((~s.whole).any() for s in found)
    every = max(-(-len(s.value) // MOST_DOTS) for s in found)
    panels = Panels(
        [(look[s.optimizer].label, look[s.optimizer].colour) for s in found],
        "How much does the learning rate matter?",
        ("One dot a search trial" if every == 1 else f"One dot in {every} search trials")
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
            dots = np.flatnonzero(rows)[::every]
            panels.plot(place, one.learning_rate[dots], one.value[dots], **kind, **more)
        panels.plot(place, *_envelope(one), "-", color=colour, lw=1.2, alpha=0.8)
        bad = one.learning_rate[one.diverged][::every]
        panels.plot(place, bad, np.full(len(bad), -0.035), "x", color="#c0182b", ms=3.5, mew=0.8)
    yield (
        "learning_rate",
        "Learning-rate sensitivity",
        "A broad hill forgives a wrong learning rate; a narrow one must be tuned.",
        panels.figure,
    )


def _rates(found: Iterable[Sensitivity]) -> AxisScale:
    rates = np.concatenate([s.learning_rate for s in found])
    return logarithmic(float(rates.min()) / 1.5, float(rates.max()) * 1.5)


def _envelope(one: Sensitivity) -> tuple[np.ndarray, np.ndarray]:
    """The best value in each third of a decade that holds a trial."""
    places = np.floor(np.log10(one.learning_rate) * 3)
    bins = np.unique(places)
    best = [one.value[places == place].max() for place in bins]
    return 10 ** ((bins + 0.5) / 3), np.array(best)


def draw_budgets(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """Best so far against epochs spent, with the band of the repeats."""
    found = summary.best_so_far
    if not any(np.isfinite(b.middle).sum() > 1 for b in found):
        return
    panels = Panels(
        [(look[b.optimizer].label, look[b.optimizer].colour) for b in found],
        "How soon does a search find a good setting?",
        f"Best validation {summary.meta.metric_words} so far: median and range of the repeats. "
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


def draw_incumbents(summary: Summary, look: dict[str, Mark], fonts: Fonts) -> Drawn:
    """What the searches had found at parts of their budget, trained again."""
    found = summary.incumbents
    if found is None:
        return
    margin = summary.answer.margin
    panels = Panels(
        [(look[name].label, look[name].colour) for name in found.optimizers],
        "What if the search had stopped earlier?",
        f"What it had found by then, trained again: mean of {counted(found.repeats, 'repeat')}. "
        f"Filled: at most {points(margin)} points behind the best at that budget.",
        "Epochs spent by the search",
        logarithmic(float(found.epochs.min()) / 1.3, float(found.epochs.max()) * 1.3)._replace(
            ticks=tuple(found.epochs[0]), labels=tuple(f"{e:.0f}" for e in found.epochs[0])
        ),
        linear(lower_limit(found.value.ravel()), 1.02, percent=True),
    )
    others = joined(zip(found.epochs, found.value, strict=True))
    for place, name in enumerate(found.optimizers):
        colour, marker, _ = look[name]
        panels.plot(place, *others, "-", color="#d9d9d9", lw=0.7)
        epochs, values = found.epochs[place], found.value[place]
        panels.plot(place, epochs, values, "-", color=colour, lw=1.6)
        good = found.at_most_behind[place] <= margin
        for rows, fill in ((good, colour), (~good, "white")):
            kind: dict[str, Any] = {"color": colour, "ls": "", "mfc": fill, "ms": 6}
            panels.plot(place, epochs[rows], values[rows], marker=marker, **kind)
    yield (
        "incumbents",
        "Confirmed at parts of the budget",
        "A flat line: a search of an eighth of the budget finds as good a setting. One rerun of "
        "each repeat, on rows that did not pick the setting, so it is not optimistic.",
        panels.figure,
    )


DRAWERS = (draw_sensitivity, draw_budgets, draw_incumbents)
