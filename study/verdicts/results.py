"""Records -> the table that is judged: what each optimizer's confirmation runs reach, by repeat.

Only runs that converged are compared; diverged ones are counted separately. A repeat counts once
all of its confirmation runs have ended, so a study that is read while it runs is judged on whole
repeats.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from study.common.metrics import steps
from study.records.outcomes import by_optimizer, repeat_means
from study.records.predicted_classes import PredictedClasses
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.verdicts.new_images import Evidence, evidence_of


class Results(NamedTuple):
    """What the confirmation runs of K optimizers reached in R repeats."""

    optimizers: tuple[str, ...]  # in the order of the search space
    table: Float[np.ndarray, "K R"]  # mean of a whole repeat's converged runs; NaN: none
    spent: Bool[np.ndarray, "K R"]  # whether the repeat is over, with or without a result
    reruns: Mapping[str, int]  # confirmation runs
    diverged: Mapping[str, int]  # confirmation runs that diverged
    step: float  # deviation of rounding a value to whole validation images
    evidence: Evidence | None = None  # what is known of single images; None: nothing


def results_of(
    meta: StudyMeta,
    records: Iterable[TrialRecord],
    ran: Mapping[str, int] | None = None,
    predicted: PredictedClasses | None = None,
) -> Results:
    """Return the results of a study; with `ran`, of only so many repeats of each optimizer.

    Without `predicted` nothing is known of single images.
    """
    counted = [r for r in records if ran is None or r.repeat < ran.get(r.optimizer, 0)]
    grouped = by_optimizer(meta.optimizers, counted)
    names = tuple(dict.fromkeys([*meta.optimizers, *grouped]))
    reruns = {name: _confirmation_runs(grouped.get(name, [])) for name in names}
    repeats = 1 + max((r.repeat for found in grouped.values() for r in found), default=-1)
    table = np.full((len(names), repeats), math.nan)
    spent = np.zeros((len(names), repeats), bool)
    wanted = int(meta.settings["confirm"])
    joint = meta.settings["allocation"] == "joint"
    confirmed = {record.repeat for found in reruns.values() for record in found}
    for row, name in enumerate(names):
        ended = Counter(record.repeat for record in reruns[name])
        over = {repeat for repeat, count in ended.items() if count >= wanted}
        for repeat, mean in repeat_means(reruns[name]).items():
            table[row, repeat] = mean
        over |= _without_winner(grouped.get(name, [])) - ended.keys()
        over |= confirmed - ended.keys() if joint else set()  # a joint search may skip an optimizer
        spent[row, sorted(over)] = True
    table[~spent] = math.nan
    return Results(
        optimizers=names,
        table=table,
        spent=spent,
        reruns={name: len(found) for name, found in reruns.items()},
        diverged={
            name: sum(record.status is TrialStatus.DIVERGED for record in found)
            for name, found in reruns.items()
        },
        step=value_step(meta),
        evidence=evidence_of(meta, names, counted, predicted) if predicted else None,
    )


def _confirmation_runs(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Return the confirmation runs in the order of their ids; failed ones end a repeat, too."""
    found = [record for record in records if record.phase is Phase.CONFIRM]
    return sorted(found, key=lambda record: record.trial_id)


def _without_winner(records: Iterable[TrialRecord]) -> set[int]:
    """Return the repeats whose search has no completed trial, so that nothing can be confirmed."""
    search = [record for record in records if record.phase is Phase.SEARCH]
    completed = {record.repeat for record in search if record.status is TrialStatus.COMPLETED}
    return {record.repeat for record in search} - completed


def whole_repeats(results: Results) -> dict[str, int]:
    """Return how many repeats of each optimizer are over, counted from the first without a gap."""
    over = np.cumprod(results.spent, axis=1).sum(axis=1)
    return dict(zip(results.optimizers, over.tolist(), strict=True))


def value_step(meta: StudyMeta) -> float:
    """Return the standard deviation of rounding a value to whole validation images."""
    images = meta.split_sizes["validation"]
    return 1 / (steps(meta.metric, meta.class_counts, images) * math.sqrt(12))
