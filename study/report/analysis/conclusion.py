"""The answer -> the sentences on top: which may be used, what that costs at most, who is excluded.

"Use" is said only where the bound on new images of the same kind keeps the margin, too; otherwise
the sentence speaks of these images.

The sentence on top of a study that says nothing about optimizers, or nothing yet.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from study.common.metrics import ACCURACY, BALANCED_ACCURACY, constant_class
from study.common.text import counted, join, plain, points
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.ranking import Row, how_lost, lost_every_trial
from study.verdicts.answer import Answer, Judged, Verdict
from study.verdicts.bounds import MOST_BORROWED
from study.verdicts.looks import AUTO, FEWEST_REPEATS

NAMED = 6  # a longer list of names says less than their number
LEVEL = 5e-4  # a smaller difference of values is shown as 0.0 points
MOST_REPEATS = 500  # beyond this "more repeats" is no advice

ROUNDING = 1e-6  # of values in the records: a mean of equal ones is not above them
Words = tuple[str, tuple[str, ...], str]  # text, details and reason of a `Headline`


def nothing_learned(meta: StudyMeta, rows: Sequence[Row]) -> str:
    """What has to be said first where no optimizer beats always naming the largest class."""
    reached = [row.mean for row in rows if row.basis is Phase.CONFIRM and row.converged]
    level = constant_class(meta.metric, meta.class_counts)
    if not reached or max(reached) > level + ROUNDING:
        return ""
    most = max(meta.class_counts, default=0)
    which = "one class,"
    if meta.class_counts.count(most) == 1 and meta.metric != BALANCED_ACCURACY:
        which = f"the largest class, {plain(meta.class_names[meta.class_counts.index(most)])},"
    is_worth, more = f"is right for {100 * level:.1f} % of the {meta.noun}s", ""
    if meta.metric != ACCURACY:
        is_worth = f"has a {meta.metric_words} of {100 * level:.1f} %"
    elif meta.unbalanced:
        more = "; a search with --metric balanced_accuracy counts every class alike"
    return (
        f"Nothing beats always naming {which} which {is_worth}: the best optimizer reaches "
        f"{100 * max(reached):.1f} %{more}."
    )


def nothing_confirmed(meta: StudyMeta, rows: Sequence[Row]) -> Words:
    """No winner was rerun: why, and what there is instead."""
    trials = sum(row.trials for row in rows)
    known = [row for row in rows if not math.isnan(row.mean)]
    lost = bool(rows) and all(map(lost_every_trial, rows))
    if lost:
        ends = ", so there was nothing to confirm" if meta.finished else " so far"
        text = f"Nothing can be ranked: {how_lost(rows, trials)}{ends}."
    elif not known:
        text = "Nothing can be ranked: no run of this study has a result."
    else:
        best = max(known, key=lambda row: (row.basis is Phase.SEARCH, row.mean))
        value = f"{100 * best.mean:.1f} % ({best.optimizer})"
        most = f"The highest value so far is {value}"
        if best.basis is not Phase.SEARCH:
            most = f"Only untuned runs have a result; the highest is {value}"
        elif trials > 1:
            most += f", picked among {trials} trials and so too high"
        text = f"Nothing can be ranked yet: no winner has been confirmed by a rerun. {most}."
    return text, (), "nothing could be confirmed" if lost else "nothing is confirmed yet"


def nothing_compared(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> Words:
    """Winners were rerun, but no two have enough repeats with a result."""
    yet = "" if meta.finished and not meta.partial else " yet"
    with_result = [row for row in rows if row.basis is Phase.CONFIRM and row.converged]
    if len(with_result) == 1:
        (only,) = with_result
        text = (
            f"{only.optimizer} reaches {100 * only.mean:.1f} % validation {meta.metric_words}; no "
            f"other optimizer has a confirmed result{yet}, so there is nothing to compare it with."
        )
        return text, (), "nothing to compare with"
    leader = next(row for row in rows if row.optimizer == answer.leader)
    repeats = max(len(row.by_repeat) for row in rows)
    leads = f"{leader.optimizer} leads with {100 * leader.mean:.1f} %"
    if repeats >= FEWEST_REPEATS:
        text = f"Nothing can be said{yet}: {leads}, but too few repeats of others have a result."
        return text, (), "too few results to compare"
    text = (
        f"Nothing can be said yet: {leads}, but {counted(repeats, 'repeat')} cannot tell a "
        f"difference from luck; {FEWEST_REPEATS} are the fewest that can."
    )
    more = "The same search command goes on to the first look."
    if meta.settings["repeats"] != AUTO and meta.finished:
        more = "The same command with --repeats auto goes on until the answer is known."
    return text, (more,), f"fewer than {FEWEST_REPEATS} repeats"


class Headline(NamedTuple):
    """Plain sentences."""

    text: str  # who may be used, at what cost, and whether that is known
    details: tuple[str, ...]  # how sure, on which images, what more would take
    reason: str  # why the answer is known, or why not yet


def headline(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> Headline:
    """Put the answer into words; `rows` are best first."""
    found = _answered(meta, rows, answer)
    return found._replace(text=f"{nothing_learned(meta, rows)} {found.text}".strip())


def _answered(meta: StudyMeta, rows: Sequence[Row], answer: Answer) -> Headline:
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    if not confirmed:
        return Headline(*nothing_confirmed(meta, rows))
    if not any(row.converged for row in confirmed):
        text = (
            "Nothing can be said: every confirmation run diverged. Lower the learning rates of the "
            "search space and search again."
        )
        return Headline(text, (), "every confirmation run diverged")
    if len(answer.optimizers) == 1:
        best = confirmed[0]
        text = (
            f"{best.optimizer} reaches {100 * best.mean:.1f} % validation {meta.metric_words}; it "
            "is the only optimizer of this study, so there is nothing to compare it with."
        )
        return Headline(text, (), "one optimizer only")
    if not answer.looked:
        return Headline(*nothing_compared(meta, rows, answer))
    parts = [_good_enough(meta, answer) if answer.known else _open(answer), _excluded(answer)]
    parts += [_undecided(answer)]
    details = (*_own(meta, answer), _how_sure(meta, answer), _new_images(meta, answer))
    details += (_diverging(answer),)
    return Headline(
        " ".join(filter(None, parts)), tuple(filter(None, details)), _reason(meta, answer)
    )


def _own(meta: StudyMeta, answer: Answer) -> Iterator[str]:
    """What is said of each optimizer of the user's, for which the study was made."""
    for one in answer.optimizers:
        if one.optimizer not in meta.code:
            continue
        said = f"Your optimizer {one.optimizer} is {one.verdict}"
        if one.at_most_behind is not None:
            bound = points(one.at_most_behind)
            said += f", at most {bound} points behind the best on these {meta.noun}s"
        if one.behind is not None and one.optimizer != answer.leader:
            way = "behind" if one.behind >= 0 else "ahead of"
            said += f"; as measured {points(abs(one.behind))} {way} {answer.leader}"
        yield f"{said}."


