"""Records -> the table that is judged: what each optimizer's confirmed winners reach, by repeat.

Only runs that converged are compared; those that diverged are counted beside them. A repeat counts
once all of its confirmation runs have ended, so a study that is looked at while it runs is judged
on whole repeats.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from study.common.metrics import steps
from study.records.outcomes import by_optimizer, repeat_means
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus


class Results(NamedTuple):
    """What the confirmation runs of K optimizers reached."""

    optimizers: tuple[str, ...]  # in the order of the search space
    table: Float[np.ndarray, "K R"]  # mean of a repeat's converged runs; NaN: none
    spent: Bool[np.ndarray, "K R"]  # the repeat is over, whatever came out
    reruns: Mapping[str, int]
    diverged: Mapping[str, int]  # of the reruns
    step: float  # deviation of rounding to whole validation images
    ratio: float  # validation / training rows; NaN: all repeats share one split


def results_of(
    meta: StudyMeta, records: Iterable[TrialRecord], ran: Mapping[str, int] | None = None
) -> Results:
    """The table of a study.

    Args:
        meta: of the study.
        records: all of them.
        ran: repeats of each optimizer that count; None: all that are there.
    """
    counted = [r for r in records if ran is None or r.repeat < ran.get(r.optimizer, 0)]
    grouped = by_optimizer(meta.optimizers, counted)
    names = tuple(dict.fromkeys([*meta.optimizers, *grouped]))
    reruns = {name: _reruns(grouped.get(name, [])) for name in names}
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
        over |= _hopeless(grouped.get(name, []), ended)
        over |= confirmed - ended.keys() if joint else set()  # a joint search may pass one over
        spent[row, sorted(over)] = True
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
        ratio=image_ratio(meta),
    )


def image_ratio(meta: StudyMeta) -> float:
    """Validation / training rows; NaN where all repeats share one split."""
    if meta.one_split:
        return math.nan
    return meta.split_sizes["validation"] / max(meta.split_sizes["train"], 1)


def whole_repeats(results: Results) -> dict[str, int]:
    """How many repeats of each optimizer are over, from the first one on without a gap."""
    over = np.cumprod(results.spent, axis=1).sum(axis=1)
    return dict(zip(results.optimizers, over.tolist(), strict=True))


def value_step(meta: StudyMeta) -> float:
    """Standard deviation of rounding a value to whole validation images."""
    images = meta.split_sizes["validation"]
    return 1 / (steps(meta.metric, meta.class_counts, images) * math.sqrt(12))


def _reruns(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Confirmation runs in the order of their ids; out-of-memory ones end a repeat, too."""
    found = [record for record in records if record.phase is Phase.CONFIRM]
    return sorted(found, key=lambda record: record.trial_id)


def _hopeless(records: Iterable[TrialRecord], ended: Mapping[int, int]) -> set[int]:
    """Repeats whose search has no completed trial, so that nothing could be confirmed."""
    alive: dict[int, bool] = defaultdict(bool)
    for record in records:
        if record.phase is Phase.SEARCH and record.repeat not in ended:
            alive[record.repeat] |= record.status is TrialStatus.COMPLETED
    return {repeat for repeat, completed in alive.items() if not completed}
