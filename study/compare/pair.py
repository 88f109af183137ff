"""Two summaries -> what changed, optimizer by optimizer: two data sets, two preprocessings.

Where both studies confirmed on the same splits (same images, same seed), a repeat of one is paired
with the same repeat of the other; otherwise the repeats are two samples (Welch). Bounds hold
simultaneously for all optimizers (Bonferroni) and at every look: they spend what the studies' looks
may spend. Against the margin a change matters, does not, or is undecided, as in a study.
"""

import enum
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from study.common.errors import UserError
from study.common.text import join, points, points_signed
from study.compare.data_sets import same_splits, shared_repeats
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.conclusion import LEVEL
from study.report.analysis.summary import Summary
from study.verdicts.answer import Verdict
from study.verdicts.looks import FEWEST_REPEATS
from study.verdicts.results import value_step


class Says(enum.StrEnum):
    """What may be claimed of one optimizer's change."""

    DIFFERS = "differs"  # chance does not explain it
    SAME = "within the margin"  # certainly no larger than the margin
    UNDECIDED = "undecided"


class Change(NamedTuple):
    """One optimizer in both studies; values are NaN where it is not confirmed."""

    optimizer: str
    first: float
    second: float
    difference: float  # second minus first
    low: float  # 95 %, simultaneous for all optimizers and looks
    high: float
    says: Says
    repeats: int  # the smaller number of both studies
    verdicts: tuple[str, str]  # in either study; "" where it is not confirmed


class StudyPair(NamedTuple):
    """The first study against another one."""

    names: tuple[str, str]
    changes: tuple[Change, ...]  # in the order of the first study's ranking
    average: Change | None  # over the optimizers that both studies confirmed
    paired: bool
    reversed: tuple[tuple[str, str], ...]  # (a, b): a beats b in the first, b beats a in the other
    differences: tuple[str, ...]  # settings in which the studies differ, in words
    margin: float  # of the first study
    good_enough: tuple[str, ...]  # in both
    headline: str
    optimizers: tuple[str, ...]  # in the order of the search spaces, which gives the colours
    metric: str  # of both


def pair_of(first: Summary, second: Summary) -> StudyPair:
    """Compare two studies optimizer by optimizer.

    Raises:
        UserError: the studies are judged by different metrics.
    """
    check_metrics([first.meta, second.meta])
    both = (first, second)
    rows = [{r.optimizer: r.by_repeat for r in s.rows if r.basis is Phase.CONFIRM} for s in both]
    names = list(dict.fromkeys([*rows[0], *rows[1]]))
    shared = [name for name in names if name in rows[0] and name in rows[1]]
    paired = same_splits(first, second)
    for name, repeats in shared_repeats(first, second).items():
        for row in rows:  # a run that is in both shows nothing of a difference
            row[name] = {r: value for r, value in row[name].items() if r not in repeats}
    shared = [name for name in shared if all(row[name] for row in rows)]
    least = max(value_step(study.meta) for study in both)
    margin = first.answer.margin
    alpha = min(look.alpha for study in both for look in study.answer.looks)

    def change(name: str, sides: Sequence[Mapping[int, float]], count: int) -> Change:
        return _change(
            name, *sides, paired=paired, level=alpha / max(count, 1), least=least, margin=margin,
            verdicts=(_verdict(first, name), _verdict(second, name)),
        )  # fmt: skip

    changes = [change(name, [r.get(name, {}) for r in rows], len(shared)) for name in names]
    average = None
    if len(shared) > 1:
        average = change("average", [_average([r[name] for name in shared]) for r in rows], 1)
    labels = (first.meta.name, second.meta.name)
    good = [{one.optimizer for one in s.answer.of(Verdict.GOOD_ENOUGH)} for s in both]
    good_in_both = tuple(name for name in names if name in good[0] & good[1])
    return StudyPair(
        names=labels,
        changes=tuple(changes),
        average=average,
        paired=paired,
        reversed=tuple(_reversed(first, second)),
        differences=tuple(_differences(first.meta, second.meta)),
        margin=margin,
        good_enough=good_in_both,
        headline=_headline(labels, changes, average, margin, good_in_both),
        optimizers=tuple(dict.fromkeys([*first.meta.optimizers, *second.meta.optimizers, *names])),
        metric=first.meta.metric,
    )


