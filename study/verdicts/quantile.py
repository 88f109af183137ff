"""How many standard errors an optimizer may be behind one of its rivals, all of them at once.

The optimizer is what the rivals have in common: differences to two of them correlate by 1/2 where
spreads are equal. Dunnett's quantile c uses that and is smaller than the union bound's: with m
rivals, Y standard normal and s^2 chi-squared over its degrees of freedom (Dunnett 1955, equation
10),

    P(all m differences below c standard errors) = E[Phi(sqrt(2) c s + Y)^m] = 1 - alpha

That is exact for one pooled variance. Here each pair has its own, moderated: measured, not proven
(`tests/benchmarks/calibration.py`). Against the union bound it saves 3 to 6 % of the searches of
twelve optimizers.
"""

import functools

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr, stdtrit

# Trapezoids over two normal variables: the error falls exponentially with the number of nodes.
_NODES = np.linspace(-8, 8, 81)
_WEIGHTS = np.exp(-(_NODES**2) / 2)
_WEIGHTS /= _WEIGHTS.sum()


def union_quantile(
    alpha: Float[np.ndarray, "*S"], rivals: int, freedom: Float[np.ndarray, "*S"]
) -> Float[np.ndarray, "*S"]:
    """Return Student's quantile at 1 - alpha / rivals, which holds however rivals correlate."""
    found: Float[np.ndarray, "*S"] = stdtrit(freedom, 1 - alpha / max(rivals, 1))
    return found


def joint_quantile(
    alpha: Float[np.ndarray, "*S"], rivals: int, freedom: Float[np.ndarray, "*S"]
) -> Float[np.ndarray, "*S"]:
    """Return Dunnett's one-sided quantile for `rivals` differences that correlate by 1/2.

    Args:
        alpha: chance that any difference exceeds the quantile; NaN gives NaN.
        rivals: number of optimizers besides the one that is judged; below 1 counts as 1.
        freedom: degrees of freedom of the standard errors, at least 1; NaN gives NaN.
    """
    pairs, places = np.unique(
        np.stack([alpha.ravel(), freedom.ravel()]), axis=1, return_inverse=True
    )
    found = np.array([_joint(float(a), max(rivals, 1), float(f)) for a, f in pairs.T])
    return found[places.ravel()].reshape(alpha.shape)


@functools.lru_cache(maxsize=4096)
def _joint(alpha: float, rivals: int, freedom: float) -> float:
    """Return one quantile; it lies between Student's for one rival and the union bound."""
    low, high = (float(stdtrit(freedom, 1 - alpha / count)) for count in (1, rivals))
    if rivals == 1 or not np.isfinite(high):
        return high
    spread = np.sqrt(gammaincinv(freedom / 2, ndtr(_NODES)) * 2 / freedom)  # s, by its own rank
    return float(brentq(lambda c: _below(c, rivals, spread) - (1 - alpha), low, high, xtol=1e-9))


def _below(c: float, rivals: int, spread: Float[np.ndarray, " S"]) -> float:
    """Return the chance that all differences are below `c` standard errors."""
    inside = ndtr(np.sqrt(2) * c * spread[:, None] + _NODES) ** rivals
    return float(_WEIGHTS @ inside @ _WEIGHTS)