def _good_enough(meta: StudyMeta, answer: Answer) -> str:
    good = answer.of(Verdict.GOOD_ENOUGH)
    names = [one.optimizer for one in sorted(good, key=lambda o: o.optimizer != answer.leader)]
    at_most = f"at most {points(_bound(good[-1]))} points behind the best"
    several = len(names) > 1
    if not several and _bound(good[0]) < LEVEL:
        at_most = "certainly ahead of every other one"
    if _holds_for_new_images(answer):
        use = f"Use {join(names, 'or')}" if len(names) <= NAMED else f"Use any of {join(names)}"
        return f"{use}: {'each is' if several else 'it is'} {at_most}."
    enough = f"{'are' if several else 'is'} good enough"
    return f"On these {meta.noun}s {join(names)} {enough}: {at_most}."


def _open(answer: Answer) -> str:
    bound = answer.bound
    leader = answer.leader
    if bound is None and _compared(answer):
        return (
            f"Not known yet: {leader} leads, but its bound says no more than that nobody exceeds "
            "100 %."
        )
    if bound is None:
        return f"Not known yet: {leader} leads, but not everybody has been compared with it."
    margin = points(answer.margin)
    if bound <= answer.margin:
        return (
            f"Not known: {leader} leads and is at most {points(bound)} points behind the best, but "
            f"{counted(answer.about(leader).diverged, 'rerun')} of it diverged."
        )
    return (
        f"Not known yet which optimizer is within {margin} points of the best: {leader} leads and "
        f"may be up to {points(bound)} points behind."
    )


