"""A table of results -> how far each optimizer may lie behind each other one, at fixed looks.

The difference of a pair is paired by repeat. Its variance is the pair's own, moderated towards
what is usual among all K optimizers (the form is Smyth's, 2004; its weight of d0 = min(4, K - 2)
observations is fixed, since an estimated one claimed falsely in up to 7.1 % of studies):

    V = (d0 2 s0^2 + (n - 1) s^2) / (d0 + n - 1)      se = max(sqrt(V / n), step sqrt(2 / n))

A look that may spend `alpha` judges all K - 1 rivals of an optimizer at once with Student's
quantile at 1 - alpha / (K - 1) and d0 + n - 1 degrees of freedom. With d0 = 0 that is a theorem for
normal differences; with d0 = 4 it is measured: `tests/benchmarks/calibration.py`.

For new images of the same kind a further part does not shrink with repeats, since all of them
split the same images (after Nadeau and Bengio 2003): (n_val / n_train) V.

What luck does to one result of one repeat, when the repeat's own effect is taken out.

K optimizers see the same splits and seeds in each of R repeats, and repeats are independent given
the images: a block design. What an additive fit of optimizer and repeat leaves over is luck.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from study.records.study_meta import Look

MOST_BORROWED = 4  # observations that the usual variance counts for
MAY_MISS = 5  # one repeat in so many may lack a result of an optimizer


def pooled_deviation(table: ArrayLike) -> float:
    """Residual deviation of (K, R) results, pooled over the optimizers; NaN where nothing is left.

    Rows are optimizers, columns repeats, NaN where a result is missing.
    """
    values = np.asarray(table, float)
    known = np.isfinite(values)
    design = _within(np.eye(len(values))[:, :, None], known)[:, known].T  # (cells, K)
    results = _within(values, known)[known]  # (cells,)
    fit, _, rank, _ = np.linalg.lstsq(design, results, rcond=None)
    freedom = len(results) - int(known.any(axis=0).sum()) - int(rank)
    squares = float(((results - design @ fit) ** 2).sum())
    return math.sqrt(squares / freedom) if freedom > 0 else math.nan


def _within(
    values: Float[np.ndarray, "... K #R"], known: Bool[np.ndarray, "K R"]
) -> Float[np.ndarray, "... K R"]:
    """Return `values` less the mean of each repeat, over its known cells; 0 where nothing is known.

    That takes the repeats' effects out (Frisch, Waugh and Lovell), so that K columns are fitted,
    not K + R: with 840 repeats a hundredth of the time.
    """
    filled = np.where(known, values, 0.0)
    means = filled.sum(axis=-2, keepdims=True) / np.maximum(known.sum(axis=0), 1)
    found: np.ndarray = np.where(known, filled - means, 0.0)
    return found


class Bounds(NamedTuple):
    """For every pair how far column lies behind row; NaN where they were not compared.

    A pair is judged at the latest look that both have reached, on the repeats until there.
    """

    difference: Float[np.ndarray, "K K"]
    variance: Float[np.ndarray, "K K"]  # of one repeat's difference, moderated
    error: Float[np.ndarray, "K K"]  # of `difference`, on these images
    freedom: Float[np.ndarray, "K K"]
    alpha: Float[np.ndarray, "K K"]  # that the look may spend
    repeats: Float[np.ndarray, "K K"]  # shared

    def reach(self, *, strict: bool = False) -> Float[np.ndarray, "K K"]:
        """Return the errors that differences must exceed; `strict`: for all ordered pairs."""
        count = len(self.difference)
        rivals = count * (count - 1) if strict else count - 1
        quantile: Float[np.ndarray, "K K"] = stdtrit(self.freedom, 1 - self.alpha / max(rivals, 1))
        return quantile

    def low(self, *, strict: bool = False) -> Float[np.ndarray, "K K"]:
        """Return by how much column is at least behind row."""
        low: np.ndarray = self.difference - self.reach(strict=strict) * self.error
        return low

    def high(self, *, strict: bool = False) -> Float[np.ndarray, "K K"]:
        """Return by how much column is at most behind row."""
        high: np.ndarray = self.difference + self.reach(strict=strict) * self.error
        return high

    def new_error(self, ratio: float) -> Float[np.ndarray, "K K"]:
        """Return the error of `difference` on new images of the same kind.

        Args:
            ratio: validation / training rows; NaN, and nothing can be claimed, where all repeats
                share one split: how results differ from split to split is not known then.
        """
        error: Float[np.ndarray, "K K"] = np.sqrt(self.error**2 + ratio * self.variance)
        return error


def compared(
    table: Float[np.ndarray, "K R"],
    spent: Bool[np.ndarray, "K R"],
    looks: Sequence[Look],
    *,
    step: float,
) -> list[Bounds]:
    """Return the bounds after each look that any pair has reached.

    Args:
        table: results, rows optimizers, columns repeats; NaN where there is none.
        spent: which repeats are over, whatever came out.
        looks: of the study, by rising repeats.
        step: deviation of rounding a result to whole images.
    """
    count = len(table)
    table = np.where(spent, table, math.nan)
    now = Bounds(*[np.full((count, count), math.nan) for _ in Bounds._fields])
    found = []
    for look in looks:
        part = table[:, : look.repeats]
        reached = comparable(table, spent, look)
        if reached.sum() < 2:
            continue
        at_look = bounds_of(part, look.alpha, step=step)
        chosen = reached[:, None] & reached & (at_look.repeats >= enough(look))
        np.fill_diagonal(chosen, False)
        if not chosen.any():
            continue
        now = Bounds(*[np.where(chosen, new, old) for new, old in zip(at_look, now, strict=True)])
        found.append(now)
    return found


def enough(look: Look) -> int:
    """How many repeats of a look must have a result: runs that diverged leave gaps."""
    return look.repeats - look.repeats // MAY_MISS


def over(spent: Bool[np.ndarray, "K R"], look: Look) -> Bool[np.ndarray, " K"]:
    """Return which optimizers have had all repeats of a look."""
    had: np.ndarray = spent[:, : look.repeats].sum(axis=1) == look.repeats
    return had


def comparable(
    table: Float[np.ndarray, "K R"], spent: Bool[np.ndarray, "K R"], look: Look
) -> Bool[np.ndarray, " K"]:
    """Return which optimizers have had all repeats of a look, enough of them with a result."""
    given = (np.isfinite(table) & spent)[:, : look.repeats].sum(axis=1)
    reached: np.ndarray = over(spent, look) & (given >= enough(look))
    return reached


def bounds_of(
    table: Float[np.ndarray, "K n"], alpha: float, *, step: float, borrowed: int = MOST_BORROWED
) -> Bounds:
    """Return the bounds of all pairs, each on the repeats that both have.

    Args:
        table: results; NaN where there is none.
        alpha: that the look may spend.
        step: deviation of rounding a result to whole images.
        borrowed: observations that the usual variance counts for at most; 0: a pair's own alone.
    """
    differences = table[:, None, :] - table[None, :, :]  # (K, K, n): how far column is behind row
    known = np.isfinite(differences)
    repeats = known.sum(axis=2)
    filled = np.where(known, differences, 0.0)
    shared = np.maximum(repeats, 1)
    mean = filled.sum(axis=2) / shared
    squares = (np.where(known, differences - mean[:, :, None], 0.0) ** 2).sum(axis=2)
    borrowed = min(borrowed, max(len(table) - 2, 0))
    usual = pooled_deviation(table) if borrowed else 0.0
    if math.isnan(usual):
        borrowed, usual = 0, 0.0
    freedom = np.maximum(borrowed + repeats - 1, 1)
    variance = (borrowed * 2 * usual**2 + squares) / freedom
    error = np.maximum(np.sqrt(variance / shared), step * np.sqrt(2 / shared))
    return Bounds(
        mean,
        variance,
        error,
        freedom.astype(float),
        np.full(mean.shape, alpha),
        repeats.astype(float),
    )
