"""The interface between a search and the machines that work for it.

`Here` and `Cluster` implement it. Both give the same rows and the same results; only processors
that round differently change the last digits, which is then reported.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int32

from study.common.bases import BaseChoice
from study.data.load_images import map_in_threads
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone
from study.features.device import Device
from study.features.extract import RowsOf
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.places import Trainer
from study.training.program_key import ProgramShape, Signature
from study.training.runs import TrainingRules, TrainingTable

T = TypeVar("T")


class TrainerOrder(NamedTuple):
    """What a trainer is made of."""

    table: TrainingTable
    rules: TrainingRules
    space: SearchSpace
    first: tuple[Int32[np.ndarray, " n"], Int32[np.ndarray, " m"]]  # first split: train, validation
    size: int | None  # heads in one program; None: the best size for `space` and `first` is timed


class Machines(ABC):
    """Machines that inspect files, compute rows and train heads."""

    @property
    @abstractmethod
    def device(self) -> Device:
        """Device that computes rows and heads; on a cluster known once `choose` has returned."""

    @property
    @abstractmethod
    def rounding(self) -> str:
        """The `rounding_digest` that all of them share."""

    def words(self) -> str:
        """Return the workers in words, "3 workers (...)"; empty for this process."""
        return ""

    def choose(self, recorded: Mapping[str, Any]) -> None:  # noqa: B027 one machine is no choice
        """Settle on machines that compute alike, before the first row is computed.

        Args:
            recorded: device of the study that is resumed; empty for a new study.

        Raises:
            UserError: no machine is left, or no machine fits the study.
        """

    def map_files(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """Return the result of a function for each file, in their order; a `MapFiles`.

        Raises:
            UserError: `function` raises it, or a worker cannot read a file that this process can.
        """
        return map_in_threads(function, files)

    @abstractmethod
    def backbone(self, base: BaseChoice) -> Backbone:
        """Return the frozen base, with the arithmetic of the machines; see `load_backbone`."""

    @abstractmethod
    def rows_of(self, base: BaseChoice, backbone: Backbone, scales: Scales) -> RowsOf:
        """Return a function that computes rows with the `backbone` made of `base`."""

    def ahead(
        self, shape: ProgramShape | None, wanted: Sequence[tuple[Signature, HeadConfig]]
    ) -> AbstractContextManager[None]:
        """Compile programs while rows are computed; workers compile only once they train.

        `wanted` has them in the order of need, each with any of its configurations. Without a
        `shape`, because the size is not timed yet, nothing can be compiled.
        """
        return nullcontext()

    @abstractmethod
    def trainer(self, order: TrainerOrder) -> Trainer:
        """Return a trainer of heads."""
