"""A table of results -> how far each optimizer may be behind each other one, at planned looks.

K optimizers see the same splits and seeds in each of R repeats, and repeats are independent given
the images: a block design, so differences are paired by repeat. The variance of a pair's difference
is its own, s^2, moderated towards 2 s0^2, where s0^2 is the residual variance of an additive fit of
optimizer and repeat (the form is Smyth's, 2004; its prior weight of d0 = min(4, K - 2) observations
is fixed, since an estimated one made false claims in up to 7.1 % of studies):

    V = (d0 2 s0^2 + (n - 1) s^2) / (d0 + n - 1)      se = max(sqrt(V / n), step sqrt(2 / n))

A look (interim analysis) that may spend `alpha` judges all K - 1 rivals of an optimizer at once
with their joint quantile (`study.verdicts.quantile`) and d0 + n - 1 degrees of freedom. For
variances that are known to be equal that is a theorem; that it holds for these is measured:
`tests/benchmarks/calibration.py`.

Bounds on new images are in `study.verdicts.new_images`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from study.records.study_meta import Look
from study.verdicts.quantile import joint_quantile, union_quantile

MOST_BORROWED = 4  # largest d0
REPEATS_PER_GAP = 5  # one missing result is allowed in so many repeats


class Bounds(NamedTuple):
    """For each pair how far column is behind row; NaN where they were not compared.

    A pair is judged at the latest look that both have reached, on the repeats up to that look.
    """

    difference: Float[np.ndarray, "K K"]
    variance: Float[np.ndarray, "K K"]  # of one repeat's difference, moderated
    error: Float[np.ndarray, "K K"]  # of `difference`, on these images
    freedom: Float[np.ndarray, "K K"]  # degrees of freedom
    alpha: Float[np.ndarray, "K K"]  # error rate that the look may spend
    repeats: Float[np.ndarray, "K K"]  # repeats with a result of both

    @classmethod
    def none(cls, count: int) -> "Bounds":
        """Return the bounds before any look."""
        return cls(*[np.full((count, count), math.nan) for _ in cls._fields])

    def reach(self, *, strict: bool = False, joint: bool = True) -> Float[np.ndarray, "K K"]:
        """Return how many errors a difference must exceed.

        Args:
            strict: for all ordered pairs at once, not only for all rivals of one optimizer.
            joint: whether variances are moderated, so that rivals correlate as Dunnett has it.
        """
        count = len(self.difference)
        if joint and not strict:
            return joint_quantile(self.alpha, count - 1, self.freedom)
        return union_quantile(
            self.alpha, count * (count - 1) if strict else count - 1, self.freedom
        )

    def low(self, *, strict: bool = False) -> Float[np.ndarray, "K K"]:
        """Return by how much column is at least behind row."""
        low: np.ndarray = self.difference - self.reach(strict=strict) * self.error
        return low

    def high(self, *, joint: bool = True) -> Float[np.ndarray, "K K"]:
        """Return by how much column is at most behind row; for `joint` see `reach`."""
        high: np.ndarray = self.difference + self.reach(joint=joint) * self.error
        return high


def compared(
    table: Float[np.ndarray, "K R"],
    spent: Bool[np.ndarray, "K R"],
    looks: Sequence[Look],
    *,
    step: float,
) -> list[Bounds]:
    """Return the bounds after each look that at least one pair has reached.

    Looks are in ascending order of repeats; the rest is as in `study.verdicts.results.Results`.
    """
    table = np.where(spent, table, math.nan)
    latest, found = Bounds.none(len(table)), []
    for look in looks:
        reached = comparable(table, spent, look)
        if reached.sum() < 2:
            continue
        at_look = bounds_of(table[:, : look.repeats], look.alpha, step=step)
        chosen = reached[:, None] & reached & (at_look.repeats >= enough(look))
        np.fill_diagonal(chosen, False)
        if not chosen.any():
            continue
        pairs = zip(at_look, latest, strict=True)
        latest = Bounds(*[np.where(chosen, new, old) for new, old in pairs])
        found.append(latest)
    return found


def enough(look: Look) -> int:
    """Return how many repeats of a look must have a result: diverged runs leave gaps."""
    return look.repeats - look.repeats // REPEATS_PER_GAP


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
    """Return the bounds of all pairs, each on the repeats with a result of both.

    `borrowed` is the largest d0; 0: a pair's own variance alone.
    """
    differences = table[:, None, :] - table[None, :, :]  # how far column is behind row
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
    return Bounds(
        difference=mean,
        variance=variance,
        error=np.maximum(np.sqrt(variance / shared), step * np.sqrt(2 / shared)),
        freedom=freedom.astype(float),
        alpha=np.full(mean.shape, alpha),
        repeats=repeats.astype(float),
    )


def pooled_deviation(table: Float[np.ndarray, "K R"]) -> float:
    """Return the residual deviation s0 of results; NaN where no degree of freedom is left."""
    known = np.isfinite(table)
    design = _within(np.eye(len(table))[:, :, None], known)[:, known].T
    results = _within(table, known)[known]
    fit, _, rank, _ = np.linalg.lstsq(design, results, rcond=None)
    freedom = len(results) - int(known.any(axis=0).sum()) - int(rank)
    squares = float(((results - design @ fit) ** 2).sum())
    return math.sqrt(squares / freedom) if freedom > 0 else math.nan


def _within(
    values: Float[np.ndarray, "... K #R"], known: Bool[np.ndarray, "K R"]
) -> Float[np.ndarray, "... K R"]:
    """Return `values` less the mean of each repeat over its known cells; 0 in unknown cells.

    This removes the effects of repeats (Frisch, Waugh and Lovell), so that K columns are fitted
    instead of K + R: with 840 repeats in a hundredth of the time.
    """
    filled = np.where(known, values, 0.0)
    means = filled.sum(axis=-2, keepdims=True) / np.maximum(known.sum(axis=0), 1)
    found: np.ndarray = np.where(known, filled - means, 0.0)
    return found
