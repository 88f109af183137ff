"""Data sets -> which optimizer is best on them and in general, with its uncertainty, in words.

`study.compare.set_bounds` has the bounds, and the reasons against mean ranks. A data set with
several studies counts once, as their mean.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from study.common.text import at_most, counted, join, points, some
from study.compare.data_sets import Block, DataSet, all_optimizers, common_optimizers
from study.compare.set_bounds import (
    FEWEST_SETS,
    MOST_SETS,
    SetResults,
    in_general,
    on_these_sets,
    set_means,
    sets_needed,
)
from study.compare.untuned import Untuned, untuned
from study.report.analysis.conclusion import NAMED
from study.verdicts.answer import Verdict, share_interval
from study.verdicts.bounds import Bounds
from study.verdicts.judge import behind_the_best
from study.verdicts.looks import FEWEST_REPEATS

RARE = 0.05  # largest share of diverging runs, with 95 % confidence, that advice only mentions


class Placed(NamedTuple):
    """One optimizer over all data sets. Fractions; None where no bound is known."""

    optimizer: str
    mean: float  # over the sets
    behind: float  # the leader, as measured; the leader's own is 0
    by_set: tuple[float, ...]  # value on each set
    verdicts: tuple[Verdict, ...]  # of each set's own studies; undecided if they disagree
    here: Verdict  # on these sets
    at_most_here: float | None
    general: Verdict  # on data sets of this sort
    at_most_general: float | None
    diverged: int  # confirmation runs on all sets
    reruns: int  # all confirmation runs
    search_diverged: int  # trials on all sets
    trials: int  # all trials
    worst: float  # behind the best of a set, on the set where that is most


class Across(NamedTuple):
    """The verdicts over several data sets, the leader first."""

    sets: tuple[str, ...]
    placed: tuple[Placed, ...]
    untuned: Untuned  # Keras's default settings
    left_out: tuple[str, ...]  # optimizers without a result on some set
    margin: float
    needed: int | None  # data sets until the answer is known, at the same lead and spread
    headline: str
    details: tuple[str, ...]


def across_sets(sets: Sequence[DataSet], *, alpha: float, margin: float) -> Across | None:
    """Judge the optimizers that every data set has; return None for fewer than two data sets.

    Args:
        sets: the data sets.
        alpha: the error rate of the claims about these sets.
        margin: a fraction.
    """
    if len(sets) < 2:
        return None
    studies = [study for one in sets for study in one.studies]
    names = common_optimizers(studies)
    left_out = tuple(name for name in all_optimizers(studies) if name not in names)
    if len(names) < 2:
        text = "The data sets have fewer than two optimizers in common, so none can be compared."
        return Across(
            tuple(one.name for one in sets), (), Untuned(), left_out, margin, None, text, ()
        )
    results = [_results(one, names) for one in sets]
    placed, general, excluded = _placed(sets, results, names, alpha, margin)
    needed = None
    if not placed[0].diverged and not any(one.general is Verdict.GOOD_ENOUGH for one in placed):
        leader = names.index(placed[0].optimizer)
        needed = sets_needed(general, leader, ~excluded, margin)
    return Across(
        sets=tuple(one.name for one in sets),
        placed=tuple(placed),
        untuned=untuned(list(map(_block, sets)), names, placed[0].optimizer, alpha),
        left_out=left_out,
        margin=margin,
        needed=needed,
        headline=" ".join(filter(None, (_general(placed, sets, margin), _here(placed, sets)))),
        details=tuple(filter(None, (_more(placed, sets, margin, needed), _diverging(placed)))),
    )


def _placed(
    sets: Sequence[DataSet],
    results: Sequence[SetResults],
    names: Sequence[str],
    alpha: float,
    margin: float,
) -> tuple[list[Placed], Bounds, Bool[np.ndarray, " K"]]:
    """Return the optimizers by mean, the bounds in general, and which optimizers they exclude.

    With too few data sets the bounds are a forecast that excludes no optimizer.
    """
    values = np.stack([set_means(one.table) for one in results])  # (M, K)
    leads = values[:, values.mean(axis=0).argmax()]  # (M,)
    general = in_general(results)
    unknown = np.full_like(general.difference, math.nan)
    few = len(sets) < FEWEST_SETS
    claimed = general._replace(difference=unknown, error=unknown) if few else general
    reruns = [_reruns(sets, name) for name in names]
    clean = [lost == 0 for lost, _ in reruns]
    most_here, verdicts_here, _ = _judged(on_these_sets(results, alpha), values, clean, margin)
    most_general, verdicts_general, excluded = _judged(claimed, values, clean, margin)
    trials = [_trials(sets, name) for name in names]
    placed = [
        Placed(
            optimizer=name,
            mean=float(values[:, place].mean()),
            behind=float((leads - values[:, place]).mean()),
            by_set=tuple(map(float, values[:, place])),
            verdicts=tuple(_verdict_of(one, name) for one in sets),
            here=verdicts_here[place],
            at_most_here=most_here[place],
            general=verdicts_general[place],
            at_most_general=most_general[place],
            diverged=reruns[place][0],
            reruns=reruns[place][1],
            search_diverged=trials[place][0],
            trials=trials[place][1],
            worst=float((values.max(axis=1) - values[:, place]).max()),
        )
        for place, name in enumerate(names)
    ]
    return sorted(placed, key=lambda one: (one.behind, one.optimizer)), general, excluded


def _results(data: DataSet, names: Sequence[str]) -> SetResults:
    """Return the mean over the studies of a data set that are on the same splits."""
    block = _block(data)
    rows = [block.optimizers.index(name) for name in names]
    return SetResults(block.mean_table[rows], block.step)


def _block(data: DataSet) -> Block:
    """Return the block with the most studies.

    Repeats on different splits are not pairs, and no rule says how to weigh them in a mean.
    """
    return max(data.blocks, key=lambda one: (len(one.studies), one.repeats))


def _verdict_of(data: DataSet, name: str) -> Verdict:
    found = {study.answer.about(name).verdict for study in data.studies}
    return found.pop() if len(found) == 1 else Verdict.UNDECIDED


def _reruns(sets: Sequence[DataSet], name: str) -> tuple[int, int]:
    """Return the numbers of diverged and of all confirmation runs of an optimizer."""
    found = [study.answer.about(name) for one in sets for study in one.studies]
    return sum(one.diverged for one in found), sum(one.reruns for one in found)


def _trials(sets: Sequence[DataSet], name: str) -> tuple[int, int]:
    """Return the numbers of diverged and of all trials of an optimizer's searches."""
    rows = [row for one in sets for s in one.studies for row in s.rows if row.optimizer == name]
    return sum(row.diverged for row in rows), sum(row.trials for row in rows)


