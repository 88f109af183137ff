"""The levels of one choice on one or several data sets -> how far each is behind the best level.

"At most U behind the best" is Hsu's bound, as for optimizers; "at least L" is the largest bound by
which another level is ahead, for all ordered pairs simultaneously. Each spends half of the error
rate, so both hold together for all levels of the choice: on these data sets, or in general at this
number of sets (`set_bounds`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.compare.set_bounds import (
    FEWEST_SETS,
    SetResults,
    in_general,
    merged,
    on_these_sets,
    set_means,
)
from study.verdicts.bounds import Bounds
from study.verdicts.judge import behind_the_best


class Gap(NamedTuple):
    """One level. Fractions, NaN where nothing is known; bounds are from 0 up."""

    level: str
    behind: float  # the best, as measured, mean over the sets; below 0 only by uneven repeats
    at_least: float  # on these data sets
    at_most: float
    general_at_least: float  # on data sets of this sort; NaN for fewer than five
    general_at_most: float
    by_set: tuple[float, ...]  # behind the level that is best over all sets; negative: ahead


def gaps(
    levels: Sequence[str], sets: Sequence[SetResults], alpha: float, *, same_draws: bool = False
) -> tuple[Gap, ...]:
    """Return every level that has a result on every set, the best first.

    Args:
        levels: their names, in the order of the rows of each table.
        sets: results of the same levels on one or more data sets.
        alpha: the error rate of all claims about these sets.
        same_draws: whether the sets may share the draws that decide a repeat (see `set_bounds`).
    """
    means = np.stack([set_means(one.table) for one in sets])  # (M, L)
    there = np.flatnonzero(np.isfinite(means).all(axis=0))
    if not len(there):
        return ()
    kept = [one._replace(table=one.table[there]) for one in sets]
    means = means[:, there]
    best = int(means.mean(axis=0).argmax())
    here = on_these_sets([merged(kept)] if same_draws else kept, alpha / 2)
    measured = np.where(np.isfinite(here.difference[best]), here.difference[best], 0.0)
    by_set = means[:, [best]] - means  # (M, L)
    unknown = np.full(len(there), math.nan)
    bounds, general = _claims(here), (unknown, unknown)
    if len(sets) >= FEWEST_SETS and not same_draws:
        over = in_general(kept)
        general = _claims(over._replace(alpha=over.alpha / 2))
    found = [
        Gap(
            level=levels[place],
            behind=float(measured[i]),
            at_least=float(bounds[0][i]),
            at_most=float(bounds[1][i]),
            general_at_least=float(general[0][i]),
            general_at_most=float(general[1][i]),
            by_set=tuple(map(float, by_set[:, i])),
        )
        for i, place in enumerate(there.tolist())
    ]
    return tuple(sorted(found, key=lambda one: one.behind))


def _claims(bounds: Bounds) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """Return by how much each level is behind the best, at least and at most."""
    at_most, _ = behind_the_best(bounds)
    known = np.isfinite(bounds.error)
    strict = bounds.difference - bounds.reach(strict=True, joint=False) * bounds.error
    at_least = np.where(known, strict, -math.inf).max(axis=0)
    at_most = np.minimum(at_most, 1.0)  # NaN stays NaN
    return np.where(np.isfinite(at_most), np.maximum(at_least, 0.0), math.nan), at_most