def _compared(answer: Answer) -> bool:
    """Whether the leader has been compared with everybody who may be ahead of it."""
    names = [one.optimizer for one in answer.optimizers]
    leader = names.index(answer.leader)
    found = [answer.bounds.difference[names.index(name), leader] for name in answer.contenders]
    return not any(map(math.isnan, found))


def _excluded(answer: Answer) -> str:
    excluded = answer.of(Verdict.EXCLUDED)
    names = [one.optimizer for one in excluded]
    return f"Excluded: {join(names)}." if names else ""


def _undecided(answer: Answer) -> str:
    """Those that are left, with their bounds; the leader stands in the first sentence."""
    open_ = [one for one in answer.of(Verdict.UNDECIDED) if not one.apart]
    if not answer.known:
        open_ = [one for one in open_ if one.optimizer != answer.leader]
    if not open_:
        return ""
    known = [one for one in open_ if one.at_most_behind is not None]
    if len(open_) > NAMED and len(known) == len(open_):
        low, high = _bound(known[0]), _bound(known[-1])
        each = f"at most {points(low)} to {points(high)} points behind"
        return f"Undecided: {len(open_)} others ({each})."
    said = [
        one.optimizer
        + (f" (at most {points(_bound(one))} behind)" if one.at_most_behind is not None else "")
        for one in open_
    ]
    return f"Undecided: {join(said)}."


def _how_sure(meta: StudyMeta, answer: Answer) -> str:
    """At which look, with which error rate, and what more repeats would do."""
    look = answer.looks[answer.looked - 1]
    total = len(answer.looks)
    which = f"look {answer.looked} of {total}, " if total > 1 else ""
    repeats = max(one.repeats for one in answer.optimizers)
    known = "The answer is known" if answer.known else "The answer is not known"
    if answer.known and not _holds_for_new_images(answer):
        known += f" for these {meta.noun}s"
    sure = (
        f"{known} ({which}{counted(look.repeats, 'repeat')}"
        + (f", {repeats} run" if repeats > look.repeats else "")
        + "). All bounds hold together with 95 % confidence, also if the study is stopped or read "
        f"early. {answer.leader} was picked as the leader, so its own {meta.metric_words} is a "
        "little too high; the bounds allow for that."
    )
    return f"{sure} {_more(meta, answer)}".strip()


def _more(meta: StudyMeta, answer: Answer) -> str:
    """What to do where the answer is not known."""
    if answer.known or not answer.contenders:
        return ""
    needed = repeats_until_known(answer)
    takes = (
        f"about {needed} repeats would bring the leader's bound to the margin"
        if needed
        else f"more than {MOST_REPEATS} repeats would be needed at this margin"
    )
    if answer.looked < len(answer.looks):
        return f"The same search command goes on: {takes}."
    if meta.settings["repeats"] != AUTO:
        return f"With --repeats auto the same command goes on: {takes}."
    return f"All looks are spent; {takes}, or a larger --margin answers at once."