def _judged(
    bounds: Bounds, values: Float[np.ndarray, "M K"], clean: Sequence[bool], margin: float
) -> tuple[list[float | None], list[Verdict], Bool[np.ndarray, " K"]]:
    """Return each optimizer's bound and verdict, and which optimizers are excluded."""
    at_most, excluded = behind_the_best(bounds)
    room = 1 - values.mean(axis=0)  # no optimizer exceeds 100 %
    claimed = [
        float(bound) if bound <= margin or bound < most else None  # NaN is neither
        for bound, most in zip(at_most, room, strict=True)
    ]
    verdicts = []
    for bound, whole, out in zip(claimed, clean, excluded, strict=True):
        if bound is not None and bound <= margin and whole:
            verdicts.append(Verdict.GOOD_ENOUGH)
        else:
            verdicts.append(Verdict.EXCLUDED if out else Verdict.UNDECIDED)
    return claimed, verdicts, excluded


def _general(placed: Sequence[Placed], sets: Sequence[DataSet], margin: float) -> str:
    """Return the claim about data sets of this sort."""
    good = [one for one in placed if one.general is Verdict.GOOD_ENOUGH]
    out = [one.optimizer for one in placed if one.general is Verdict.EXCLUDED]
    excluded = f" Excluded in general: {join(out)}." if out else ""
    if good:
        worst = max(one.at_most_general or 0.0 for one in good)
        each = "each is" if len(good) > 1 else "it is"
        use = join([one.optimizer for one in good], "or")
        rest = [one for one in placed if one not in good]
        without = ""
        if len(good) > NAMED and len(rest) < len(good):
            if rest and all(_only_runs_lost(one, margin) for one in rest):
                worst = max(one.at_most_general or 0.0 for one in placed)
                without, rest = f" (without the runs that diverged: {_lost(rest)})", []
            but = f" but {join([one.optimizer for one in rest])}" if rest else ""
            use = f"any of the {len(placed)} optimizers{but}"
        return (
            f"In general use {use}: tuned, on data sets of this sort, {each} on average at most "
            f"{at_most(worst)} points behind the best{without}.{excluded}"
        )
    leader = placed[0]
    text = f"Which optimizer is best in general is not known from {len(sets)} data sets"
    if len(sets) < FEWEST_SETS:
        return f"{text}; at least {FEWEST_SETS} are needed for a conclusion."
    if leader.at_most_general is None:
        return (
            f"{text}: {leader.optimizer} leads, but no bound on how far it may be behind is known."
        )
    if leader.at_most_general <= margin:
        return (
            f"{text}: {leader.optimizer} leads and is on average at most "
            f"{at_most(leader.at_most_general)} points behind the best, but "
            f"{counted(leader.diverged, 'confirmation run')} of it diverged.{excluded}"
        )
    return (
        f"{text}: {leader.optimizer} leads and may on average be up to "
        f"{at_most(leader.at_most_general)} points behind on data sets of this sort.{excluded}"
    )


