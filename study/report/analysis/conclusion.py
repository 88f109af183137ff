"""The answer -> the sentences on top: which optimizer to use, at what cost, and what is known.

"Use" requires that the bound on new images of the same kind keeps the margin, too; otherwise the
sentence is about these images. A study without an answer says why, and what it has instead.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from study.common.aliases import Value
from study.common.metrics import ACCURACY, BALANCED_ACCURACY, constant_class
from study.common.text import at_least, at_most, counted, join, plain, points, some
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.next_steps import Step, next_steps
from study.report.analysis.ranking import Row, fails_the_test, how_lost, lost_every_trial
from study.report.analysis.winners import WinnerSettings, settings_in_words
from study.verdicts.answer import Answer, Judged, Verdict, share_interval
from study.verdicts.bounds import MOST_BORROWED
from study.verdicts.looks import FEWEST_REPEATS

NAMED = 6  # of more names only the number is given
LEVEL = 5e-4  # a smaller difference of values is shown as 0.0 points
MOST_REPEATS = 500  # beyond this "more repeats" is not advice
ROUNDING = 1e-6  # of values in the records: a mean of equal ones is not above them


class Headline(NamedTuple):
    """The conclusion in plain sentences."""

    text: str  # which optimizer to use and what that costs at most, or why that is not known
    details: tuple[str, ...]  # the other verdicts, what is reached, how sure, what it took
    reason: str  # why the answer is known, or why not yet
    next: tuple[Step, ...] = ()


def headline(
    meta: StudyMeta,
    rows: Sequence[Row],
    answer: Answer,
    settings: Sequence[WinnerSettings],
    runs: int,
    folder: Path,
) -> Headline:
    """Put the answer into words.

    Args:
        rows: best first.
        settings: of the winners.
        runs: how many the study has.
        folder: of the study.
    """
    values = next((s.values for s in settings if s.optimizer == answer.leader), {})
    found = _conclusion(meta, rows, answer, values)
    return found._replace(
        text=f"{_nothing_learned(meta, rows)} {found.text}".strip(),
        details=(*found.details, _took(meta, runs)),
        next=tuple(next_steps(meta, answer, folder)),
    )


def _took(meta: StudyMeta, runs: int) -> str:
    """Say how many runs a study took, how long, on which machine."""
    seconds = meta.seconds.get("search")
    if not meta.finished or seconds is None:
        return f"It has {counted(runs, 'run')} so far."
    time = counted(round(seconds / 60, 1), "minute")
    if seconds < 90:
        time = counted(round(seconds), "second")
    machine = plain(str(meta.device["name"]), 60)
    return f"This took {counted(runs, 'run')}, {time} of search on {machine}."


def _nothing_learned(meta: StudyMeta, rows: Sequence[Row]) -> str:
    """Return what comes first where no optimizer beats always predicting the largest class."""
    reached = [row.mean for row in rows if row.basis is Phase.CONFIRM and row.converged]
    level = constant_class(meta.metric, meta.class_counts)
    if not reached or max(reached) > level + ROUNDING:
        return ""
    most = max(meta.class_counts, default=0)
    which = "one class"
    if meta.class_counts.count(most) == 1 and meta.metric != BALANCED_ACCURACY:
        which = f"the largest class, {plain(meta.class_names[meta.class_counts.index(most)])}"
    reaches, more = f"is right for {points(level)} % of the {meta.noun}s", ""
    if meta.metric != ACCURACY:
        reaches = f"has a {meta.metric_words} of {points(level)} %"
    elif meta.unbalanced:
        more = "; a search with --metric balanced_accuracy counts every class equally"
    return (
        f"No optimizer beats always predicting {which}, which {reaches}: the best one reaches "
        f"{points(max(reached))} %{more}."
    )


def _conclusion(
    meta: StudyMeta, rows: Sequence[Row], answer: Answer, values: Mapping[str, Value]
) -> Headline:
    confirmed = [row for row in rows if row.basis is Phase.CONFIRM]
    if not confirmed:
        return _nothing_confirmed(meta, rows)
    if not any(row.converged for row in confirmed):
        text = (
            "No conclusion is possible: every confirmation run diverged. Lower the learning rates "
            "in the search space and search again."
        )
        return Headline(text, (), "every confirmation run diverged")
    if not answer.leader:
        why = meta.partial or "no repeat has ended"
        return Headline(f"No conclusion is possible yet: {why}.", (), why)
    if len(answer.optimizers) == 1:
        text = (
            f"{_reaches(meta, confirmed[0])}; it is the only optimizer in this study, so there is "
            "nothing to compare it with."
        )
        reached = _reached(meta, answer, confirmed)
        return Headline(text, (reached,) if reached else (), "one optimizer only")
    if not answer.looked:
        return _nothing_compared(meta, confirmed, answer)
    details = (
        *(*_own(meta, answer), *_other_verdicts(meta, answer)),
        *(_reached(meta, answer, confirmed), _how_sure(meta, answer), _forecast(answer)),
        *(_collapsing(answer), _diverging(answer)),
    )
    return Headline(
        " ".join(_verdicts(meta, answer, values)),
        tuple(filter(None, details)),
        _reason(meta, answer),
    )


def _asked(answer: Answer) -> Sequence[str]:
    """Return the optimizers whose verdicts come first; none if the study was asked about all."""
    return answer.asked if len(answer.asked) <= min(NAMED, len(answer.optimizers) - 1) else ()


def _verdicts(meta: StudyMeta, answer: Answer, values: Mapping[str, Value]) -> Iterator[str]:
    """Yield the verdicts that were asked for, then which optimizer to use, at what cost."""
    asked = _asked(answer)
    for name in asked:
        yield _verdict_on(meta, answer, answer.about(name))
    best = answer.about(answer.leader)
    if best.verdict is Verdict.GOOD_ENOUGH:
        use = "Use" if _holds(best, answer) else f"On these {meta.noun}s, use"
        yield f"{use} {best.optimizer}: {settings_in_words(values)}."
        if best.optimizer not in asked:
            yield f"{_no_better(meta, answer, best)}."
    elif not asked:
        yield _open(answer)


def _no_better(meta: StudyMeta, answer: Answer, one: Judged) -> str:
    """Say how much better any other optimizer is at most, on these images and on new ones."""
    bound = one.at_most_behind_new_images
    if one.bound == 0 or bound is None:
        return f"With 95 % confidence it is {_cost(meta, answer, one)}"
    here, new = (f"{at_most(max(value, LEVEL))} points" for value in (one.bound, bound))
    return (
        f"With 95 % confidence no other optimizer is more than {here} better on these "
        f"{meta.noun}s, or {new} on new ones of the same kind"
    )


def _other_verdicts(meta: StudyMeta, answer: Answer) -> Iterator[str]:
    """Yield the optimizers with each verdict that are not named before, some of them empty."""
    said = {answer.leader, *_asked(answer), *meta.code}
    yield _others(answer, Verdict.GOOD_ENOUGH, said, f"Good enough on these {meta.noun}s, too")
    yield _excluded(answer, said)
    yield _others(answer, Verdict.UNDECIDED, said, "Undecided")
    yield _others(answer, Verdict.NONE, said, "No verdict")
    words = "Not pursued, because not needed for the answer"
    yield _others(answer, Verdict.NOT_PURSUED, said, words)


def _excluded(answer: Answer, said: Collection[str]) -> str:
    """Name the excluded optimizers, and which one excludes them."""
    by: dict[str, list[str]] = {}
    for one in answer.of(Verdict.EXCLUDED):
        if one.optimizer not in said:
            by.setdefault(one.excluded_by, []).append(one.optimizer)
    groups = [f"{join(names)} (by {name})" for name, names in by.items()]
    return f"Excluded: {', '.join(groups)}." if groups else ""


def _reaches(meta: StudyMeta, row: Row) -> str:
    return f"{row.optimizer} reaches {points(row.mean)} % validation {meta.metric_words}"


def _reached(meta: StudyMeta, answer: Answer, confirmed: Sequence[Row]) -> str:
    """Say what the leader reaches on new images, and on the test set."""
    value, low, high = answer.reached
    if math.isnan(low):
        return ""
    text = (
        f"{answer.leader} reaches {points(value)} % on these {meta.noun}s, {points(low)} to "
        f"{points(high)} % on new ones of the same kind (95 % CI)"
    )
    leader = next(row for row in confirmed if row.optimizer == answer.leader)
    tested, images = leader.test_value, meta.split_sizes["test"]
    if images and not math.isnan(tested):
        text += f", and {points(tested)} %"
        if meta.metric == ACCURACY:
            low, high = share_interval(round(tested * images), images)
            text += f" ({points(low)} to {points(high)})"
        text += f" on the {counted(images, f'test {meta.noun}')}, "
        if fails_the_test(meta, leader):
            text += "lower than chance explains"
        else:
            text += "one fixed set that chance makes easier or harder"
    return f"{text}."


def _nothing_confirmed(meta: StudyMeta, rows: Sequence[Row]) -> Headline:
    """Say why no winner was confirmed, and what there is instead."""
    trials = sum(row.trials for row in rows)
    known = [row for row in rows if not math.isnan(row.mean)]
    if rows and all(map(lost_every_trial, rows)):
        ends = ", so there was nothing to confirm" if meta.finished else " so far"
        text = f"Nothing can be ranked: {how_lost(rows, trials)}{ends}."
        return Headline(text, (), "nothing could be confirmed")
    text = "Nothing can be ranked: no run of this study has a result."
    if known:
        best = max(known, key=lambda row: (row.basis is Phase.SEARCH, row.mean))
        value = f"{points(best.mean)} % ({best.optimizer})"
        most = f"The highest value so far is {value}"
        if best.basis is not Phase.SEARCH:
            most = f"Only default runs have a result; the highest is {value}"
        elif trials > 1:
            most += f", picked from {trials} trials and therefore too high"
        text = f"Nothing can be ranked yet: no winner has been confirmed. {most}."
    return Headline(text, (), "nothing is confirmed yet")


def _nothing_compared(meta: StudyMeta, confirmed: Sequence[Row], answer: Answer) -> Headline:
    """Say why no two of the confirmed optimizers were compared."""
    yet = "" if meta.finished and not meta.partial else " yet"
    with_result = [row for row in confirmed if row.converged]
    if len(with_result) == 1:
        text = (
            f"{_reaches(meta, with_result[0])}; no other optimizer has a confirmed result{yet}, so "
            "there is nothing to compare it with."
        )
        return Headline(text, (), "nothing to compare with")
    leader = next(row for row in confirmed if row.optimizer == answer.leader)
    repeats = max(len(row.by_repeat) for row in confirmed)
    leads = f"{leader.optimizer} leads with {points(leader.mean)} %"
    if repeats >= FEWEST_REPEATS:
        few = "too few repeats of other optimizers have a result"
        text = f"No conclusion is possible{yet}: {leads}, but {few}."
        return Headline(text, (), "too few results to compare")
    text = (
        f"No conclusion is possible yet: {leads}, but {counted(repeats, 'repeat')} cannot separate "
        f"a difference from chance; at least {FEWEST_REPEATS} are needed."
    )
    return Headline(text, (), f"fewer than {FEWEST_REPEATS} repeats")


def _own(meta: StudyMeta, answer: Answer) -> Iterator[str]:
    """Yield a sentence on each optimizer of the user's, the reason for such a study."""
    for one in answer.optimizers:
        if one.optimizer not in meta.code:
            continue
        text = f"Your optimizer {one.sentence}"
        if one.at_most_behind is not None:
            text += f", at most {at_most(one.bound)} points behind the best on these {meta.noun}s"
        if one.behind is not None and one.optimizer != answer.leader:
            way = "behind" if one.behind >= 0 else "ahead of"
            text += f"; as measured, it is {points(abs(one.behind))} points {way} {answer.leader}"
        yield f"{text}."