def repeats_until_known(answer: Answer) -> int | None:
    """Repeats at which the leader's bound reaches the margin, if its lead and spread stay so.

    Counted at what the last look spends; None beyond `MOST_REPEATS`.
    """
    if not answer.looked:
        return None
    names = [one.optimizer for one in answer.optimizers]
    leader = names.index(answer.leader)
    rivals = [names.index(name) for name in answer.contenders]
    count = len(names)
    borrowed = min(MOST_BORROWED, max(count - 2, 0))
    numbers = np.arange(answer.looks[answer.looked - 1].repeats + 1, MOST_REPEATS + 1)
    quantile = stdtrit(borrowed + numbers - 1, 1 - answer.looks[-1].alpha / (count - 1))
    enough = np.ones(len(numbers), bool)
    for rival in rivals:
        ahead = answer.bounds.difference[rival, leader]
        error, had = answer.bounds.error[rival, leader], answer.bounds.repeats[rival, leader]
        deviation = error * math.sqrt(had)  # of one repeat's difference
        enough &= ahead + quantile * deviation / np.sqrt(numbers) <= answer.margin
    return int(numbers[enough.argmax()]) if enough.any() else None


def _holds_for_new_images(answer: Answer) -> bool:
    good = answer.of(Verdict.GOOD_ENOUGH)
    bounds = [one.at_most_behind_new_images for one in good]
    return all(bound is not None and bound <= answer.margin for bound in bounds)


def _new_images(meta: StudyMeta, answer: Answer) -> str:
    """Whether it holds for other images of the same kind, and how many would show it."""
    if not answer.known:
        return ""
    if meta.one_split:
        return (
            f"Nothing is known of new {meta.noun}s of the same kind, because all repeats share one "
            "split; --split stratified draws fresh ones."
        )
    good = answer.of(Verdict.GOOD_ENOUGH)
    if _holds_for_new_images(answer):
        return f"This holds for new {meta.noun}s of the same kind, too."
    holds = [
        one.optimizer
        for one in good
        if (bound := one.at_most_behind_new_images) is not None and bound <= answer.margin
    ]
    if holds:
        new = f"For new {meta.noun}s of the same kind, too"
        return f"{new}, this is certain of {join(holds)} only."
    bounds = {
        bound: one.optimizer for one in good if (bound := one.at_most_behind_new_images) is not None
    }
    name = bounds[min(bounds)] if bounds else good[0].optimizer
    said = f"up to {points(min(bounds))} points" if bounds else "any number of points"
    images = sum(meta.class_counts)
    need = "more repeats narrow that"
    if answer.images_needed > 1:
        need = (
            f"more repeats do not help there, about {_rounded(images * answer.images_needed)} "
            f"{meta.noun}s instead of {images} would be needed to come down to "
            f"{points(answer.margin)}"
        )
    return f"On new {meta.noun}s of the same kind {name} may be {said} behind; {need}."


def _rounded(images: float) -> str:
    """To two digits: it is a rough number."""
    digits = max(len(str(int(images))) - 2, 0)
    return f"{round(images, -digits):,.0f}"


def _diverging(answer: Answer) -> str:
    """Reruns that diverged stand beside the comparison and say what to expect."""
    found = [one for one in answer.optimizers if one.diverged]
    if not found:
        return ""
    said = [
        f"{one.optimizer} {one.diverged} of {one.reruns} "
        f"({100 * one.diverging[0]:.0f} to {100 * one.diverging[1]:.0f} % to be expected)"
        for one in found
    ]
    apart = [one.optimizer for one in found if one.apart]
    more = f"; too few of {join(apart)} converged to compare" if apart else ""
    return f"Reruns that diverged: {join(said)}; such an optimizer is never good enough{more}."


def _reason(meta: StudyMeta, answer: Answer) -> str:
    if answer.known:
        return "an optimizer is within the margin"
    if meta.partial:
        return f"stopped early: {meta.partial}"
    if not meta.finished:
        return "the study has not ended"
    if not answer.contenders:
        return "the leader's reruns diverged"
    return "all looks are spent and the bound is above the margin"


def _bound(one: Judged) -> float:
    return math.inf if one.at_most_behind is None else one.at_most_behind
