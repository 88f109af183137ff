"""Runs before they are trained, and the rows that they see."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from study.data.examples import Examples
from study.data.splits.one_split import Split
from study.data.splits.study_splits import Splits
from study.records.trial_record import Run
from study.search.options import Options
from study.space.head_config import HeadConfig
from study.training.runs import TrainingTable


class Task(NamedTuple):
    """A run that the protocol wants."""

    run: Run
    config: HeadConfig
    split: Split


class Data(NamedTuple):
    """Training data of all heads: N examples, whose V views have R rows."""

    features: Float32[np.ndarray, "R d"]
    labels: Int32[np.ndarray, " N"]
    n_classes: int
    splits: Splits
    views: Int32[np.ndarray, "N V"] | None = None  # see `view_rows`

    @property
    def table(self) -> TrainingTable:
        """The rows, each with label and weight of its example."""
        labels, weights = self.labels, self.splits.examples.sample_weight
        if self.views is not None:
            of_row = np.empty(len(self.features), np.int32)
            of_row[self.views] = np.arange(len(labels), dtype=np.int32)[:, None]
            labels = labels[of_row]
            weights = None if weights is None else weights[of_row]
        return TrainingTable(self.features, labels, self.n_classes, self.views, weights)


def view_rows(splits: Splits, views: int) -> Int32[np.ndarray, "N V"] | None:
    """Return the row numbers of the views of each example; None if each has one view.

    The examples come first, in their order, then the second view of all examples that are ever
    trained on, then the third. All views of any other example are its own row.
    """
    if views == 1:
        return None
    count, learners = len(splits.examples.labels), splits.learners
    rows = np.repeat(np.arange(count, dtype=np.int32)[:, None], views, axis=1)
    for number in range(1, views):
        first = count + (number - 1) * len(learners)
        rows[learners, number] = np.arange(first, first + len(learners))
    return rows


def count_rows(examples: int, views: Int32[np.ndarray, "N V"] | None) -> int:
    """Return the number of rows of these examples with these views."""
    return examples if views is None else int(views.max()) + 1


def make_splits(examples: Examples, options: Options) -> Splits:
    """Return the splits of a study with these options; for errors see `Splits`."""
    return Splits(
        examples,
        split=options.split,
        validation_split=options.validation_split,
        test_split=options.test_split,
        seed=options.seed,
        split_seed=options.split_seed,
    )
