"""What one search may spend, and how Keras Tuner's methods spend it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import keras_tuner

from study.common.metrics import ACCURACY
from study.search.options import Options
from study.space.search_space import SearchSpace

INITIAL_POINTS = 8  # random trials before the Gaussian process proposes
JOINT = "joint"  # the name of the one search over all optimizers


class Budget(NamedTuple):
    """What one search may spend."""

    tuner: str
    max_epochs: int
    factor: int  # Hyperband's reduction factor
    trials: int  # random, bayesian; the most a grid visits
    metric: str = ACCURACY  # by which trials are judged

    @property
    def objective(self) -> str:
        """What Keras Tuner calls a trial's value."""
        return f"val_{self.metric}"


def budget_of(options: Options) -> Budget:
    """What each search of a study may spend."""
    return Budget(options.tuner, options.max_epochs, options.factor, options.trials, options.metric)


def searches_of(options: Options, space: SearchSpace) -> dict[str, str | None]:
    """Name of each search of a repeat -> its only optimizer; None: all of them."""
    if options.allocation == "joint" and len(space.optimizers) > 1:
        return {JOINT: None}
    return {name: name for name in space.optimizers}


def hyperband_rungs(max_epochs: int, factor: int) -> list[tuple[int, int, int, int]]:
    """(bracket, rung, trials, epochs) of Hyperband as Keras Tuner cuts it (Li et al. 2018)."""
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
    """(bracket, rung) -> how many trials of it are promoted; empty without Hyperband."""
    if tuner != "hyperband":
        return {}
    return {
        (bracket, rung - 1): trials
        for bracket, rung, trials, _ in hyperband_rungs(max_epochs, factor)
    }


def hyperband_cost(max_epochs: int, factor: int) -> tuple[int, int]:
    """(trials, epochs) of one Hyperband search whose rungs continue where the last one ended."""
    trials = epochs = 0
    before = 0
    for _, rung, size, until in hyperband_rungs(max_epochs, factor):
        trials += size
        epochs += size * (until - (before if rung else 0))
        before = until
    return trials, epochs


def plan_search(space: SearchSpace, optimizer: str | None, budget: Budget) -> tuple[str, int]:
    """(kind, most trials) of a search, cut to the size of its space.

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
        visited = sum(space.points(name, grid=True) for name in names)
        return "grid", int(min(visited, budget.trials))
    if points <= budget.trials:
        return "grid", int(points)
    return budget.tuner, budget.trials


def is_longer(options: Options, space: SearchSpace, trials: int) -> bool:
    """Whether the searches of `options` begin as those with `trials` trials did, and go on.

    Oracles propose one trial after the other, whatever their number; but a small space is searched
    by a grid once that costs no more, and a Bayesian search with few trials draws fewer at random.
    """
    before, after = budget_of(replace(options, trials=trials)), budget_of(options)
    for optimizer in searches_of(options, space).values():
        old, new = (plan_search(space, optimizer, budget) for budget in (before, after))
        if old == new:
            continue
        cut_short = old[0] == "bayesian" and old[1] < INITIAL_POINTS
        if old[0] != new[0] or old[1] > new[1] or cut_short:
            return False
    return True