def check_metrics(metas: Sequence[StudyMeta]) -> None:
    """Check that all studies have one metric, since points of different metrics do not compare.

    Raises:
        UserError: two studies are judged by different metrics.
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


def _average(optimizers: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the mean over optimizers of each repeat that all of them have."""
    shared = set.intersection(*map(set, optimizers))
    return {r: float(np.mean([values[r] for values in optimizers])) for r in sorted(shared)}


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
    before, after = (np.array(list(side.values()), float) for side in (first, second))
    old, new = (float(side.mean()) if side.size else math.nan for side in (before, after))
    error, freedom = _error(before, after, paired=paired, least=least)
    difference = new - old
    reach = error * float(stdtrit(freedom, 1 - level / 2))
    low, high = difference - reach, difference + reach
    says = Says.UNDECIDED
    if low > 0 or high < 0:  # NaN is neither
        says = Says.DIFFERS
    elif -margin <= low and high <= margin:
        says = Says.SAME
    repeats = min(len(before), len(after))
    return Change(name, old, new, difference, low, high, says, repeats, verdicts)


def _error(
    before: Float[np.ndarray, " R"], after: Float[np.ndarray, " S"], *, paired: bool, least: float
) -> tuple[float, float]:
    """Return the standard error of the difference of means (NaN: unknown), degrees of freedom."""
    if min(len(before), len(after)) < FEWEST_REPEATS:
        return math.nan, 1.0
    if paired:
        deviation = max(float(np.std(after - before, ddof=1)), least)
        return deviation / math.sqrt(len(before)), len(before) - 1
    squares = [max(float(np.var(side, ddof=1)), least**2) / len(side) for side in (before, after)]
    sizes = (len(before), len(after))
    freedom = sum(squares) ** 2 / sum(p**2 / (n - 1) for p, n in zip(squares, sizes, strict=True))
    return math.sqrt(sum(squares)), freedom


def _reversed(first: Summary, second: Summary) -> list[tuple[str, str]]:
    """Return the pairs that both studies separate, but with opposite winners."""

    def won(summary: Summary) -> set[tuple[str, str]]:
        found = (p for p in summary.pairs if p.separated)
        return {(p.first, p.second) if p.difference > 0 else (p.second, p.first) for p in found}

    other = won(second)
    return sorted(pair for pair in won(first) if pair[::-1] in other)


def _differences(first: StudyMeta, second: StudyMeta) -> list[str]:
    """Return settings, images, space, code and versions that differ, in words."""
    before, after = first.settings, second.settings
    found = [
        f"--{key.replace('_', '-')}: {before.get(key)} and {after.get(key)}"
        for key in dict.fromkeys([*before, *after])
        if key not in ("name", "metric") and before.get(key) != after.get(key)
    ]
    data = f"{first.noun}s" if first.noun == second.noun else "data"
    for what, table, key in (
        (data, "data", "fingerprint"),
        ("search space", "space", "fingerprint"),
        ("weights", "weights", "digest"),
        ("arithmetic", "device", "dtype"),
    ):
        if getattr(first, table).get(key) != getattr(second, table).get(key):
            found.append(f"other {what}")
    for name in sorted(first.code.keys() & second.code.keys()):
        if first.code[name]["digest"] != second.code[name]["digest"]:
            found.append(f"other code of {name}")
    old, new = first.versions[-1], second.versions[-1]
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            found.append(f"{name} {old[name]} and {new[name]}")
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
        return f"{names[0]} and {names[1]} have no result in common, or only the same runs."
    if average is None:
        (only,) = known
        return (
            f"{only.optimizer} changes by {points_signed(only.difference)} points from {names[0]} "
            f"to {names[1]}{_bounded(only, margin)}."
        )
    real = [
        f"{c.optimizer} ({points_signed(c.difference)})" for c in known if c.says is Says.DIFFERS
    ]
    which = join(real) if real else f"none of the {len(known)} optimizers by itself"
    text = f"{_average_words(names, average, margin)} More than chance explains: {which}."
    return f"{text} Good enough in both: {join(good)}." if good else text


def _bounded(change: Change, margin: float) -> str:
    """Return the interval of a change and what may be claimed of it."""
    if math.isnan(change.low):
        return f", but fewer than {FEWEST_REPEATS} repeats cannot separate that from chance"
    words = {
        Says.DIFFERS: "more than chance explains",
        Says.SAME: f"certainly no more than the margin of {points(margin)}",
        Says.UNDECIDED: "which chance alone may explain",
    }[change.says]
    return f" ({points_signed(change.low)} to {points_signed(change.high)}), {words}"


def _average_words(names: tuple[str, str], average: Change, margin: float) -> str:
    bounded = _bounded(average, margin)
    if abs(average.difference) < LEVEL:
        return f"Averaged over the optimizers, {names[1]} does as well as {names[0]}{bounded}."
    side = "above" if average.difference > 0 else "below"
    gap = points(abs(average.difference))
    return f"Averaged over the optimizers, {names[1]} is {gap} points {side} {names[0]}{bounded}."