def _cost(meta: StudyMeta, answer: Answer, one: Judged) -> str:
    """Say how far one is behind the best at most, on these images and on new ones."""
    new, bound = "new ones of the same kind", one.at_most_behind_new_images
    here = f"{_at_most(one.bound)} points behind the best on these {meta.noun}s"
    if one.bound == 0:
        compared = " that was compared" if any(o.apart for o in answer.optimizers) else ""
        here = f"ahead of every other one{compared} on these {meta.noun}s"
    if bound is not None:
        behind = " points behind the best" if one.bound == 0 else ""
        return f"{here} and {f'{_at_most(bound)}{behind} ' if bound else ''}on {new}"
    if meta.one_split:
        return f"{here}; nothing is known about {new}, because all repeats share one split"
    if np.isnan(answer.new_images.units).all():
        return f"{here}; nothing is known about {new}: predicted.jsonl is missing or incomplete"
    return f"{here}; on {new} it may be any number of points behind"


def _at_most(bound: float) -> str:
    return "less than 0.1" if bound < LEVEL else f"at most {at_most(bound)}"


def _verdict_on(meta: StudyMeta, answer: Answer, one: Judged) -> str:
    """Return the verdict on an optimizer that was asked about, with what it rests on."""
    name, here = one.optimizer, f"on these {meta.noun}s"
    if one.verdict is Verdict.GOOD_ENOUGH:
        return f"{name} is good enough: {_cost(meta, answer, one)}."
    if one.at_least_behind is not None:
        least = one.at_least_behind
        behind = "with 95 % confidence" if least < LEVEL else f"at least {at_least(least)} points"
        return f"{name} is excluded: {behind} behind {one.excluded_by} {here}."
    if one.apart:
        return f"{name} has no verdict: too few of its runs converged for a comparison."
    if one.at_most_behind is None:
        return f"{name} has no verdict: nothing can be said of how far it is behind."
    text = f"{name} is undecided: {_at_most(one.bound)} points behind the best {here}"
    if one.bound <= answer.margin:
        text += f", but {one.diverged} of its confirmation runs diverged"
    return f"{text}."


