"""What a run is before it is trained, and which rows it sees."""

from typing import NamedTuple

import numpy as np

from study.images.examples import Examples
from study.images.splits import Split
from study.images.study_splits import Splits
from study.records.trial_record import Run
from study.search.options import Options
from study.space.head_config import HeadConfig


class Task(NamedTuple):
    """A run that the protocol wants, before it was trained."""

    run: Run
    config: HeadConfig
    split: Split


class Data(NamedTuple):
    """What the heads are trained on."""

    features: np.ndarray  # (N, n_features) float32
    labels: np.ndarray  # (N,) int32
    n_classes: int
    splits: Splits


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
