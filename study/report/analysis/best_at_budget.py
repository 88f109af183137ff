"""Search trials -> which optimizer is the best to have tuned, if there is only so much budget.

Sivaprasad et al. ("Optimizer Benchmarking Needs to Account for Hyperparameter Tuning", 2020).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.common.aliases import Numbers
from study.report.analysis.search_trials import BestSoFar


class Chances(NamedTuple):
    """P(an optimizer's best trial so far is the best of all) against budget."""

    optimizers: tuple[str, ...]
    epochs: Numbers  # (points,) spent on each optimizer
    chance: Numbers  # (optimizers, points); a column sums to 1


def chances(best_so_far: Sequence[BestSoFar]) -> Chances | None:
    """From the best-so-far curves of all repeats; None where there is nothing to compare.

    A repeat's own difficulty (its split) is taken out, then every repeat of one optimizer meets
    every repeat of the others: with R repeats that is R^K comparisons, computed exactly.
    """
    tables = {budget.optimizer: budget.repeats for budget in best_so_far if len(budget.repeats)}
    if len(tables) < 2:
        return None
    end = min(float(budget.epochs[-1]) for budget in best_so_far)
    grid = np.linspace(0, end, len(best_so_far[0].epochs))[1:]
    sampled = {b.optimizer: _sample(b, grid) for b in best_so_far if b.optimizer in tables}
    count = min(len(table) for table in sampled.values())
    cube = np.stack([table[:count] for table in sampled.values()])  # (K, R, points)
    known = np.isfinite(cube).all(axis=(0, 1))
    if count < 2 or known.sum() < 2:
        return None
    cube = cube[:, :, known]
    cube = cube - cube.mean(axis=0, keepdims=True)
    columns = [_column(cube[:, :, point]) for point in range(cube.shape[2])]
    return Chances(tuple(sampled), grid[known], np.column_stack(columns))


def _sample(budget: BestSoFar, grid: Numbers) -> Numbers:
    """(repeats, points): the best so far at each budget of `grid`."""
    place = np.searchsorted(budget.epochs, grid, side="right") - 1
    sampled: Numbers = budget.repeats[:, place]
    return sampled


def _column(values: Numbers) -> Numbers:
    """P(best) of each row of `values` (K, R), ties shared, by counting below and level."""
    rounded = np.round(values, 9)
    levels = np.unique(rounded)
    below = (rounded[:, :, None] < levels).mean(axis=1)  # (K, levels)
    level = (rounded[:, :, None] == levels).mean(axis=1)
    found = np.zeros(len(values))
    for row in range(len(values)):
        found[row] = (
            level[row] * _shared(np.delete(below, row, 0), np.delete(level, row, 0))
        ).sum()
    normed: Numbers = found / found.sum()
    return normed


def _shared(below: Numbers, level: Numbers) -> Numbers:
    """E[1 / (1 + number of rivals at the same level)] while no rival is above, for each level."""
    counts = np.zeros((len(below) + 1, below.shape[1]))  # (rivals level, levels)
    counts[0] = 1
    for under, same in zip(below, level, strict=True):
        counts[1:] = counts[1:] * under + counts[:-1] * same
        counts[0] = counts[0] * under
    shares: Numbers = np.sum(counts / np.arange(1, len(counts) + 1)[:, None], axis=0)
    return shares