def _open(answer: Answer) -> str:
    bound, leader = answer.bound, answer.leader
    unknown = f"The answer is not known yet: {leader} leads, but"
    if bound is None and _compared(answer):
        return f"{unknown} its bound says only that no optimizer exceeds 100 %."
    if bound is None:
        return f"{unknown} has not been compared with every contender."
    if bound <= answer.margin:
        return (
            f"The answer is not known: {leader} leads and is at most {at_most(bound)} points "
            f"behind the best, but {answer.about(leader).diverged} of its confirmation runs "
            "diverged."
        )
    return (
        f"It is not known yet which optimizer is within {points(answer.margin)} points of the "
        f"best: {leader} leads and may be up to {at_most(bound)} points behind."
    )


def _compared(answer: Answer) -> bool:
    """Return whether the leader has been compared with every contender."""
    names = [one.optimizer for one in answer.optimizers]
    leader = names.index(answer.leader)
    found = [answer.bounds.difference[names.index(name), leader] for name in answer.contenders]
    return not any(map(math.isnan, found))


def _others(answer: Answer, verdict: Verdict, said: Collection[str], words: str) -> str:
    """Name those with this verdict, with their bounds, that are not in what was `said` before."""
    found = [one for one in answer.of(verdict) if not one.apart and one.optimizer not in said]
    if not found:
        return ""
    if len(found) > NAMED and found[-1].at_most_behind is not None:
        bounds = f"at most {at_most(found[0].bound)} to {at_most(found[-1].bound)} points behind"
        return f"{words}: {len(found)} others ({bounds}{_measured(answer, found)})."
    texts = [
        f"{one.optimizer} ({_at_most(one.bound)} points behind{_measured(answer, [one])})"
        if one.at_most_behind is not None
        else one.optimizer
        for one in found
    ]
    return f"{words}: {join(texts)}."


