"""Results -> three verdicts, and whether the answer is known.

For optimizer i against every other j still in question, U_i = max_j (D_ji + c se_ji), at least 0:
"i is at most U_i behind the best" (Hsu 1984, multiple comparisons with the best). With the margin
that the user names, i is *good enough* if U_i is no larger, *excluded* if some j is certainly ahead
of it, else *undecided*. With probability 1 - ALPHA all of it is true at once, at every look: the
true best is never excluded, so it is enough to compare with those that are not.

An optimizer whose reruns diverge cannot be good enough, however high the others of them end; one
with too few converged reruns cannot be compared, and stands apart.

Who runs on: the leader and those that may still be ahead of it by more than the margin.

An optimizer of the user's runs on, with those that may be ahead of it, until its own verdict is
known, too.

Excluded optimizers and those that cannot be ahead by more than the margin cost nothing more; one
that waits returns when a new leader makes it a contender, first up to the leader's repeats. The
race is a function of results at looks, so a study that was killed runs it again from its records
and stands where it stood.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.records.study_meta import Look, StudyMeta
from study.records.trial_record import TrialRecord
from study.verdicts.answer import Answer, Judged, Verdict
from study.verdicts.bounds import Bounds, comparable, compared, over
from study.verdicts.looks import FEWEST_REPEATS
from study.verdicts.results import Results, results_of


def answer_of(
    meta: StudyMeta, records: Sequence[TrialRecord], ran: Mapping[str, int] | None = None
) -> Answer:
    """What a study says; with `ran`, what it says after so many repeats of each optimizer."""
    margin = float(meta.settings["margin"]) / 100
    return judge(results_of(meta, records, ran), meta.looks, margin=margin, asked=meta.code)


def judge(
    results: Results, looks: Sequence[Look], *, margin: float, asked: Collection[str] = ()
) -> Answer:
    """Judge a table of results.

    Args:
        results: of the confirmation runs.
        looks: of the study.
        margin: a fraction, above 0.
        asked: optimizers whose own verdict decides, too, whether anybody runs on.
    """
    names = results.optimizers
    usable = [look for look in looks if look.repeats >= FEWEST_REPEATS]
    steps = compared(results.table, results.spent, usable, step=results.step)
    excluded = _exclusions(steps, len(names))
    field = _Field(results, steps[-1] if steps else _none(len(names)), excluded.places, looks)
    error = field.bounds.new_error(results.ratio)
    at_most = field.claimed(field.bounds.high(), margin)
    on_new = field.bounds.difference + field.bounds.reach() * error
    # excluded on the one split there is does not mean behind on others
    nothing: list[float | None] = [None] * len(names)
    on_new_images = nothing if math.isnan(results.ratio) else field.claimed(on_new, margin)
    good = np.array(
        [
            bound is not None and bound <= margin and not results.diverged.get(name)
            for name, bound in zip(names, at_most, strict=True)
        ]
    )
    leader = field.leader(good)
    judged = tuple(
        Judged(
            optimizer=name,
            verdict=_verdict(good=good[place], excluded=excluded.places[place]),
            at_most_behind=at_most[place],
            at_most_behind_new_images=on_new_images[place],
            behind=field.behind(leader, place),
            at_least_behind=float(excluded.least[place]) if excluded.places[place] else None,
            excluded_by=names[excluded.by[place]] if excluded.places[place] else "",
            repeats=int((np.isfinite(results.table) & results.spent)[place].sum()),
            reruns=results.reruns.get(name, 0),
            diverged=results.diverged.get(name, 0),
            apart=bool(field.apart[place]),
        )
        for place, name in enumerate(names)
    )
    open_ = [] if leader is None or good.any() else [leader]
    open_ += [
        place
        for place, one in enumerate(judged)
        if one.optimizer in asked and one.verdict is Verdict.UNDECIDED and not one.apart
    ]
    return Answer(
        known=bool(good.any()),
        margin=margin,
        leader="" if leader is None else names[leader],
        optimizers=judged,
        contenders=field.contenders(leader, margin),
        racing=field.racing(open_, margin),
        looks=tuple(looks),
        looked=len(steps),
        images_needed=math.nan if leader is None else field.images_needed(leader, margin),
        bounds=field.bounds,
        new_error=error,
    )


def at_most_behind(
    table: Float[np.ndarray, "..."], look: Look, *, step: float
) -> Float[np.ndarray, "..."]:
    """(K,): how far each row of a (K, R) table is behind the best at most, judged at one look."""
    spent = np.ones(table.shape, bool)
    steps = compared(table, spent, [look], step=step)
    if not steps or look.repeats < FEWEST_REPEATS:
        return np.full(len(table), math.nan)
    excluded = _exclusions(steps, len(table)).places
    return _at_most(steps[-1].high(), excluded, ~comparable(table, spent, look))


def behind_the_best(bounds: Bounds) -> tuple[Float[np.ndarray, "..."], np.ndarray]:
    """(K,) how far each is behind the best at most, and (K,) behind which another one is for sure.

    The latter is strict: of equal optimizers none is named, but with the error rate. The former is
    NaN where a rival that may be the best was not compared.
    """
    known = np.isfinite(bounds.difference + bounds.error)
    ahead = np.where(known, bounds.low(strict=True), -math.inf) > 0  # row of column
    excluded = np.asarray(ahead.any(axis=0))
    high: np.ndarray = np.where(known, bounds.high(), math.nan)
    return _at_most(high, excluded, np.zeros_like(excluded)), excluded


def _verdict(*, good: bool, excluded: bool) -> Verdict:
    if good:
        return Verdict.GOOD_ENOUGH
    return Verdict.EXCLUDED if excluded else Verdict.UNDECIDED


def _none(count: int) -> Bounds:
    """Before any look."""
    return Bounds(*[np.full((count, count), math.nan) for _ in Bounds._fields])


class _Excluded(NamedTuple):
    """At any look; each (K,)."""

    places: np.ndarray
    least: Float[np.ndarray, "..."]  # at least how far behind
    by: np.ndarray  # behind whom


def _exclusions(steps: Sequence[Bounds], count: int) -> _Excluded:
    places = np.zeros(count, bool)
    least, by = np.zeros(count), np.zeros(count, int)
    for bounds in steps:
        low = np.where(places[:, None] | np.isnan(bounds.difference), -math.inf, bounds.low())
        worst = low.max(axis=0)
        new = ~places & (worst > 0)
        least, by = np.where(new, worst, least), np.where(new, low.argmax(axis=0), by)
        places = places | new
    return _Excluded(places, least, by)


def _at_most(
    high: Float[np.ndarray, "..."], excluded: np.ndarray, apart: np.ndarray
) -> Float[np.ndarray, "..."]:
    """(K,) U_i over the rivals that may be the best; NaN while one of them is not compared yet."""
    rivals = ~(excluded | apart)
    relevant = np.where(rivals[:, None], high, -math.inf)
    np.fill_diagonal(relevant, -math.inf)
    worst: np.ndarray = np.maximum(relevant.max(axis=0), 0.0)  # NaN stays NaN
    return np.where(apart, math.nan, worst)


class _Field:
    """The optimizers at the latest look: who is still in question, and how far who may be behind.

    Args:
        results: of the confirmation runs.
        bounds: of the latest look.
        excluded: (K,) at any look.
        looks: of the study.
    """

    def __init__(
        self, results: Results, bounds: Bounds, excluded: np.ndarray, looks: Sequence[Look]
    ) -> None:
        self.results, self.bounds, self.excluded = results, bounds, excluded
        self.looks = looks
        self.apart = np.zeros(len(excluded), bool)  # repeats over, too few of them with a result
        for look in looks:
            enough = comparable(results.table, results.spent, look)
            self.apart = np.where(over(results.spent, look), ~enough, self.apart)

    def claimed(self, high: Float[np.ndarray, "..."], margin: float) -> list[float | None]:
        """(K,) U_i; none that says nothing: nobody is better than 100 %; none without a rival."""
        if np.isnan(self.bounds.difference).all():
            return [None] * len(high)
        known = np.isfinite(self.results.table)
        sums = np.where(known, self.results.table, 0.0).sum(axis=1)
        room = 1 - sums / np.maximum(known.sum(axis=1), 1)
        return [
            float(bound) if bound < 1 and (bound < most or bound <= margin) else None  # NaN: None
            for bound, most in zip(_at_most(high, self.excluded, self.apart), room, strict=True)
        ]

    def leader(self, good: np.ndarray) -> int | None:
        """The highest mean among those in question with the most looks; of equals the first.

        One that is good enough goes before all others, then one without a diverged rerun.
        """
        table = self.results.table
        ranks: dict[int, tuple[bool, bool, int, float]] = {}
        for place, name in enumerate(self.results.optimizers):
            own = table[place, np.isfinite(table[place])]
            if not own.size or (self.excluded[place] and not good[place]):
                continue
            until = self._looked(place)
            values = table[place, :until] if until else own
            clean = not self.results.diverged.get(name)
            ranks[place] = (bool(good[place]), clean, until, float(np.nanmean(values)))
        return max(ranks, key=ranks.__getitem__, default=None)

    def _looked(self, place: int) -> int:
        """Repeats of the latest look that an optimizer has reached."""
        own = self.results.table[[place]], self.results.spent[[place]]
        return max((one.repeats for one in self.looks if comparable(*own, one)[0]), default=0)

    def behind(self, leader: int | None, place: int) -> float | None:
        """How far behind the leader, over the repeats that both have."""
        if leader is None:
            return None
        differences = self.results.table[leader] - self.results.table[place]
        shared = differences[np.isfinite(differences)]
        return float(shared.mean()) if shared.size else None

    def contenders(self, leader: int | None, margin: float) -> tuple[str, ...]:
        """Who may be ahead of the leader by more than the margin; all that are not compared yet."""
        high = self.bounds.high()[:, leader or 0]
        rivals = ~(self.excluded | self.apart | (high <= margin))  # NaN is no bound
        return tuple(
            name
            for place, name in enumerate(self.results.optimizers)
            if place != leader and rivals[place]
        )

    def racing(self, open_: Sequence[int], margin: float) -> tuple[str, ...]:
        """Those whose verdict is still open and who may be ahead of them by more than the margin.

        Nobody for one that has no such rival: more repeats do not change its verdict.
        """
        found: list[str] = []
        for place in open_:
            rivals = self.contenders(place, margin)
            found += [self.results.optimizers[place], *rivals] if rivals else []
        return tuple(dict.fromkeys(found))

    def images_needed(self, leader: int, margin: float) -> float:
        """How many times as many images bring the leader's bound on new images to the margin.

        With any number of repeats: the variance that these do not shrink falls with 1 / images.
        """
        rivals = ~(self.excluded | self.apart)
        rivals[leader] = False
        fixed = self.bounds.new_error(self.results.ratio)[:, leader] ** 2
        fixed = fixed - self.bounds.error[:, leader] ** 2
        reach = self.bounds.reach()[:, leader] * np.sqrt(np.maximum(fixed, 0))
        known = reach[rivals & np.isfinite(reach)]
        return float((known.max() / margin) ** 2) if known.size else math.nan


def first_round(optimizers: Iterable[str], looks: Sequence[Look], *, race: bool) -> dict[str, int]:
    """How many repeats everybody has at first: up to the first look, without a race to the last."""
    return dict.fromkeys(optimizers, looks[0 if race else -1].repeats)


def next_round(
    answer: Answer, ran: Mapping[str, int], looks: Sequence[Look]
) -> dict[str, int] | None:
    """How many repeats each optimizer has after the next round; None: the study has ended.

    Args:
        answer: after the last round.
        ran: repeats of each optimizer until now.
        looks: of the study.
    """
    racing = answer.racing
    if not racing:
        return None
    now = max(ran[name] for name in racing)
    behind = [name for name in racing if ran[name] < now]
    if behind:
        return {**ran, **dict.fromkeys(behind, now)}
    further = [look.repeats for look in looks if look.repeats > now]
    return {**ran, **dict.fromkeys(racing, further[0])} if further else None
