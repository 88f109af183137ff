"""This process as the one machine of a study."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int32

from study.common.bases import BaseChoice
from study.data.load_images import map_in_threads
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone, load_backbone
from study.features.device import pick_device
from study.features.extract import RowsOf, computed_rows
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.places import Trainer
from study.training.population import LocalTrainer, heads_at_once
from study.training.program_key import ProgramShape, Signature
from study.training.programs import Programs, compiled_ahead
from study.training.rounding import rounding_digest
from study.training.runs import TrainingRules, TrainingTable

T = TypeVar("T")


class Here:
    """The `Machines` that is this process.

    Args:
        device: `cpu`, `gpu` or None, as for `pick_device`.

    Raises:
        UserError: see `pick_device`.
    """

    rounding = ""

    def __init__(self, device: str | None) -> None:
        self.device = pick_device(device)
        self._asked = device
        self._recorded = ""  # rounding of the study so far, if workers made it
        self._programs: Programs | None = None  # those of `ahead`

    def words(self) -> str:
        """Nothing: there are no workers."""
        return ""

    def choose(self, recorded: Mapping[str, Any]) -> None:
        """Note how the study so far was rounded."""
        self._recorded = recorded.get("rounding", "")

    def map_files(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """Yield what a function says of each file, in their order."""
        return map_in_threads(function, files)

    def backbone(self, base: BaseChoice) -> Backbone:
        """The frozen base."""
        return load_backbone(**base._asdict(), device=self._asked)

    def rows_of(self, base: BaseChoice, backbone: Backbone, scales: Scales) -> RowsOf:
        """A function that computes the rows of images."""
        return partial(computed_rows, backbone=backbone, scales=scales)

    @contextmanager
    def ahead(
        self,
        shape: tuple[int, int],
        n_classes: int,
        metric: str,
        size: int | None,
        certain: Sequence[tuple[Signature, HeadConfig]],
    ) -> Iterator[None]:
        """Compile in a thread; see `compiled_ahead`."""
        if size is None:  # a GPU is timed first
            yield
            return
        self._programs = Programs(ProgramShape(shape, n_classes, size, metric))
        with compiled_ahead(self._programs, certain):
            yield

    def trainer(
        self,
        table: TrainingTable,
        rules: TrainingRules,
        space: SearchSpace,
        first: tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]],
        size: int | None,
    ) -> Trainer:
        """A trainer in this process; see `Machines`. Warns if it rounds otherwise than before."""
        if self._recorded and rounding_digest() != self._recorded:
            print(
                "warning: this machine rounds otherwise than the workers that made the runs so "
                "far (another processor, or another number of threads), so new runs may differ in "
                "their last digits from what they would be there",
                file=sys.stderr,
            )
        if size is None:
            size = heads_at_once(partial(LocalTrainer, table, rules), space, *first)
        return LocalTrainer(table, rules, size, self._programs)
