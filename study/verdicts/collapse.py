"""Results by repeat -> repeats in which an optimizer's search collapsed, counted as divergence is.

A collapsed repeat ends far below the other repeats of its optimizer although its runs converged:
all trials of a search were poor. No bound knows of a collapse that it has not seen, so collapses
are counted and shown with their interval ("0 of 12 still allows 22 %"). The rule: a repeat is
collapsed if it is below its optimizer's median by more than

    max(20 points, 4 s)      s: the larger one of two robust deviations of repeats from the median,
                             the optimizer's own and that of all optimizers (1.4826 median |r|)

The own deviation lets an erratic optimizer be erratic, the common one corrects for the few repeats
of a single one. Measured with `tests/benchmarks/collapses.py`.
"""

import numpy as np
from jaxtyping import Bool, Float

FALL = 0.20  # a smaller fall is never a collapse
DEVIATIONS = 4.0
FEWEST = 3  # repeats with a result; fewer have no middle
OF_NORMAL = 1.4826  # standard deviation / median of |r|, of a normal distribution


def collapsed_repeats(table: Float[np.ndarray, "K R"]) -> Bool[np.ndarray, "K R"]:
    """Return which repeats collapsed.

    An optimizer that collapses in half of its repeats or more has no other level to fall from: its
    mean says so.

    Args:
        table: mean value of each repeat's converged runs, a fraction; rows optimizers, columns
            repeats, NaN where there is none.
    """
    falls = np.zeros(table.shape)
    own = np.zeros(len(table))
    there = np.isfinite(table)
    there &= there.sum(axis=1, keepdims=True) >= FEWEST
    for row, known in enumerate(there):
        if known.any():
            values = table[row, known]
            falls[row, known] = np.median(values) - values
            own[row] = OF_NORMAL * np.median(np.abs(falls[row, known]))
    usual = OF_NORMAL * np.median(np.abs(falls[there])) if there.any() else 0.0
    limit = np.maximum(FALL, DEVIATIONS * np.maximum(own, usual))
    found: Bool[np.ndarray, "K R"] = falls > limit[:, None]
    return found


def fall(values: Float[np.ndarray, " R"], collapsed: Bool[np.ndarray, " R"]) -> float:
    """Return how far the collapsed repeats of an optimizer end below its others on average.

    0 without a collapsed repeat, and where no other repeat has a result.
    """
    others = values[np.isfinite(values) & ~collapsed]
    return (
        float(others.mean() - values[collapsed].mean()) if collapsed.any() and others.size else 0.0
    )
