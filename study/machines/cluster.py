"""The workers of a Ray cluster as the machines of a study; the driver is this process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from study.common.bases import BaseChoice
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone, load_backbone
from study.features.device import Device
from study.features.extract import RowsOf
from study.machines.cluster_trainer import ClusterTrainer
from study.machines.dealt_images import map_on_workers, rows_on_workers
from study.machines.machines import Machines, TrainerOrder
from study.machines.worker import RowOrder
from study.machines.workers import Workers
from study.training.places import Trainer

T = TypeVar("T")


class Cluster(Machines):
    """The `Machines` that are workers of a connected cluster."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @property
    def device(self) -> Device:
        """Devices of all workers together, which are of one kind."""
        like = self._workers.like
        return Device(like.kind, self._workers.devices(), like.dtype)

    @property
    def rounding(self) -> str:
        """The `rounding_digest` that all workers share."""
        return self._workers.like.rounding

    def words(self) -> str:
        """Return the number of workers, their devices, and the number of lost workers."""
        return self._workers.words()

    def choose(self, recorded: Mapping[str, Any]) -> None:
        """Wait for the workers and keep those that compute alike; see `Workers.choose`."""
        self._workers.choose(recorded)

    def map_files(self, function: Callable[[Path], T], files: Sequence[Path]) -> Iterator[T]:
        """Yield the result of a function for each file, in their order; see `map_on_workers`."""
        return map_on_workers(function, files, workers=self._workers)

    def backbone(self, base: BaseChoice) -> Backbone:
        """Return the frozen base on this process's CPU, with the workers' arithmetic and device."""
        device = self.device
        loaded = load_backbone(**base._asdict(), device="cpu", dtype=device.dtype)
        return loaded._replace(device=device)

    def rows_of(self, base: BaseChoice, backbone: Backbone, scales: Scales) -> RowsOf:
        """Return a function that has workers compute rows; see `rows_on_workers`."""
        order = RowOrder(base, backbone.digest, backbone.dtype, scales)
        return partial(rows_on_workers, workers=self._workers, backbone=backbone, order=order)

    def trainer(self, order: TrainerOrder) -> Trainer:
        """Return a trainer whose places are the workers."""
        return ClusterTrainer(self._workers, order)
