"""The workers of a Ray cluster as the machines of a study; the driver is this process.

The rows go to each machine once, as do the row numbers of a split; the state of a paused run stays
in the store of the worker that trained it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Int

from study.common.bases import BaseChoice
from study.common.errors import warn
from study.data.pixels.deep_grey import Scales
from study.features.backbone import Backbone, load_backbone
from study.features.device import Device
from study.features.extract import RowsOf
from study.machines.dealt_images import map_on_workers, rows_on_workers
from study.machines.machines import Machines, TrainerOrder
from study.machines.remote import Remote
from study.machines.worker import SPLITS_KEPT, RowOrder, Trained
from study.machines.workers import Workers
from study.training.places import Place, PlaceLostError, Results, Trainer
from study.training.program_key import Signature
from study.training.runs import HeadRun

FULL = 0.8  # fraction of an object store that rows may take
MB = 1e6
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


class ClusterTrainer(Trainer):
    """Trains heads on the workers of a study."""

    def __init__(self, workers: Workers, order: TrainerOrder) -> None:
        import ray

        warn_of_small_stores(order.table.features)
        take, size = ("take", order.rules, *map(ray.put, order.table)), order.size
        if size is None:
            workers.give((take,))
            size = _best_size(workers, order)
        workers.give((take, ("prepare", size)))
        super().__init__(order.rules, size)
        self.workers = workers
        self._places: dict[int, WorkerPlace] = {}
        self._references: dict[int, tuple[np.ndarray, Any]] = {}  # id -> array, Ray's reference

    def places(self) -> Sequence[Place]:
        """Return the workers that are ready, at least one."""
        for remote in self.workers.ready():
            if remote.number not in self._places:
                self._places[remote.number] = WorkerPlace(self, remote)
        return [place for number, place in self._places.items() if self.workers.has(number)]

    @property
    def compilations(self) -> int:
        """Number of programs of all workers together."""
        return sum(place.compilations for place in self._places.values())

    @property
    def compile_seconds(self) -> float:
        """Wall time of the worker that compiled longest, some of its programs concurrently."""
        return max((place.compile_seconds for place in self._places.values()), default=0.0)

    def reference(self, rows: Int[np.ndarray, " n"]) -> Any:
        """Return Ray's reference of an array that many runs share and that never changes.

        The array goes to Ray's object store once, and each machine fetches it once.
        """
        import ray

        found = self._references.pop(id(rows), None) or (rows, ray.put(rows))
        self._references[id(rows)] = found
        if len(self._references) > SPLITS_KEPT:
            del self._references[next(iter(self._references))]  # the one unused for longest
        return found[1]


class WorkerPlace:
    """A worker as a `Place`."""

    def __init__(self, trainer: ClusterTrainer, remote: Remote) -> None:
        self._trainer, self._remote = trainer, remote
        self.side_by_side, self.busy = remote.pending.result()  # of its `prepare`
        self.compiled: set[Signature] = set()
        self.compilations, self.compile_seconds = 0, 0.0
        self._under_way: set[Future[Results]] = set()

    def submit(self, runs: list[HeadRun]) -> Future[Results]:
        """Start training a population; see `Place`."""
        signature = self._trainer.signature(runs[0])
        results: Future[Results] = Future()
        self._under_way.add(results)

        def ended(answer: Future[Trained]) -> None:  # called in a thread of Ray's
            self._under_way.discard(results)
            if error := answer.exception():
                results.set_exception(error)
                return
            found = answer.result()
            if not signature.alone:
                self.compiled.add(signature)
            self.compilations, self.compile_seconds = found.compilations, found.compile_seconds
            results.set_result(found.results)

        sent = [self._sent(run) for run in runs]
        self._remote.ask("train", sent).add_done_callback(ended)
        return results

    def stop(self, *, patient: bool) -> None:
        """Give up what is under way; a worker that is lost meanwhile has given up."""
        if not self._remote.alive or not self._under_way:
            return
        stopped = self._remote.ask("stop", patient)
        if patient and (error := stopped.exception()) and not isinstance(error, PlaceLostError):
            raise error

    def _sent(self, run: HeadRun) -> HeadRun:
        """Return a run with references for its arrays, and without a state whose worker is lost.

        Asking Ray for such a state would take a second. The run then starts at its first epoch.
        """
        state: Any = run.state  # a `StoredState`
        return run._replace(
            train=self._trainer.reference(run.train),
            validation=self._trainer.reference(run.validation),
            state=state if state and self._trainer.workers.has(state.worker) else None,
        )


def _best_size(workers: Workers, order: TrainerOrder) -> int:
    """Return the size that the first worker to answer found best."""
    while True:
        asked = workers.ready()[0].ask("best_size", order.space, *order.first)
        if not isinstance(asked.exception(), PlaceLostError):
            return int(asked.result())


def warn_of_small_stores(features: Float32[np.ndarray, "R d"]) -> None:
    """Warn if rows will not stay in memory: Ray then spills to the disk, many times slower."""
    import ray

    stores = [
        (node["Resources"].get("object_store_memory", 0.0), node["NodeManagerHostname"])
        for node in ray.nodes()
        if node["Alive"]
    ]
    size, host = min(stores)
    if features.nbytes > FULL * size:
        warn(
            f"the rows take {features.nbytes / MB:,.0f} MB, but the object store of "
            f"{host} has {size / MB:,.0f} MB, so it will spill to its disk, which is slow; give it "
            "more memory (`ray start --object-store-memory`, in a container `--shm-size`)"
        )
