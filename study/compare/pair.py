"""Two summaries -> what changed, optimizer by optimizer: two data sets, two preprocessings.

Where both studies confirmed on the same splits (same images, same seed), a repeat of one is paired
with the same repeat of the other; else the repeats are two samples (Welch). Bounds hold for all
optimizers together (Bonferroni) and at every look: they spend what the studies' looks may spend.
Against the margin a change matters, does not, or is undecided, as in a study.
"""

import enum
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from study.common.errors import UserError
from study.common.text import join, points, points_signed
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.conclusion import LEVEL
from study.report.analysis.ranking import Row
from study.report.analysis.summary import Summary
from study.verdicts.answer import Verdict
from study.verdicts.looks import FEWEST_REPEATS
from study.verdicts.results import value_step


class Says(enum.StrEnum):
    """What may be said of one optimizer's change."""

    DIFFERS = "differs"  # by more than luck
    SAME = "within the margin"  # certainly changed by no more than the margin
    UNDECIDED = "undecided"


class Change(NamedTuple):
    """One optimizer in both studies; values NaN where it is not confirmed."""

    optimizer: str
    first: float
    second: float
    difference: float  # second minus first
    low: float  # 95 %, for all optimizers and looks together
    high: float
    says: Says
    repeats: int  # the fewer of both
    verdicts: tuple[str, str]  # in either study; "" where it is not confirmed


class StudyPair(NamedTuple):
    """The first study against another one."""

    names: tuple[str, str]
    changes: tuple[Change, ...]  # in the order of the first study's ranking
    average: Change | None  # over the optimizers that both have confirmed
    paired: bool
    reversed: tuple[tuple[str, str], ...]  # (a, b): a beats b in the first, b beats a in the other
    differences: tuple[str, ...]  # settings in which the studies differ, in words
    margin: float  # of the first study
    good_enough: tuple[str, ...]  # in both
    headline: str
    optimizers: tuple[str, ...]  # in the order of the search spaces, which gives the colours
    metric: str  # of both


def pair_of(first: Summary, second: Summary) -> StudyPair:
    """Align two studies by optimizer.

    Raises:
        UserError: they are judged by different metrics.
    """
    check_metrics([first.meta, second.meta])
    rows = [_confirmed(summary) for summary in (first, second)]
    names = list(dict.fromkeys([*rows[0], *rows[1]]))
    both = [name for name in names if name in rows[0] and name in rows[1]]
    paired = same_splits(first, second)
    least = max(value_step(first.meta), value_step(second.meta))
    margin = first.answer.margin
    alpha = min(look.alpha for one in (first, second) for look in one.answer.looks)

    def change(name: str, sides: Sequence[Mapping[int, float]], count: int) -> Change:
        verdicts = tuple(_verdict(one, name) for one in (first, second))
        return _change(
            name, *sides, paired=paired, level=alpha / max(count, 1), least=least, margin=margin,
            verdicts=(verdicts[0], verdicts[1]),
        )  # fmt: skip

    changes = [
        change(name, [table[name].by_repeat if name in table else {} for table in rows], len(both))
        for name in names
    ]
    average = None
    if len(both) > 1:
        means = [_average([table[name] for name in both]) for table in rows]
        average = change("average", means, 1)
    labels = (first.meta.name, second.meta.name)
    good = [
        {one.optimizer for one in study.answer.of(Verdict.GOOD_ENOUGH)} for study in (first, second)
    ]
    shared = tuple(name for name in names if name in good[0] & good[1])
    return StudyPair(
        names=labels,
        changes=tuple(changes),
        average=average,
        paired=paired,
        reversed=tuple(_reversed(first, second)),
        differences=tuple(_differences(first, second)),
        margin=margin,
        good_enough=shared,
        headline=_headline(labels, changes, average, margin, shared),
        optimizers=tuple(dict.fromkeys([*first.meta.optimizers, *second.meta.optimizers, *names])),
        metric=first.meta.metric,
    )


def check_metrics(metas: Sequence[StudyMeta]) -> None:
    """Points of one metric are not those of another.

    Raises:
        UserError: studies are judged by different ones.
    """
    first = metas[0]
    for other in metas[1:]:
        if other.metric != first.metric:
            raise UserError(
                f"study {first.name} is judged by {first.metric_words} and study {other.name} by "
                f"{other.metric_words}, which do not compare; name studies with the same `metric`"
            )


def _verdict(summary: Summary, name: str) -> str:
    found = [one for one in summary.answer.optimizers if one.optimizer == name and one.reruns]
    return found[0].verdict.value if found else ""


def _confirmed(summary: Summary) -> dict[str, Row]:
    return {row.optimizer: row for row in summary.rows if row.basis is Phase.CONFIRM}


def same_splits(first: Summary, second: Summary) -> bool:
    """Whether every shared repeat was confirmed on the same rows of the same images."""
    splits = [
        {key: digest for key, digest in s.meta.split_digests.items() if key.startswith("confirm/")}
        for s in (first, second)
    ]
    shared = splits[0].keys() & splits[1].keys()
    same_data = first.meta.data["fingerprint"] == second.meta.data["fingerprint"]
    return bool(shared) and same_data and all(splits[0][k] == splits[1][k] for k in shared)


def _average(rows: Sequence[Row]) -> dict[int, float]:
    """Mean over optimizers of each repeat that all of them have."""
    shared = set.intersection(*(set(row.by_repeat) for row in rows))
    return {r: float(np.mean([row.by_repeat[r] for row in rows])) for r in sorted(shared)}


