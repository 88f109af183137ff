"""A `Trainer` whose places are the workers of a cluster."""

import sys
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

import numpy as np
from jaxtyping import Int32

from study.machines.remote import Remote
from study.machines.worker import SPLITS_KEPT, StoredState, Trained
from study.machines.workers import Workers
from study.space.search_space import SearchSpace
from study.training.places import Place, PlaceLostError, Results, Trainer
from study.training.program_key import Signature
from study.training.runs import HeadRun, HeadState, TrainingRules, TrainingTable

FULL = 0.8  # of an object store that rows may take
MB = 1e6


class ClusterTrainer(Trainer):
    """Trains heads on the workers.

    Args:
        workers: of the study.
        table: what the heads are trained on; it is sent to each machine once.
        rules: how they are trained.
        space: see `heads_at_once`.
        first: training and validation rows of the study's first split.
        size: see `Trainer`; None: a worker finds out what is best with `space` and `first`.
    """

    def __init__(
        self,
        workers: Workers,
        table: TrainingTable,
        rules: TrainingRules,
        space: SearchSpace,
        first: tuple[Int32[np.ndarray, " _"], Int32[np.ndarray, " _"]],
        size: int | None,
    ) -> None:
        import ray

        warn_of_small_stores(table.features)
        take = ("take", rules, *map(ray.put, table))
        if size is None:
            workers.give((take,))
            size = _best_size(workers, space, *first)
        workers.give((take, ("prepare", size)))
        super().__init__(rules, size)
        self.workers, self.shared = workers, SharedArrays()
        self._places: dict[int, WorkerPlace] = {}

    def places(self) -> Sequence[Place]:
        """The workers that are ready, at least one."""
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
        """Wall time of the worker that compiled longest, some of its programs side by side."""
        return max((place.compile_seconds for place in self._places.values()), default=0.0)


class WorkerPlace:
    """A worker as a `Place`."""

    def __init__(self, trainer: ClusterTrainer, remote: Remote) -> None:
        self._trainer, self._remote = trainer, remote
        self.side_by_side, self.busy = remote.waits_for.result()  # of its `prepare`
        self.compiled: set[Signature] = set()
        self.compilations, self.compile_seconds = 0, 0.0
        self._under_way: set[Future[Results]] = set()

    def submit(self, runs: list[HeadRun]) -> Future[Results]:
        """Begin a population; see `Place`."""
        signature = self._trainer.signature(runs[0])
        results: Future[Results] = Future()
        self._under_way.add(results)

        def ended(answer: Future[Trained]) -> None:  # in a thread of Ray's
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
        """Its arrays as references; a state only if it has not gone with its worker.

        Asking Ray for one that has would take a second. The run then begins at its first epoch.
        """
        shared = self._trainer.shared
        state = cast("StoredState | None", run.state)
        if state is not None and not self._trainer.workers.has(state.worker):
            state = None
        return run._replace(
            train=shared.reference(run.train),
            validation=shared.reference(run.validation),
            state=cast("HeadState | None", state),
        )


def _best_size(workers: Workers, space: SearchSpace, *rows: Int32[np.ndarray, " _"]) -> int:
    """The size that the first worker to find out says."""
    while True:
        asked = workers.ready()[0].ask("best_size", space, *rows)
        if not isinstance(asked.exception(), PlaceLostError):
            return int(asked.result())


class SharedArrays:
    """References of arrays in Ray's object store, by identity; the last ones are kept.

    An array is put there once, and fetched by each machine once.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[np.ndarray, Any]] = OrderedDict()

    def reference(self, rows: np.ndarray) -> Any:
        """The reference of an array that is used again and again, and never changed."""
        import ray

        found = self._known.pop(id(rows), None) or (rows, ray.put(rows))
        self._known[id(rows)] = found
        while len(self._known) > SPLITS_KEPT:
            self._known.popitem(last=False)
        return found[1]


def warn_of_small_stores(features: np.ndarray) -> None:
    """Warn where rows will not stay in memory: Ray then spills to the disk, many times slower."""
    import ray

    stores = [
        (node["Resources"].get("object_store_memory", 0.0), node["NodeManagerHostname"])
        for node in ray.nodes()
        if node["Alive"]
    ]
    size, host = min(stores)
    if features.nbytes > FULL * size:
        print(
            f"warning: the rows are {features.nbytes / MB:,.0f} MB, the object store of {host} "
            f"{size / MB:,.0f} MB: it spills to its disk, which is slow; give it more (`ray start "
            "--object-store-memory`, in a container `--shm-size`)",
            file=sys.stderr,
        )
