"""Summaries of any number of studies -> those that share images and splits, and the data sets.

Studies of one data set that were confirmed on the same splits are paired, repeat by repeat: only
from them the effect of a setting is read. A data set counts once among data sets, however many
studies it has.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from study.common.text import plain
from study.compare.pair import same_splits
from study.records.trial_record import Phase
from study.report.analysis.summary import Summary
from study.verdicts.looks import FEWEST_REPEATS
from study.verdicts.results import value_step


class Block(NamedTuple):
    """Studies on the same splits of the same images, in the order they were named."""

    studies: tuple[Summary, ...]
    optimizers: tuple[str, ...]  # that can be compared in all of them

    def table(self, study: Summary) -> Float[np.ndarray, "..."]:
        """(K, R): what each optimizer's winner reached in each repeat of a study."""
        rows = {row.optimizer: row for row in study.rows}
        table = np.full((len(self.optimizers), self.repeats), math.nan)
        for place, name in enumerate(self.optimizers):
            for repeat, value in rows[name].by_repeat.items():
                table[place, repeat] = value
        return table

    @property
    def repeats(self) -> int:
        """How many the longest study has."""
        found = (r for one in self.studies for row in one.rows for r in row.by_repeat)
        return 1 + max(found, default=-1)

    @property
    def mean_table(self) -> Float[np.ndarray, "..."]:
        """(K, R): the mean over studies of each repeat that all of them have."""
        mean: np.ndarray = np.mean([self.table(study) for study in self.studies], axis=0)
        return mean

    @property
    def step(self) -> float:
        """Deviation of rounding a result to whole images."""
        return max(value_step(study.meta) for study in self.studies)


class DataSet(NamedTuple):
    """All studies of one data set, in the order they were named."""

    name: str
    blocks: tuple[Block, ...]

    @property
    def studies(self) -> list[Summary]:
        """Of all blocks."""
        return [study for block in self.blocks for study in block.studies]


def data_sets(studies: Sequence[Summary]) -> list[DataSet]:
    """The data sets of some studies, in the order in which they were named."""
    grouped: dict[str, list[Summary]] = {}
    for study in studies:
        grouped.setdefault(str(study.meta.data["fingerprint"]), []).append(study)
    names = [_name(found[0]) for found in grouped.values()]
    return [
        DataSet(
            name if names.count(name) == 1 else f"{name} ({plain(found[0].meta.name, 30)})",
            tuple(_blocks(found)),
        )
        for name, found in zip(names, grouped.values(), strict=True)
    ]


def common_optimizers(studies: Sequence[Summary]) -> tuple[str, ...]:
    """Those that all studies have enough results of and, if they are the user's, by the same code.

    Enough is as in a study: of five repeats or more at least four whose reruns converged.
    """
    confirmed = [with_results(study) for study in studies]
    return tuple(
        name
        for name in studies[0].meta.optimizers
        if all(name in found for found in confirmed)
        and len({str(study.meta.code.get(name, {}).get("digest")) for study in studies}) == 1
    )


def with_results(study: Summary) -> set[str]:
    """Optimizers of a study with enough results; see `common_optimizers`."""
    found = {row.optimizer: len(row.by_repeat) for row in study.rows if row.basis is Phase.CONFIRM}
    most = max(found.values(), default=0)
    least = FEWEST_REPEATS - 1 if most >= FEWEST_REPEATS else 1
    return {name for name, repeats in found.items() if repeats >= least}


def all_optimizers(studies: Sequence[Summary]) -> list[str]:
    """Every optimizer of any of the studies."""
    return list(dict.fromkeys(name for study in studies for name in study.meta.optimizers))


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
