"""Results -> a verdict on each optimizer, whether the answer is known, and which run on.

For optimizer i against every other j in the race, U_i = max_j (D_ji + c se_ji), at least 0: "i is
at most U_i behind the best" (Hsu 1984, multiple comparisons with the best). With the user's margin,
i is *good enough* if U_i is no larger and none of its confirmation runs diverged, *excluded* if the
bounds put some j ahead of it, else *undecided*. With probability at least 1 - ALPHA all of this is
true simultaneously, at every look: the true best is never excluded, so it is enough to compare with
optimizers that are not. One with too few converged runs is not compared.

The question decides which run on. To know which may be used, the leader and those that may be ahead
of it by more than the margin do, until one is good enough; to know the verdicts on some, each of
them does, with its own rivals, until its verdict is known, and so does an optimizer of the user's
in any case. All others cost nothing more and are *not pursued*. One that waits returns when a new
leader makes it a contender, first up to the leader's repeats. The bounds of all optimizers hold
simultaneously at every look, so the error rate is the same whatever is asked, and the question may
change after a look. The race is a function of results at looks, so a study that was killed replays
it from its records.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from study.records.predicted_classes import PredictedClasses
from study.records.study_meta import Look, StudyMeta
from study.records.trial_record import TrialRecord
from study.verdicts.answer import Answer, Judged, Verdict
from study.verdicts.bounds import Bounds, comparable, compared, over
from study.verdicts.collapse import collapsed_repeats, fall
from study.verdicts.looks import FEWEST_REPEATS
from study.verdicts.new_images import NewImages, judged_repeats, new_images, value_interval
from study.verdicts.results import Results, results_of


def answer_of(
    meta: StudyMeta,
    records: Sequence[TrialRecord],
    ran: Mapping[str, int] | None = None,
    predicted: PredictedClasses | None = None,
) -> Answer:
    """Return what a study says; with `ran`, after only so many repeats of each optimizer.

    Without `predicted` nothing is claimed of new images.
    """
    results = results_of(meta, records, ran, predicted)
    margin = float(meta.settings["margin"]) / 100
    return judge(results, meta.looks, margin=margin, asked=meta.asked, own=meta.code)


def judge(
    results: Results,
    looks: Sequence[Look],
    *,
    margin: float,
    asked: Sequence[str] = (),
    own: Collection[str] = (),
) -> Answer:
    """Return the answer from results.

    Args:
        margin: a fraction.
        asked: optimizers that the study is asked about; (): which may be used.
        own: optimizers of the user's, which run on, too, until their verdict is known.
    """
    race = _Race(results, looks, margin)
    leader = race.leader()
    judged = race.judged(leader)
    known = bool(race.good.any())
    if asked:
        known = not any(_open(one) for one in judged if one.optimizer in asked)
    open_ = [] if leader is None or known or asked else [leader]
    open_ += [
        place
        for place, one in enumerate(judged)
        if one.optimizer in {*asked, *own} and _open(one) and not one.apart
    ]
    racing = race.racing(open_)
    if leader is not None:
        needed = {*racing, *(results.optimizers[place] for place in open_)}
        judged = _without_unneeded(judged, needed, over(results.spent, looks[-1]))
    return Answer(
        asked=tuple(asked),
        known=known,
        margin=margin,
        leader="" if leader is None else results.optimizers[leader],
        optimizers=judged,
        contenders=race.contenders(leader),
        racing=racing,
        looks=tuple(looks),
        looked=race.looked,
        images_needed=math.nan if leader is None else race.images_needed(leader),
        bounds=race.bounds,
        new_images=race.new_images,
        reached=race.reached(leader),
    )


def _open(one: Judged) -> bool:
    return one.verdict is Verdict.UNDECIDED


def _without_unneeded(
    judged: Sequence[Judged], needed: Collection[str], ended: Bool[np.ndarray, " K"]
) -> tuple[Judged, ...]:
    """Return the verdicts; an open one that is not needed, before its last look, is not pursued."""
    return tuple(
        one._replace(verdict=Verdict.NOT_PURSUED)
        if _open(one) and not (one.apart or end or one.optimizer in needed)
        else one
        for one, end in zip(judged, ended, strict=True)
    )


def at_most_behind(
    table: Float[np.ndarray, "K R"], look: Look, *, step: float
) -> Float[np.ndarray, " K"]:
    """Return how far each optimizer is behind the best at most, judged at one look."""
    spent = np.ones(table.shape, bool)
    steps = compared(table, spent, [look], step=step)
    if not steps or look.repeats < FEWEST_REPEATS:
        return np.full(len(table), math.nan)
    excluded = _exclusions(steps, len(table)).places
    return _at_most(steps[-1].high(), excluded, ~comparable(table, spent, look))


def behind_the_best(
    bounds: Bounds,
) -> tuple[Float[np.ndarray, " K"], Bool[np.ndarray, " K"]]:
    """Return how far each optimizer is behind the best at most, and which are excluded.

    Of bounds whose variances are each pair's own, as over data sets. The former is NaN where a
    rival that may be the best was not compared. The latter is strict: of equal optimizers any is
    excluded with the error rate at most.
    """
    known = np.isfinite(bounds.difference + bounds.error)
    ahead = np.where(known, bounds.low(strict=True), -math.inf) > 0
    excluded = np.asarray(ahead.any(axis=0))
    high: np.ndarray = np.where(known, bounds.high(joint=False), math.nan)
    return _at_most(high, excluded, np.zeros_like(excluded)), excluded


def _at_most(
    high: Float[np.ndarray, "K K"], excluded: Bool[np.ndarray, " K"], apart: Bool[np.ndarray, " K"]
) -> Float[np.ndarray, " K"]:
    """Return U_i over the rivals that may be the best; NaN while one of them is not compared."""
    rivals = ~(excluded | apart)
    relevant = np.where(rivals[:, None], high, -math.inf)
    np.fill_diagonal(relevant, -math.inf)
    worst = np.maximum(relevant.max(axis=0), 0.0)  # NaN stays NaN
    found: np.ndarray = np.where(apart, math.nan, worst)
    return found


class _Exclusions(NamedTuple):
    """Which optimizers were excluded at any look."""

    places: Bool[np.ndarray, " K"]
    least: Float[np.ndarray, " K"]  # lower bound on the gap to the optimizer that excludes it
    by: Int[np.ndarray, " K"]  # place of that optimizer


def _exclusions(steps: Sequence[Bounds], count: int) -> _Exclusions:
    places = np.zeros(count, bool)
    least, by = np.zeros(count), np.zeros(count, int)
    for bounds in steps:
        low = np.where(places[:, None] | np.isnan(bounds.difference), -math.inf, bounds.low())
        worst = low.max(axis=0)
        new = ~places & (worst > 0)
        least, by = np.where(new, worst, least), np.where(new, low.argmax(axis=0), by)
        places = places | new
    return _Exclusions(places, least, by)


class _Race:
    """The optimizers at the latest look: which may be the best, and how far behind each may be."""

    def __init__(self, results: Results, looks: Sequence[Look], margin: float) -> None:
        self.results, self.margin = results, margin
        count = len(results.optimizers)
        usable = [look for look in looks if look.repeats >= FEWEST_REPEATS]
        steps = compared(results.table, results.spent, usable, step=results.step)
        self.looked = len(steps)
        self.bounds = steps[-1] if steps else Bounds.none(count)
        self.new_images = NewImages.none(count)
        if results.evidence is not None:
            judged = judged_repeats(results.table, results.spent, usable)
            self.new_images = new_images(results.evidence, judged)
        self.exclusions = _exclusions(steps, count)
        self.excluded = self.exclusions.places
        self.apart = np.zeros(count, bool)  # repeats over, too few of them with a result
        self.until = np.zeros(count, int)  # repeats of the latest look with enough results
        for look in looks:
            enough = comparable(results.table, results.spent, look)
            self.apart = np.where(over(results.spent, look), ~enough, self.apart)
            self.until = np.where(enough, look.repeats, self.until)
        self.rivals = ~(self.excluded | self.apart)  # optimizers that may be the best

        self.at_most = self._claimed(self.bounds.high(), self.excluded)
        self.good = np.array(
            [
                bound is not None and bound <= margin and not results.diverged[name]
                for name, bound in zip(results.optimizers, self.at_most, strict=True)
            ]
        )

    def _claimed(
        self, high: Float[np.ndarray, "K K"], excluded: Bool[np.ndarray, " K"]
    ) -> list[float | None]:
        """Return each U_i; None without a rival, and where it says only that none exceeds 100 %."""
        if np.isnan(self.bounds.difference).all():
            return [None] * len(high)
        known = np.isfinite(self.results.table)
        sums = np.where(known, self.results.table, 0.0).sum(axis=1)
        room = 1 - sums / np.maximum(known.sum(axis=1), 1)
        return [
            float(bound) if bound < 1 and (bound < most or bound <= self.margin) else None
            for bound, most in zip(_at_most(high, excluded, self.apart), room, strict=True)
        ]  # comparisons with NaN are false, so it becomes None

    def _claimed_on_new_images(self) -> list[float | None]:
        """Return each U_i on new images of the same kind; None where nothing is claimed of them.

        An optimizer that is excluded on these images may be ahead on others.
        """
        nobody = np.zeros_like(self.excluded)
        return self._claimed(self.new_images.high(self.bounds), nobody)

    def leader(self) -> int | None:
        """Return the place of the highest mean at the latest look; of equals the first.

        Good enough optimizers go first, then those without a diverged confirmation run.
        """
        table = self.results.table
        ranks: dict[int, tuple[bool, bool, int, float]] = {}
        for place, name in enumerate(self.results.optimizers):
            own = table[place, np.isfinite(table[place])]
            if not own.size or (self.excluded[place] and not self.good[place]):
                continue
            until = int(self.until[place])
            values = table[place, :until] if until else own
            clean = not self.results.diverged[name]
            ranks[place] = (bool(self.good[place]), clean, until, float(np.nanmean(values)))
        return max(ranks, key=ranks.__getitem__, default=None)

    def judged(self, leader: int | None) -> tuple[Judged, ...]:
        """Return the verdicts, in the order of the optimizers."""
        results, (excluded, least, by) = self.results, self.exclusions
        otherwise = [Verdict.EXCLUDED if out else Verdict.UNDECIDED for out in excluded]
        on_new_images = self._claimed_on_new_images()
        collapsed = collapsed_repeats(results.table)
        return tuple(
            Judged(
                optimizer=name,
                verdict=Verdict.GOOD_ENOUGH if self.good[place] else otherwise[place],
                at_most_behind=self.at_most[place],
                at_most_behind_new_images=on_new_images[place],
                behind=self._behind(leader, place),
                at_least_behind=float(least[place]) if excluded[place] else None,
                excluded_by=results.optimizers[by[place]] if excluded[place] else "",
                repeats=int(np.isfinite(results.table[place]).sum()),
                reruns=results.reruns[name],
                diverged=results.diverged[name],
                apart=bool(self.apart[place]),
                collapsed=int(collapsed[place].sum()),
                fall=fall(results.table[place], collapsed[place]),
            )
            for place, name in enumerate(results.optimizers)
        )

    def _behind(self, leader: int | None, place: int) -> float | None:
        """Return the measured gap to the leader, over the repeats with a result of both."""
        if leader is None:
            return None
        differences = self.results.table[leader] - self.results.table[place]
        shared = differences[np.isfinite(differences)]
        return float(shared.mean()) if shared.size else None

    def reached(self, leader: int | None) -> tuple[float, float, float]:
        """Return the leader's value and its 95 % interval on new images; NaN where unknown."""
        if leader is None or self.results.evidence is None:
            return (math.nan,) * 3
        return value_interval(self.results.evidence, leader, self.results.table[leader])

    def contenders(self, leader: int | None) -> tuple[str, ...]:
        """Return which may be ahead of the leader by more than the margin, or are not compared."""
        rivals = self.rivals.copy()
        if leader is not None:
            rivals &= ~(self.bounds.high()[:, leader] <= self.margin)  # NaN is not a bound
            rivals[leader] = False
        return tuple(self.results.optimizers[place] for place in np.flatnonzero(rivals))

    def racing(self, open_: Sequence[int]) -> tuple[str, ...]:
        """Return the optimizers with an open verdict and their contenders.

        One without a contender is left out: more repeats do not change its verdict.
        """
        found: list[str] = []
        for place in open_:
            rivals = self.contenders(place)
            found += [self.results.optimizers[place], *rivals] if rivals else []
        return tuple(dict.fromkeys(found))

    def images_needed(self, leader: int) -> float:
        """Return the factor on the images that brings the leader's bound on new ones to the margin.

        With any number of repeats, and a leader that is level with its rivals.
        """
        rivals = self.rivals.copy()
        rivals[leader] = False
        times = self.new_images.times_as_many(self.bounds, self.margin)[:, leader]
        known = times[rivals & np.isfinite(times)]
        return float(known.max()) if known.size else math.nan


def first_round(optimizers: Iterable[str], looks: Sequence[Look], *, race: bool) -> dict[str, int]:
    """Return the repeats of the first round: the first look, or the last one without a race."""
    return dict.fromkeys(optimizers, looks[0 if race else -1].repeats)


def next_round(
    answer: Answer, ran: Mapping[str, int], looks: Sequence[Look]
) -> dict[str, int] | None:
    """Return the repeats after the next round, given those that ran; None: the study has ended."""
    racing = answer.racing
    if not racing:
        return None
    now = max(ran[name] for name in racing)
    behind = [name for name in racing if ran[name] < now]
    if behind:
        return {**ran, **dict.fromkeys(behind, now)}
    further = [look.repeats for look in looks if look.repeats > now]
    return {**ran, **dict.fromkeys(racing, further[0])} if further else None
