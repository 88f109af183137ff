"""Keras's default settings on several data sets: how good they are, and what tuning gains.

An optimizer's gain is paired by repeat, the tuned winner less the default settings. Its intervals
are of Student's t, on these data sets or in general (`set_bounds`), and hold for all optimizers
simultaneously.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.compare.choices import untuned_table
from study.compare.data_sets import Block
from study.compare.gaps import Gap, gaps
from study.compare.set_bounds import (
    FEWEST_SETS,
    SetResults,
    alpha_of,
    in_general,
    mean_of_known,
    on_these_sets,
)
from study.verdicts.bounds import Bounds

DEFAULTS = "Keras's defaults"  # the choice between untuned optimizers
TUNED = ", tuned"  # ends the name of the tuned leader among them


class TuningGain(NamedTuple):
    """One optimizer. Fractions, NaN where no bound is known."""

    optimizer: str
    untuned: float  # mean over the sets
    gain: float  # tuned less untuned
    low: float  # on these data sets
    high: float
    general_low: float  # on data sets of this sort
    general_high: float
    by_set: tuple[float, ...]


class Untuned(NamedTuple):
    """What Keras's default settings do; empty without runs of them."""

    gaps: tuple[Gap, ...] = ()  # of untuned optimizers and the tuned leader to the best
    gains: tuple[TuningGain, ...] = ()  # the best untuned first


def untuned(blocks: Sequence[Block], names: Sequence[str], leader: str, alpha: float) -> Untuned:
    """Judge the default settings of these optimizers, of those that have runs on every set.

    Args:
        blocks: studies of one data set each.
        names: optimizers of all blocks.
        leader: the tuned optimizer to set beside the untuned ones.
        alpha: the error rate of all claims about these sets.
    """
    tuned = [_rows(block, block.mean_table, names) for block in blocks]  # (K, R) each
    default = [_rows(block, untuned_table(block), names) for block in blocks]
    both = [np.isfinite(t - d) for t, d in zip(tuned, default, strict=True)]
    there = [all(known[k].any() for known in both) for k in range(len(names))]
    if not any(there):
        return Untuned()
    place, steps = names.index(leader), [block.step for block in blocks]
    beside = [np.vstack([t[place], d]) for t, d in zip(tuned, default, strict=True)]
    found = gaps([f"{leader}{TUNED}", *names], _results(beside, steps), alpha)
    gains = []
    for k in np.flatnonzero(there).tolist():
        pairs = [np.stack([t[k], d[k]]) for t, d in zip(tuned, default, strict=True)]
        gains.append(_gain(names[k], _results(pairs, steps), alpha / sum(there), sum(there)))
    return Untuned(found, tuple(sorted(gains, key=lambda one: -one.untuned)))


def _rows(
    block: Block, table: Float[np.ndarray, "K R"], names: Sequence[str]
) -> Float[np.ndarray, "_ R"]:
    return table[[block.optimizers.index(name) for name in names]]


def _results(
    tables: Sequence[Float[np.ndarray, "L R"]], steps: Sequence[float]
) -> list[SetResults]:
    return [SetResults(table, step) for table, step in zip(tables, steps, strict=True)]


def _gain(name: str, sets: Sequence[SetResults], alpha: float, optimizers: int) -> TuningGain:
    here, general = on_these_sets(sets, alpha), in_general(sets)
    general = general._replace(alpha=np.full((2, 2), alpha_of(len(sets)) / optimizers))
    low, high = _interval(here)
    general_low, general_high = _interval(general)
    few = len(sets) < FEWEST_SETS
    return TuningGain(
        optimizer=name,
        untuned=float(np.mean([mean_of_known(one.table[1]) for one in sets])),
        gain=float(here.difference[0, 1]),
        low=low,
        high=high,
        general_low=math.nan if few else general_low,
        general_high=math.nan if few else general_high,
        by_set=tuple(float(mean_of_known(one.table[0] - one.table[1])) for one in sets),
    )


def _interval(bounds: Bounds) -> tuple[float, float]:
    """Return the two-sided interval of how far the second level is behind the first."""
    middle = float(bounds.difference[0, 1])
    reach = float((bounds.reach(strict=True, joint=False) * bounds.error)[0, 1])
    return max(middle - reach, -1.0), min(middle + reach, 1.0)
