"""What a study says: a verdict on each optimizer, and whether the answer is known."""

import enum
import math
from typing import NamedTuple

from scipy.special import betaincinv

from study.records.study_meta import Look
from study.verdicts.bounds import Bounds
from study.verdicts.looks import ALPHA
from study.verdicts.new_images import NewImages


class Verdict(enum.StrEnum):
    """What may be said of one optimizer, in the order in which reports list them.

    One that is neither good enough nor excluded was not pursued if it was not asked about, looks
    remain for it, and the answer does not need them (see `Answer.racing`); else it is undecided.
    """

    GOOD_ENOUGH = "good enough"  # at most the margin behind the best; no confirmation run diverged
    UNDECIDED = "undecided"  # neither that nor excluded; `at_most_behind` says how far behind
    NONE = "no verdict"  # undecided, and nothing can be said of how far behind: see `Judged.words`
    NOT_PURSUED = "not pursued"  # the same, where the answer needs no more repeats of it
    EXCLUDED = "excluded"  # another optimizer is ahead, with the study's confidence


class Judged(NamedTuple):
    """The verdict on one optimizer; differences are fractions, None where nothing is claimed."""

    optimizer: str
    verdict: Verdict
    at_most_behind: float | None  # bound on the gap to the best, on these images
    at_most_behind_new_images: float | None  # the same bound on new images of the same kind
    behind: float | None  # measured gap to the leader; negative: ahead of it on shared repeats
    at_least_behind: float | None  # lower bound on the gap to the optimizer that excludes it
    excluded_by: str
    repeats: int  # repeats with a result
    reruns: int  # confirmation runs
    diverged: int  # confirmation runs that diverged
    apart: bool  # whether too few confirmation runs converged for a comparison
    collapsed: int  # repeats that ended far below the others although their runs converged
    fall: float  # how far below on average

    @property
    def words(self) -> Verdict:
        """The verdict as it is shown: none where nothing can be said, as after one repeat."""
        unknown = self.verdict is Verdict.UNDECIDED and self.at_most_behind is None
        return Verdict.NONE if unknown else self.verdict

    @property
    def sentence(self) -> str:
        """The optimizer with its verdict, the beginning of a sentence."""
        return f"{self.optimizer} {'has' if self.words is Verdict.NONE else 'is'} {self.words}"

    @property
    def bound(self) -> float:
        """`at_most_behind`, infinite where nothing can be claimed."""
        return math.inf if self.at_most_behind is None else self.at_most_behind

    @property
    def diverging(self) -> tuple[float, float]:
        """95 % interval of the share of confirmation runs that diverge."""
        return share_interval(self.diverged, self.reruns)

    @property
    def collapsing(self) -> tuple[float, float]:
        """95 % interval of the share of searches that collapse."""
        return share_interval(self.collapsed, self.repeats)


class Standing(NamedTuple):
    """The place of a confirmed optimizer in the report's ranking."""

    verdict: str  # in words
    mean: float  # validation value of its confirmation runs, adjusted to the leader's repeats
    behind: float | None  # points behind the best at most, rounded up; None: nothing is claimed
    behind_new: float | None  # the same on new images


class Answer(NamedTuple):
    """What a study says so far."""

    asked: tuple[str, ...]  # the verdict on each is the question; (): which may be used
    known: bool  # whether all verdicts in `asked` are known; (): some optimizer is good enough
    margin: float  # fraction
    leader: str  # picked by its mean, which is therefore too high; "" without a result
    optimizers: tuple[Judged, ...]  # in the order of the search space
    contenders: tuple[str, ...]  # may be ahead of the leader by more than the margin
    racing: tuple[str, ...]  # their further repeats may settle an open verdict
    looks: tuple[Look, ...]
    looked: int  # number of looks that at least one pair has reached
    images_needed: float  # factor that brings the bound on new images to the margin; NaN: unknown
    bounds: Bounds  # after the latest look; NaN before the first
    new_images: NewImages  # what they add to the bounds; NaN: nothing is claimed
    reached: tuple[float, float, float]  # the leader's value, and its 95 % interval on new images

    def of(self, verdict: Verdict) -> list[Judged]:
        """Return the optimizers shown with this verdict, the smallest bound first."""
        found = [one for one in self.optimizers if one.words is verdict]
        return sorted(found, key=lambda one: one.bound)

    def about(self, name: str) -> Judged:
        """Return the verdict on the optimizer of this name."""
        return next(one for one in self.optimizers if one.optimizer == name)

    @property
    def bound(self) -> float | None:
        """How far the leader is behind the best at most."""
        return self.about(self.leader).at_most_behind if self.leader else None


def share_interval(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper and Pearson 1934); one-sided for 0 and 100 %."""
    if not of:
        return 0.0, 1.0
    tail = ALPHA if count in (0, of) else ALPHA / 2
    low = float(betaincinv(count, of - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - tail)) if count < of else 1.0
    return low, high