def _only_runs_lost(one: Placed, margin: float) -> bool:
    """Return whether only rare diverged runs keep an optimizer from being good enough."""
    bounded = one.at_most_general is not None and one.at_most_general <= margin
    _, share = share_interval(one.diverged, one.reruns)
    return one.general is Verdict.UNDECIDED and bounded and share < RARE


def _here(placed: Sequence[Placed], sets: Sequence[DataSet]) -> str:
    """Return the claim about these data sets."""
    good = [one for one in placed if one.here is Verdict.GOOD_ENOUGH]
    out = [one.optimizer for one in placed if one.here is Verdict.EXCLUDED]
    texts = []
    if good:
        names = some([one.optimizer for one in good], "optimizer", NAMED)
        if len(good) == len(placed) > NAMED:
            names = f"all {names}"
        worst = max(one.at_most_here or 0.0 for one in good)
        are = "are" if len(good) > 1 else "is"
        texts.append(
            f"On these {len(sets)} data sets {names} {are} good enough: on average at most "
            f"{at_most(worst)} points behind the best."
        )
    if out:
        texts.append(f"Excluded on them: {join(out)}.")
    few = [one.name for one in sets if _block(one).repeats < FEWEST_REPEATS]
    if few:
        texts.append(
            f"No conclusion about these data sets: {join(few)} with fewer than {FEWEST_REPEATS} "
            "repeats."
        )
    return " ".join(texts)


def _more(
    placed: Sequence[Placed], sets: Sequence[DataSet], margin: float, needed: int | None
) -> str:
    """Return how many more data sets would be needed."""
    if placed[0].diverged or any(one.general is Verdict.GOOD_ENOUGH for one in placed):
        return ""  # more data sets do not undo a diverged run
    if needed is not None:
        return (
            f"About {needed - len(sets)} more data sets of this sort would bring the bound of "
            f"{placed[0].optimizer} to {points(margin)} points, if its lead and the spread over "
            "data sets stay as they are: a rough guess, because it is based on few data sets."
        )
    if len(sets) < FEWEST_SETS:
        return f"At least {FEWEST_SETS - len(sets)} more data sets are needed."
    return (
        f"More than {MOST_SETS} data sets would be needed at a margin of {points(margin)} points."
    )


def _diverging(placed: Sequence[Placed]) -> str:
    lost = _lost(placed)
    if not lost:
        return ""
    return f"Confirmation runs that diverged: {lost}; such an optimizer is never good enough."


def _lost(placed: Sequence[Placed]) -> str:
    lost = [f"{one.optimizer} {one.diverged} of {one.reruns}" for one in placed if one.diverged]
    return join(lost)
