"""All that a search asks of the machines that work for it.

`Here` and `Cluster` are its two kinds. Both give the same rows and the same results: who works
changes no digit, except where processors round differently, and then it is said.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from jaxtyping import Int32

from study.common.bases import BaseChoice
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone
from study.features.device import Device
from study.features.extract import RowsOf
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.places import Trainer
from study.training.program_key import Signature
from study.training.runs import TrainingRules, TrainingTable

T = TypeVar("T")


class Machines(Protocol):
    """Machines that look at files, compute rows and train heads."""

    @property
    def device(self) -> Device:
        """What computes rows and heads; of a cluster once it has chosen."""

    @property
    def rounding(self) -> str:
        """The `rounding_digest` that all workers share; empty for this process."""

    def words(self) -> str:
        """The workers in words, "3 workers (...)"; empty for this process."""

    def choose(self, recorded: Mapping[str, Any]) -> None:
        """Settle on machines that compute alike, before the first row.

        Args:
            recorded: the device of the study that is continued; empty for a new study.

        Raises:
            UserError: no machine is left, or none that may go on with the study.
        """

    def map_files(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """Yield what a function says of each file, in their order; a `MapFiles`.

        Raises:
            UserError: `function` raises it, or a worker cannot read what this process can.
        """

    def backbone(self, base: BaseChoice) -> Backbone:
        """The frozen base, with the arithmetic of the machines that compute with it.

        Raises:
            UserError: see `load_backbone`.
        """

    def rows_of(self, base: BaseChoice, backbone: Backbone, scales: Scales) -> RowsOf:
        """A function that computes the rows of images.

        Args:
            base: as `backbone` was given it.
            backbone: what it returned.
            scales: white points of the images' deep grey.
        """

    def ahead(
        self,
        shape: tuple[int, int],
        n_classes: int,
        metric: str,
        size: int | None,
        certain: Sequence[tuple[Signature, HeadConfig]],
    ) -> AbstractContextManager[None]:
        """Compile meanwhile what `trainer` will need for certain.

        Args:
            shape: (R, n_features) of the rows.
            n_classes: how many classes.
            metric: what judges an epoch.
            size: heads in one program; None where that is still to be timed, so nothing is made.
            certain: signatures with any configuration of theirs, in the order of their need.
        """

    def trainer(
        self,
        table: TrainingTable,
        rules: TrainingRules,
        space: SearchSpace,
        first: tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]],
        size: int | None,
    ) -> Trainer:
        """A trainer of heads.

        Args:
            table: rows and labels.
            rules: what all heads share.
            space: what is searched.
            first: training and validation rows of the study's first split.
            size: heads in one program; None: timed here with `space` and `first`.
        """
