"""The sentence on top of a study that says nothing about optimizers, or nothing yet."""

import math
from collections.abc import Sequence

from study.common.metrics import ACCURACY, BALANCED_ACCURACY, constant_class
from study.common.text import plain
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.ranking import Row, how_lost, lost_every_trial
from study.report.analysis.wording import counted
from study.verdicts.answer import Answer
from study.verdicts.looks import AUTO, FEWEST_REPEATS

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
    if meta.settings.get("repeats") != AUTO and meta.finished:
        more = "The same command with --repeats auto goes on until the answer is known."
    return text, (more,), f"fewer than {FEWEST_REPEATS} repeats"
