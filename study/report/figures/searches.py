"""Figures about the search: learning rates, budgets, and what smaller budgets find."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from study.common.plot_look import Fonts, Mark, lower_limit
from study.common.text import counted, points
from study.report.analysis.importance import ranges
from study.report.analysis.search_trials import Sensitivity
from study.report.analysis.summary import Summary
from study.report.figures.picture import Drawn, Line, Panels, linear, logarithmic, searched, titles
from study.report.figures.svg import says

MOST_DOTS = 20_000  # of a panel; more are a blot


def draw_sensitivity(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the metric against the learning rate, with diverged trials as crosses at the bottom."""
    found = [s for s in summary.sensitivity if len(set(s.learning_rate.tolist())) > 1]
    if not found:
        return
    stopped = any((~s.whole).any() for s in found)
    every = max(-(-len(s.value) // MOST_DOTS) for s in found)
    space = ranges(summary.meta.space["table"], [s.optimizer for s in found])
    panels = Panels(
        titles(marks, (s.optimizer for s in found)),
        "How much does the learning rate matter?",
        ("Dot: a search trial" if every == 1 else f"Dot: one in {every} search trials")
        + ("; faint: stopped early by Hyperband. " if stopped else ". ")
        + "Line: the best trial nearby. Red cross: diverged.",
        "Peak learning rate",
        searched(space["learning_rate"]),
        linear(-0.06, 1.02, percent=True),
    )
    for place, one in enumerate(found):
        colour, marker, name = marks[one.optimizer]
        for rows, more in (
            (~one.whole & ~one.diverged, {"ms": 2.4, "alpha": 0.22, "marker": "o"}),
            (one.whole & ~one.diverged, {"ms": 3.8, "alpha": 0.85, "marker": marker}),
        ):
            dots = np.flatnonzero(rows)[::every]
            kind: dict[str, Any] = {"color": colour, "mew": 0, "ls": "", **more}
            rates, values = one.learning_rate[dots], one.value[dots]
            said = [f"{name}, {r:.3g}: {points(v)} %" for r, v in zip(rates, values, strict=True)]
            panels.plot(place, rates, values, said=said, **kind)
        panels.plot(place, *_envelope(one), "-", color=colour, lw=1.2, alpha=0.8)
        bad = one.learning_rate[one.diverged][::every]
        said = [f"{name}, {rate:.3g}: diverged" for rate in bad]
        kind = {"color": "#c0182b", "ms": 3.5, "mew": 0.8}
        panels.plot(place, bad, np.full(len(bad), -0.035), "x", said=said, **kind)
    yield (
        "learning_rate",
        "Learning-rate sensitivity",
        "A broad hill tolerates a poor learning rate; a narrow one must be tuned.",
        panels.figure,
    )


def _envelope(one: Sensitivity) -> Line:
    """Return the best value in each third of a decade that holds a trial."""
    places = np.floor(np.log10(one.learning_rate) * 3)
    bins = np.unique(places)
    best = [one.value[places == place].max() for place in bins]
    return 10 ** ((bins + 0.5) / 3), np.array(best)


def draw_budgets(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw the best result so far against the epochs spent, with the range of the repeats."""
    found = summary.best_so_far
    if not any(np.isfinite(b.middle).sum() > 1 for b in found):
        return
    panels = Panels(
        titles(marks, (b.optimizer for b in found)),
        "How soon does a search find a good configuration?",
        f"Best validation {summary.meta.metric_words} so far: median and range of the repeats. "
        "Grey: the other optimizers.",
        "Epochs spent by the search",
        linear(0, max(float(b.epochs[-1]) for b in found) or 1, whole=True),
        linear(lower_limit(np.concatenate([b.middle for b in found])), 1.02, percent=True),
    )
    panels.plot_behind((b.epochs, b.middle) for b in found)
    for place, one in enumerate(found):
        colour, _, name = marks[one.optimizer]
        said = says(f"{name}: {points(one.middle[-1])} % after {one.epochs[-1]:.0f} epochs")
        panels.band(place, one.epochs, one.low, one.high, colour)
        panels.plot(place, one.epochs, one.middle, "-", color=colour, gid=said)
    yield (
        "budget",
        "Best so far against budget",
        "A curve that is flat early needs little tuning; one that still rises needs a larger "
        "budget. The best result of a search is optimistic, so the ranking uses confirmation runs.",
        panels.figure,
    )


def draw_incumbents(summary: Summary, marks: Mapping[str, Mark], fonts: Fonts) -> Drawn:
    """Draw what the searches had found at fractions of their budget, trained again."""
    found = summary.incumbents
    if found is None:
        return
    margin = summary.answer.margin
    good = found.at_most_behind <= margin
    filled = f"Filled: at most {points(margin)} points behind the best there. "
    panels = Panels(
        titles(marks, found.optimizers),
        "What if the search had stopped earlier?",
        "What the search had found by then, trained again: mean of one run in each of "
        f"{counted(found.repeats, 'repeat')}. {filled if good.any() else ''}Band: 95 %.",
        "Epochs spent by the search",
        logarithmic(float(found.epochs.min()) / 1.3, float(found.epochs.max()) * 1.3)._replace(
            ticks=tuple(found.epochs[0]), labels=tuple(f"{e:g}" for e in found.epochs[0])
        ),
        linear(lower_limit(found.value.ravel()), 1.02, percent=True),
    )
    panels.plot_behind(zip(found.epochs, found.value, strict=True))
    for place, name in enumerate(found.optimizers):
        colour, marker, label = marks[name]
        epochs, values, reach = found.epochs[place], found.value[place], found.reach[place]
        said = [
            f"{label}, {epoch:g} epochs: {points(value)} %"
            for epoch, value in zip(epochs, values, strict=True)
        ]
        panels.band(place, epochs, values - reach, values + reach, colour)
        panels.plot(place, epochs, values, "-", color=colour, lw=1.6)
        for rows, fill in ((good[place], colour), (~good[place], "white")):
            kind: dict[str, Any] = {"color": colour, "ls": "", "mfc": fill, "ms": 6}
            kind["said"] = [said[budget] for budget in np.flatnonzero(rows)]
            panels.plot(place, epochs[rows], values[rows], marker=marker, **kind)
    yield (
        "incumbents",
        "Confirmed at fractions of the budget",
        "Flat: no loss was found; the band says how large one could be. It is the 95 % interval of "
        "the difference to the whole budget, paired by repeat; where it does not reach the height "
        "of the last point, stopping there costs more than chance explains. Runs are judged on "
        "rows that did not select the configuration, so they are not optimistic.",
        panels.figure,
    )


DRAWERS = (draw_sensitivity, draw_budgets, draw_incumbents)