def _measured(answer: Answer, found: Sequence[Judged]) -> str:
    """Return the measured gaps to the leader, to follow the bounds."""
    gaps = sorted({points(one.behind) for one in found if one.behind is not None}, key=float)
    if not gaps:
        return ""
    return f"; as measured {join(gaps[:1] + gaps[1:][-1:], 'to')} behind {answer.leader}"


def _how_sure(meta: StudyMeta, answer: Answer) -> str:
    """Say with which error rate and at which look the bounds hold."""
    look, total = answer.looks[answer.looked - 1], len(answer.looks)
    most = f" of at most {answer.looks[-1].repeats}" if total > 1 else ""
    ran = max(one.repeats for one in answer.optimizers)
    more = f", {ran} run" if ran > look.repeats else ""
    return (
        "All bounds hold together, and even if the study is stopped or read early (look "
        f"{answer.looked} of {total}: {look.repeats}{most} repeats{more}). {answer.leader} was "
        f"picked as the leader, so its own {meta.metric_words} tends to be a little too high; the "
        "bounds on gaps allow for that."
    )


def _forecast(answer: Answer) -> str:
    """Say how many repeats would bring the leader's bound to the margin, if the answer is open."""
    if answer.known or answer.asked or not answer.contenders or not _compared(answer):
        return ""
    needed = repeats_until_known(answer)
    takes = f"about {needed} repeats would bring the leader's bound to the margin"
    if not needed:
        takes = f"more than {MOST_REPEATS} repeats would be needed at this margin"
    left = "" if answer.looked < len(answer.looks) else "No looks remain. "
    return f"{left}If lead and spread stay as they are, {takes}."


