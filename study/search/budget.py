"""What one search may spend, and how Keras Tuner's methods spend it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import keras_tuner

from study.common.metrics import ACCURACY
from study.search.options import Options
from study.space.search_space import SearchSpace

INITIAL_POINTS = 8  # random trials before the Gaussian process proposes
JOINT = "joint"  # name of the one search over all optimizers


class Budget(NamedTuple):
    """What one search may spend."""

    tuner: str
    max_epochs: int
    factor: int  # Hyperband's reduction factor
    trials: int  # of a random or Bayesian search; the most that a grid visits
    metric: str = ACCURACY  # which judges trials


def budget_of(options: Options) -> Budget:
    """Return what each search of a study may spend."""
    return Budget(options.tuner, options.max_epochs, options.factor, options.trials, options.metric)


def searches_of(options: Options, space: SearchSpace) -> dict[str, str | None]:
    """Return the only optimizer of each search of a repeat, by its name; None: all optimizers."""
    if options.allocation == "joint" and len(space.optimizers) > 1:
        return {JOINT: None}
    return {name: name for name in space.optimizers}


def hyperband_rungs(max_epochs: int, factor: int) -> list[tuple[int, int, int, int]]:
    """List (bracket, rung, trials, epochs) of Keras Tuner's Hyperband (Li et al. 2018)."""
    oracle = keras_tuner.oracles.HyperbandOracle(
        objective=keras_tuner.Objective("any", "max"), max_epochs=max_epochs, factor=factor
    )
    return [
        (bracket, rung, oracle._get_size(bracket, rung), oracle._get_epochs(bracket, rung))
        for bracket in reversed(range(oracle._get_num_brackets()))
        for rung in range(oracle._get_num_rounds(bracket))
    ]


def promotions(
    tuner: str, max_epochs: int, factor: int
) -> dict[tuple[int | None, int | None], int]:
    """Return how many trials of each (bracket, rung) are promoted; empty without Hyperband."""
    rungs = hyperband_rungs(max_epochs, factor) if tuner == "hyperband" else []
    return {(bracket, rung - 1): trials for bracket, rung, trials, _ in rungs}


def hyperband_cost(max_epochs: int, factor: int) -> tuple[int, int]:
    """Return (trials, epochs) of a Hyperband search whose rungs continue the rungs before."""
    trials = epochs = before = 0
    for _, rung, size, until in hyperband_rungs(max_epochs, factor):
        trials += size
        epochs += size * (until - (before if rung else 0))
        before = until
    return trials, epochs


def plan_search(space: SearchSpace, optimizer: str | None, budget: Budget) -> tuple[str, int]:
    """Return (method, most trials) of a search, cut to the size of its space.

    Hyperband needs at least as many configurations as its first rungs hold, else Keras Tuner stops
    without halving (keras-tuner issue 676). A smaller space is searched at full length instead, by
    a grid if that costs no more epochs than Hyperband would have, else by random draws.
    """
    names: Sequence[str] = [optimizer] if optimizer else list(space.optimizers)
    points = sum(space.points(name) for name in names)
    if budget.tuner == "hyperband":
        trials, epochs = hyperband_cost(budget.max_epochs, budget.factor)
        first = sum(r[2] for r in hyperband_rungs(budget.max_epochs, budget.factor) if r[1] == 0)
        if points >= first:
            return "hyperband", trials
        affordable = max(epochs // budget.max_epochs, 1)
        return ("grid", int(points)) if points <= affordable else ("random", affordable)
    if budget.tuner == "grid":
        points = sum(space.points(name, grid=True) for name in names)
    if budget.tuner == "grid" or points <= budget.trials:
        return "grid", int(min(points, budget.trials))
    return budget.tuner, budget.trials


def is_longer(options: Options, space: SearchSpace, trials: int) -> bool:
    """Return whether the searches of `options` begin like searches with this number of trials.

    Oracles propose trials one after the other, whatever their number; but a small space is searched
    by a grid once that costs no more, and a short Bayesian search has fewer random trials.
    """
    before, after = budget_of(replace(options, trials=trials)), budget_of(options)
    for optimizer in searches_of(options, space).values():
        (old, least), (new, most) = (plan_search(space, optimizer, one) for one in (before, after))
        cut_short = old == "bayesian" and least < INITIAL_POINTS
        if (old, least) != (new, most) and (old != new or least > most or cut_short):
            return False
    return True
