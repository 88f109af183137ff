"""What a run is before it is trained, and which rows it sees."""

from typing import NamedTuple

import numpy as np

from study.data.examples import Examples
from study.data.splits.one_split import Split
from study.data.splits.study_splits import Splits
from study.records.trial_record import Run
from study.search.options import Options
from study.space.head_config import HeadConfig
from study.training.runs import TrainingTable


class Task(NamedTuple):
    """A run that the protocol wants, before it was trained."""

    run: Run
    config: HeadConfig
    split: Split


class Data(NamedTuple):
    """What the heads are trained on."""

    features: np.ndarray  # (N, n_features) float32; more rows where there are views
    labels: np.ndarray  # (N,) int32
    n_classes: int
    splits: Splits
    views: np.ndarray | None = None  # (N, n_views) rows of `features`, see `view_rows`

    @property
    def table(self) -> TrainingTable:
        """The rows, each with its label."""
        labels = self.labels
        if self.views is not None:
            labels = np.empty(len(self.features), np.int32)
            labels[self.views] = self.labels[:, None]
        return TrainingTable(self.features, labels, self.n_classes, self.views)


def view_rows(splits: Splits, views: int) -> np.ndarray | None:
    """(N, views) rows of the features of each example's views; None where there is but one.

    First come the examples in their order, then the second view of all that ever train, then the
    third. Whoever never trains has its own row alone.
    """
    if views == 1:
        return None
    count, learners = len(splits.examples.labels), splits.learners
    rows = np.repeat(np.arange(count, dtype=np.int32)[:, None], views, axis=1)
    for number in range(1, views):
        first = count + (number - 1) * len(learners)
        rows[learners, number] = np.arange(first, first + len(learners))
    return rows


def count_rows(examples: int, views: np.ndarray | None) -> int:
    """Rows of the features of so many examples with these views."""
    return examples if views is None else int(views.max()) + 1


def make_splits(examples: Examples, options: Options) -> Splits:
    """The splits that a study with these options has.

    Raises:
        UserError: a class has too few examples.
    """
    return Splits(
        examples,
        split=options.split,
        validation_split=options.validation_split,
        test_split=options.test_split,
        seed=options.seed,
        split_seed=options.split_seed,
    )
