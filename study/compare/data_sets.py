"""Summaries of studies -> their data sets, and in each data set the studies on the same splits.

Studies that were confirmed on the same splits of one data set are paired, repeat by repeat, and
only they show the effect of a setting. Among data sets each counts once, however many studies it
has.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.common.text import plain
from study.records.trial_record import Phase, TrialRecord
from study.report.analysis.summary import Summary
from study.verdicts.looks import FEWEST_REPEATS
from study.verdicts.results import value_step

SAME = ("seed", "hyperparameters", "val_accuracy", "val_metric")  # no two other runs agree in all


class Block(NamedTuple):
    """Studies on the same splits of the same images, in the order they were given."""

    studies: tuple[Summary, ...]
    optimizers: tuple[str, ...]  # that can be compared in all of them

    def table(self, study: Summary) -> Float[np.ndarray, "K R"]:
        """Return what each optimizer's winner reached in each repeat of a study."""
        rows = {row.optimizer: row for row in study.rows}
        table = np.full((len(self.optimizers), self.repeats), math.nan)
        for place, name in enumerate(self.optimizers):
            for repeat, value in rows[name].by_repeat.items():
                table[place, repeat] = value
        return table

    @property
    def repeats(self) -> int:
        """Number of repeats of the longest study."""
        found = (r for one in self.studies for row in one.rows for r in row.by_repeat)
        return 1 + max(found, default=-1)

    @property
    def mean_table(self) -> Float[np.ndarray, "K R"]:
        """Mean over studies of each repeat that all of them have."""
        mean: np.ndarray = np.mean([self.table(study) for study in self.studies], axis=0)
        return mean

    @property
    def step(self) -> float:
        """Deviation of rounding a result to whole images."""
        return max(value_step(study.meta) for study in self.studies)


class DataSet(NamedTuple):
    """All studies of one data set, in the order they were given."""

    name: str
    blocks: tuple[Block, ...]

    @property
    def studies(self) -> list[Summary]:
        """Studies of all blocks."""
        return [study for block in self.blocks for study in block.studies]


def data_sets(studies: Sequence[Summary]) -> list[DataSet]:
    """Return the data sets of some studies, in the order of the studies."""
    grouped: dict[str, list[Summary]] = {}
    for study in studies:
        grouped.setdefault(str(study.meta.data["fingerprint"]), []).append(study)
    names = [_name(found[0]) for found in grouped.values()]
    for place, found in enumerate(grouped.values()):
        if names.count(names[place]) > 1 or names[place] in names[:place]:
            names[place] = f"{names[place]} ({plain(found[0].meta.name, 30)})"
    return [
        DataSet(_distinct(names, place), tuple(_blocks(found)))
        for place, found in enumerate(grouped.values())
    ]


def _distinct(names: Sequence[str], place: int) -> str:
    """Return a name with a number if an earlier one is the same."""
    before = names[:place].count(names[place])
    return f"{names[place]} {before + 1}" if before else names[place]


def _name(study: Summary) -> str:
    data = study.meta.data
    return plain(str(data.get("folder") or data.get("file") or study.meta.name), 40)


def _blocks(studies: Sequence[Summary]) -> list[Block]:
    found: list[list[Summary]] = []
    for study in studies:
        for others in found:
            if same_splits(others[0], study):
                others.append(study)
                break
        else:
            found.append([study])
    return [Block(tuple(one), common_optimizers(one)) for one in found]


def same_splits(first: Summary, second: Summary) -> bool:
    """Return whether every shared repeat was confirmed on the same rows of the same images."""
    splits = [
        {key: digest for key, digest in s.meta.split_digests.items() if key.startswith("confirm/")}
        for s in (first, second)
    ]
    shared = splits[0].keys() & splits[1].keys()
    same_data = first.meta.data["fingerprint"] == second.meta.data["fingerprint"]
    return bool(shared) and same_data and all(splits[0][k] == splits[1][k] for k in shared)


def shared_repeats(first: Summary, second: Summary) -> dict[str, set[int]]:
    """Return the repeats of each optimizer with a confirmation run that is in both studies.

    Two such studies are copies, or both had the same seed and nothing that decides a run differed.
    """

    def runs(study: Summary) -> dict[str, TrialRecord]:
        return {one.trial_id: one for one in study.records if one.phase is Phase.CONFIRM}

    found: dict[str, set[int]] = defaultdict(set)
    if first.meta.data["fingerprint"] != second.meta.data["fingerprint"]:
        return found
    other = runs(second)
    for name, one in runs(first).items():
        twin = other.get(name)
        if twin and all(getattr(one, key) == getattr(twin, key) for key in SAME):
            found[one.optimizer].add(one.repeat)
    return found


def is_same(first: Summary, second: Summary) -> bool:
    """Return whether two studies differ in no run of the optimizers and repeats that both have."""
    shared = shared_repeats(first, second)
    both = with_results(first) & with_results(second)
    rows = [{row.optimizer: row.by_repeat.keys() for row in s.rows} for s in (first, second)]
    return bool(shared) and all(rows[0][n] & rows[1][n] <= shared.get(n, set()) for n in both)


def common_optimizers(studies: Sequence[Summary]) -> tuple[str, ...]:
    """Return the optimizers that have enough results in all studies, by the same code.

    Enough is what a study asks: of five repeats or more at least four with a converged run.
    """
    confirmed = [with_results(study) for study in studies]
    return tuple(
        name
        for name in studies[0].meta.optimizers
        if all(name in found for found in confirmed)
        and len({str(study.meta.code.get(name, {}).get("digest")) for study in studies}) == 1
    )


def with_results(study: Summary) -> set[str]:
    """Return the optimizers of a study with enough results; see `common_optimizers`."""
    found = {row.optimizer: len(row.by_repeat) for row in study.rows if row.basis is Phase.CONFIRM}
    most = max(found.values(), default=0)
    least = FEWEST_REPEATS - 1 if most >= FEWEST_REPEATS else 1
    return {name for name, repeats in found.items() if repeats >= least}


def all_optimizers(studies: Sequence[Summary]) -> list[str]:
    """Return every optimizer of any study."""
    return list(dict.fromkeys(name for study in studies for name in study.meta.optimizers))
