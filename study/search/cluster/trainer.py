"""A `Trainer` whose places are the workers of a cluster."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

from study.search.cluster.remote import Remote
from study.search.cluster.shared_arrays import SharedArrays, warn_of_small_stores
from study.search.cluster.worker import StoredState, Trained
from study.search.cluster.workers import Workers
from study.search.tasks import Data
from study.space.search_space import SearchSpace
from study.training.places import Place, PlaceLostError, Results, Trainer
from study.training.program_cache import Compilation
from study.training.program_key import Signature
from study.training.runs import HeadRun, HeadState


class ClusterTrainer(Trainer):
    """Trains heads on the workers.

    Args:
        workers: of the study.
        data: what the heads are trained on; rows and labels are sent to each machine once.
        space: see `heads_at_once`.
        size: see `Trainer`; None: a worker finds out what is best.
        views: see `Population`.
        options: further arguments of `Trainer`.
    """

    def __init__(
        self,
        workers: Workers,
        data: Data,
        space: SearchSpace,
        size: int | None,
        *,
        views: Any,
        **options: Any,
    ) -> None:
        import ray

        warn_of_small_stores(data.features)
        options |= {"n_classes": data.n_classes}
        rows = [ray.put(data.features), ray.put(data.row_labels)]
        table = ("take", *rows, options | {"views": views})
        if size is None:
            workers.give((table,))
            first = data.splits("search", 0)
            size = _best_size(workers, space, first.train, first.validation)
        workers.give((table, ("prepare", size)))
        super().__init__(**options, size=size)
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
        """Programs of all workers together."""
        return sum(place.compilations for place in self._places.values())

    @property
    def compiled_here(self) -> Sequence[Compilation]:
        """Programs of this process: none."""
        return []

    @property
    def compile_seconds(self) -> float:
        """Wall time of the worker that compiled longest, some of its programs side by side."""
        return max((place.compile_seconds for place in self._places.values()), default=0.0)


class WorkerPlace:
    """A worker as a `Place`."""

    def __init__(self, trainer: ClusterTrainer, remote: Remote) -> None:
        self._trainer, self._remote = trainer, remote
        self.workers, self.busy = remote.waits_for.result()  # of its `prepare`
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


def _best_size(workers: Workers, space: SearchSpace, *rows: Any) -> int:
    """Of the first worker that finds out."""
    while True:
        asked = workers.ready()[0].ask("best_size", space, *rows)
        if not isinstance(asked.exception(), PlaceLostError):
            return int(asked.result())
