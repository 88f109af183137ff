"""The workers of a Ray cluster as the machines of a study; the driver is this process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int32

from study.common.bases import BaseChoice
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone, load_backbone
from study.features.device import Device
from study.features.extract import RowsOf
from study.machines.cluster_trainer import ClusterTrainer
from study.machines.dealt_images import map_on_workers, rows_on_workers
from study.machines.worker import RowOrder
from study.machines.workers import Workers
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.places import Trainer
from study.training.program_key import Signature
from study.training.runs import TrainingRules, TrainingTable

T = TypeVar("T")


class Cluster:
    """The `Machines` that are workers of a connected cluster."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @property
    def device(self) -> Device:
        """The devices of all workers together, which are of one kind."""
        like = self._workers.like
        return Device(like.kind, self._workers.devices(), like.dtype)

    @property
    def rounding(self) -> str:
        """The `rounding_digest` that all workers share."""
        return self._workers.like.rounding

    def words(self) -> str:
        """Number of workers, their devices, the number of lost ones."""
        return self._workers.words()

    def choose(self, recorded: Mapping[str, Any]) -> None:
        """Wait for the workers and keep those that compute alike; see `Workers.choose`."""
        self._workers.choose(recorded)

    def map_files(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """Yield what a function says of each file, in their order; see `map_on_workers`."""
        return map_on_workers(function, files, workers=self._workers)

    def backbone(self, base: BaseChoice) -> Backbone:
        """The frozen base on this process's CPU, in the workers' arithmetic, with their device."""
        device = self.device
        loaded = load_backbone(**base._asdict(), device="cpu", dtype=device.dtype)
        return loaded._replace(device=device)

    def rows_of(self, base: BaseChoice, backbone: Backbone, scales: Scales) -> RowsOf:
        """A function that has the rows of images computed; see `rows_on_workers`."""
        order = RowOrder(base, backbone.digest, backbone.dtype, scales)
        return partial(rows_on_workers, workers=self._workers, backbone=backbone, order=order)

    def ahead(
        self,
        shape: tuple[int, int],
        n_classes: int,
        metric: str,
        size: int | None,
        certain: Sequence[tuple[Signature, HeadConfig]],
    ) -> AbstractContextManager[None]:
        """Nothing: the workers compute rows, and compile once they train."""
        return nullcontext()

    def trainer(
        self,
        table: TrainingTable,
        rules: TrainingRules,
        space: SearchSpace,
        first: tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]],
        size: int | None,
    ) -> Trainer:
        """A trainer whose places are the workers."""
        return ClusterTrainer(self._workers, table, rules, space, first, size)