def repeats_until_known(answer: Answer) -> int | None:
    """Return at how many repeats the leader's bound reaches the margin, at the last look's alpha.

    If its lead and spread stay as they are; None beyond `MOST_REPEATS`.
    """
    if not answer.looked:
        return None
    names = [one.optimizer for one in answer.optimizers]
    leader = names.index(answer.leader)
    rivals = [names.index(name) for name in answer.contenders]
    borrowed = min(MOST_BORROWED, max(len(names) - 2, 0))
    numbers = np.arange(answer.looks[answer.looked - 1].repeats + 1, MOST_REPEATS + 1)
    quantile = stdtrit(borrowed + numbers - 1, 1 - answer.looks[-1].alpha / (len(names) - 1))
    ahead = answer.bounds.difference[rivals, leader]
    error, had = answer.bounds.error[rivals, leader], answer.bounds.repeats[rivals, leader]
    deviation = error * np.sqrt(had)  # of one repeat's difference
    reach = quantile * deviation[:, None] / np.sqrt(numbers)
    enough = (ahead[:, None] + reach <= answer.margin).all(axis=0)
    return int(numbers[enough.argmax()]) if enough.any() else None


def _holds(one: Judged, answer: Answer) -> bool:
    """Return whether the bound on new images of the same kind keeps the margin."""
    bound = one.at_most_behind_new_images
    return bound is not None and bound <= answer.margin


def _collapsing(answer: Answer) -> str:
    """Report searches that ended far below the others of their optimizer, with an interval."""
    found = [one for one in answer.optimizers if one.collapsed]
    counts = [
        f"in {one.collapsed} of {counted(one.repeats, 'repeat')} {one.optimizer} ended "
        f"{100 * one.fall:.0f} points lower than in its others (95 % CI "
        f"{100 * one.collapsing[0]:.0f} to {100 * one.collapsing[1]:.0f} %)"
        for one in found
    ]
    return f"Searches that found no good configuration: {join(counts)}." if found else ""


def _diverging(answer: Answer) -> str:
    """Report diverged confirmation runs, which the comparison leaves out, with an interval."""
    found = [one for one in answer.optimizers if one.diverged]
    if not found:
        return ""
    counts = [
        f"{one.optimizer} {one.diverged} of {one.reruns} "
        f"(95 % CI {100 * one.diverging[0]:.0f} to {100 * one.diverging[1]:.0f} %)"
        for one in found
    ]
    apart = [one.optimizer for one in found if one.apart]
    more = f"; too few runs of {join(apart)} converged for a comparison" if apart else ""
    return (
        f"Confirmation runs that diverged: {join(counts)}; such an optimizer is never called good "
        f"enough{more}."
    )


def _reason(meta: StudyMeta, answer: Answer) -> str:
    names = [
        n for n in answer.asked if answer.known or answer.about(n).verdict is Verdict.UNDECIDED
    ]
    if answer.known:
        return f"{verdicts_on(names)} known" if names else "an optimizer is within the margin"
    if meta.partial:
        return f"stopped early: {meta.partial}"
    if not meta.finished:
        return "the study has not ended"
    if names:
        why = "no looks remain" if answer.racing else "more repeats do not help"
        return f"{why} and {verdicts_on(names)} not known"
    if not answer.contenders:
        return "confirmation runs of the leader diverged"
    return "no looks remain and the bound is above the margin"


def verdicts_on(names: Sequence[str]) -> str:
    """Return the beginning of a clause: "the verdicts on adam and sgd are"."""
    several = len(names) > 1
    on = some(names, "optimizer", NAMED)
    return f"the verdict{'s' if several else ''} on {on} {'are' if several else 'is'}"