def _change(
    name: str,
    first: Mapping[int, float],
    second: Mapping[int, float],
    *,
    paired: bool,
    level: float,
    least: float,
    margin: float,
    verdicts: tuple[str, str],
) -> Change:
    if paired and first and second:
        shared = sorted(first.keys() & second.keys())
        first, second = ({r: side[r] for r in shared} for side in (first, second))
    before, after = (np.array(list(side.values())) for side in (first, second))
    means = [float(side.mean()) if side.size else math.nan for side in (before, after)]
    error, freedom = _error(before, after, paired=paired, least=least)
    difference = means[1] - means[0]
    reach = error * float(stdtrit(freedom, 1 - level / 2))
    low, high = difference - reach, difference + reach
    says = Says.UNDECIDED
    if low > 0 or high < 0:  # NaN is neither
        says = Says.DIFFERS
    elif -margin <= low and high <= margin:
        says = Says.SAME
    return Change(
        optimizer=name,
        first=means[0],
        second=means[1],
        difference=difference,
        low=low,
        high=high,
        says=says,
        repeats=min(len(before), len(after)),
        verdicts=verdicts,
    )


def _error(
    before: np.ndarray, after: np.ndarray, *, paired: bool, least: float
) -> tuple[float, float]:
    """Standard error of the difference of means and its degrees of freedom; NaN if unknown."""
    if min(len(before), len(after)) < FEWEST_REPEATS:
        return math.nan, 1.0
    if paired:
        deviation = max(float(np.std(after - before, ddof=1)), least)
        return deviation / math.sqrt(len(before)), len(before) - 1
    parts = [max(float(np.var(side, ddof=1)), least**2) / len(side) for side in (before, after)]
    total = sum(parts)
    sizes = (len(before), len(after))
    freedom = total**2 / sum(p**2 / (n - 1) for p, n in zip(parts, sizes, strict=True))
    return math.sqrt(total), freedom


def _reversed(first: Summary, second: Summary) -> list[tuple[str, str]]:
    """Pairs that both studies separate, one this way and one the other."""

    def won(summary: Summary) -> set[tuple[str, str]]:
        found = (p for p in summary.pairs if p.separated)
        return {(p.first, p.second) if p.difference > 0 else (p.second, p.first) for p in found}

    other = won(second)
    return sorted(pair for pair in won(first) if pair[::-1] in other)


def _differences(first: Summary, second: Summary) -> list[str]:
    """Settings, images, space, code and versions that are not the same."""
    found = []
    before, after = first.meta.settings, second.meta.settings
    for key in dict.fromkeys([*before, *after]):
        if key not in ("name", "metric") and before.get(key) != after.get(key):
            found.append(f"--{key.replace('_', '-')}: {before.get(key)} and {after.get(key)}")
    data = f"{first.meta.noun}s" if first.meta.noun == second.meta.noun else "data"
    for what, a, b, key in (
        (data, first.meta.data, second.meta.data, "fingerprint"),
        ("search space", first.meta.space, second.meta.space, "fingerprint"),
        ("weights", first.meta.weights, second.meta.weights, "digest"),
        ("arithmetic", first.meta.device, second.meta.device, "dtype"),
    ):
        if a.get(key) != b.get(key):
            found.append(f"other {what}")
    own = first.meta.code, second.meta.code
    for name in sorted(own[0].keys() & own[1].keys()):
        if own[0][name]["digest"] != own[1][name]["digest"]:
            found.append(f"other code of {name}")
    versions = first.meta.versions[-1], second.meta.versions[-1]
    for name in sorted(versions[0].keys() & versions[1].keys()):
        if versions[0][name] != versions[1][name]:
            found.append(f"{name} {versions[0][name]} and {versions[1][name]}")
    return found


def _headline(
    names: tuple[str, str],
    changes: Sequence[Change],
    average: Change | None,
    margin: float,
    good: Sequence[str],
) -> str:
    known = [c for c in changes if not math.isnan(c.difference)]
    if not known:
        return f"{names[0]} and {names[1]} have no confirmed optimizer in common."
    if average is None:
        (only,) = known
        change = points_signed(only.difference)
        return (
            f"{only.optimizer} changes by {change} points from {names[0]} to {names[1]}"
            f"{_bounded(only, margin)}."
        )
    parts = [_average_words(names, average, margin)]
    real = [
        f"{c.optimizer} ({points_signed(c.difference)})" for c in known if c.says is Says.DIFFERS
    ]
    which = join(real) if real else f"none of the {len(known)} optimizers by itself"
    parts.append(f"More than luck for {which}.")
    if good:
        parts.append(f"Good enough in both: {join(good)}.")
    return " ".join(parts)


def _bounded(change: Change, margin: float) -> str:
    """(+1.0 to +2.0), more than luck"."""
    if math.isnan(change.low):
        return f", but fewer than {FEWEST_REPEATS} repeats cannot tell that from luck"
    said = {
        Says.DIFFERS: "more than luck",
        Says.SAME: f"certainly no more than the margin of {points(margin)}",
        Says.UNDECIDED: "which luck alone can do",
    }[change.says]
    return f" ({points_signed(change.low)} to {points_signed(change.high)}), {said}"


def _average_words(names: tuple[str, str], average: Change, margin: float) -> str:
    bounded = _bounded(average, margin)
    if abs(average.difference) < LEVEL:
        return f"On average over optimizers {names[1]} reaches what {names[0]} reaches{bounded}."
    side = "above" if average.difference > 0 else "below"
    gap = points(abs(average.difference))
    return f"On average over optimizers {names[1]} is {gap} points {side} {names[0]}{bounded}."
