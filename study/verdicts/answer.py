"""What a study says: a verdict on each optimizer, and whether the answer is known."""

import enum
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import betaincinv

from study.records.study_meta import Look
from study.verdicts.bounds import Bounds
from study.verdicts.looks import ALPHA


class Verdict(enum.StrEnum):
    """What may be said of one optimizer."""

    GOOD_ENOUGH = "good enough"  # at most the margin behind the best, and no rerun diverged
    EXCLUDED = "excluded"  # another one is certainly ahead
    UNDECIDED = "undecided"  # neither; `at_most_behind` says how far it may be behind


class Judged(NamedTuple):
    """One optimizer. Differences are fractions, None where nothing can be claimed."""

    optimizer: str
    verdict: Verdict
    at_most_behind: float | None  # the best, on these images
    at_most_behind_new_images: float | None  # on new images of the same kind
    behind: float | None  # the leader, as measured; negative: ahead of it on shared repeats
    at_least_behind: float | None  # the one that excludes it
    excluded_by: str
    repeats: int  # that have a result
    reruns: int
    diverged: int  # of the reruns
    apart: bool  # too few converged reruns to be compared

    @property
    def diverging(self) -> tuple[float, float]:
        """95 % interval of the share of reruns that diverge (Clopper and Pearson 1934)."""
        return share_interval(self.diverged, self.reruns)


class Standing(NamedTuple):
    """A confirmed optimizer, as the report's ranking has it."""

    verdict: str  # in words
    mean: float  # validation value of its reruns, adjusted to the leader's repeats


class Answer(NamedTuple):
    """What a study says at this moment."""

    known: bool  # some optimizer is good enough
    margin: float  # fraction
    leader: str  # picked by its mean, which therefore flatters it; "" without a result
    optimizers: tuple[Judged, ...]  # in the order of the search space
    contenders: tuple[str, ...]  # may be ahead of the leader by more than the margin
    racing: tuple[str, ...]  # whose further repeats may decide what is still open
    looks: tuple[Look, ...]
    looked: int  # looks that any pair has reached
    images_needed: float  # times as many, for the leader's bound on new images; NaN if unknown
    bounds: Bounds  # of the latest look; NaN before the first
    new_error: Float[np.ndarray, "K K"]  # of a difference on new images of the same kind

    def of(self, verdict: Verdict) -> list[Judged]:
        """Those with a verdict, the smallest bound first."""
        found = [one for one in self.optimizers if one.verdict is verdict]
        return sorted(
            found, key=lambda one: math.inf if one.at_most_behind is None else one.at_most_behind
        )

    def about(self, name: str) -> Judged:
        """One of the optimizers."""
        return next(one for one in self.optimizers if one.optimizer == name)

    @property
    def bound(self) -> float | None:
        """How far the leader is behind the best at most."""
        return self.about(self.leader).at_most_behind if self.leader else None


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share; one-sided for none and for all."""
    if not of:
        return 0.0, 1.0
    tail = ALPHA if count in (0, of) else ALPHA / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high
