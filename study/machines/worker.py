"""The actor: a `LocalTrainer` and a backbone in a process of Ray's, on whichever machine.

Heavy libraries are imported when it is told to begin, in its own process. Rows, splits and states
come as references into Ray's object store and states go as such, so a machine fetches each array
once. What it raises is plain: classes of TensorFlow's or of the user's need not exist elsewhere.
"""

import os
import platform
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from study.common.bases import BaseChoice
from study.common.errors import CodeError, UserError
from study.data.load_images import map_in_threads
from study.machines.same_program import CodeFile, identity, load_code_files

if TYPE_CHECKING:
    from study.data.pixels.deep_grey import Scales
    from study.features.extract import RowSources
    from study.space.search_space import SearchSpace
    from study.training.runs import TrainingRules, TrainingTable

SPLITS_KEPT = 64  # arrays of row numbers
SAME_PATH = "images have to lie at the same path on every machine, e.g. on a shared disk"


class StudyOrder(NamedTuple):
    """What every worker of a study is told."""

    device: str | None  # as for `pick_device`
    cache_dir: str | None  # of programs and code; None: its user's
    code: tuple[CodeFile, ...]


class RowOrder(NamedTuple):
    """How images become rows."""

    base: BaseChoice
    digest: str  # of the driver's weights
    dtype: str
    scales: "Scales"


class StoredState(NamedTuple):
    """A `HeadState` that stays in its worker's store."""

    epoch: int
    reference: Any  # of its parts
    worker: int  # with which it goes


class Trained(NamedTuple):
    """A population's results; states are references."""

    results: list[Any]
    compilations: int
    compile_seconds: float


class OwnCodeFailed(Exception):  # noqa: N818 - it travels; the driver makes a `CodeError` of it
    """Code of the user's raised something: the sentence, and Python's own words."""


class Worker:
    """What the actor does when it is asked."""

    def __init__(self, number: int) -> None:
        self._number = number
        os.environ.pop("OMP_NUM_THREADS", None)  # Ray's own: a machine would use one core of all
        self._population: Any = None
        self._given: tuple[TrainingTable, TrainingRules] | None = None
        self._splits: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._forward: tuple[RowOrder, Any, Any] | None = None
        self._loading = threading.Lock()
        self._device: str | None = None
        self._names: dict[str, str] = {}  # where a file of the user's lies here -> its name

    def identity(self) -> dict[str, str]:
        """Its host, process and versions, as plain texts that any version understands."""
        return {"host": platform.node(), "pid": str(os.getpid()), **identity()}

    def begin(self, order: StudyOrder) -> dict[str, str]:
        """Import everything; returns kind, name and dtype of its device, and how it rounds.

        Raises:
            UserError: it has no such device, or the user's code is another one here.
        """
        from study.training.program_cache import keep_programs

        cache_dir = Path(order.cache_dir) if order.cache_dir else None
        keep_programs(cache_dir)
        from study.common.tensorflow import import_tensorflow

        import_tensorflow()
        from study.features.device import pick_device
        from study.training.rounding import rounding_digest

        self._device = order.device
        found = pick_device(order.device)
        self._names = load_code_files(order.code, cache_dir)
        return {**found._asdict(), "rounding": rounding_digest()}

    def look(self, function: Callable[[Path], Any], files: Sequence[Path]) -> list[Any]:
        """Results of a function for each file, or the UserError that it raised."""
        return list(map_in_threads(partial(_said, function), files))

    def rows(self, order: RowOrder, pictures: "RowSources") -> np.ndarray:
        """Rows of some images, (n, width) float32.

        Raises:
            UserError: an image is missing here or changed, or the weights are others.
        """
        for picture in pictures:
            if not picture.path.exists():
                raise UserError(
                    f"{picture.path} is not there on {platform.node()}, a machine of the cluster: "
                    f"{SAME_PATH}"
                )
        from study.features.extract import computed_rows

        with self._loading:  # parts come two at a time
            backbone, forward = self._pass(order)
        return np.concatenate(list(computed_rows(pictures, backbone, order.scales, forward)))

    def _pass(self, order: RowOrder) -> tuple[Any, Any]:
        """The backbone and its forward pass, made once."""
        if self._forward is None or self._forward[0] != order:
            from study.features.backbone import load_backbone
            from study.features.extract import forward_pass

            try:
                backbone = load_backbone(**order.base._asdict(), device=self._device)
            except UserError as error:
                raise UserError(f"{platform.node()}, a machine of the cluster: {error}") from None
            found = (backbone.digest, backbone.dtype)
            if found != (order.digest, order.dtype):
                raise UserError(
                    f"{platform.node()}, a machine of the cluster, has weights {found[0][:12]} in "
                    f"{found[1]}, but the study {order.digest[:12]} in {order.dtype}: install "
                    "the same everywhere, or name a file with `weights`"
                )
            self._forward = order, backbone, forward_pass(backbone)
        return self._forward[1:]

    def take(self, rules: "TrainingRules", *table: Any) -> None:
        """Keep what heads are trained on, the fields of a `TrainingTable`, and by which rules.

        No more images become rows then, so the base is let go.
        """
        from study.common.freed_memory import give_back
        from study.training.runs import TrainingTable

        self._forward = None
        give_back(cycles=True)
        found = TrainingTable(*table)
        self._given = found._replace(features=_writeable(found.features)), rules

    def best_size(self, space: "SearchSpace", train: np.ndarray, validation: np.ndarray) -> int:
        """Number of heads that are best trained at once here; see `heads_at_once`."""
        from study.training.population import heads_at_once

        return heads_at_once(self._of_size, space, train, validation)

    def prepare(self, size: int) -> tuple[int, int]:
        """Get ready for populations of a size; returns `side_by_side` and `busy` of the `Place`."""
        self._population = self._of_size(size)
        return self._population.side_by_side, self._population.busy

    def _of_size(self, size: int) -> Any:
        from study.training.population import LocalTrainer

        assert self._given is not None
        return LocalTrainer(*self._given, size)

    def train(self, runs: list[Any]) -> Trained:
        """Train a population, whose arrays and states are references."""
        known = [
            run._replace(
                train=self._split(run.train),
                validation=self._split(run.validation),
                state=_fetched(run.state),
            )
            for run in runs
        ]
        with _plain(self._names):
            results = self._population.submit(known).result()
        return Trained(
            [self._light(run, result) for run, result in zip(runs, results, strict=True)],
            self._population.compilations,
            self._population.compile_seconds,
        )

    def stop(self, patient: bool) -> None:
        """Give up what is under way."""
        self._population.stop(patient=patient)

    def _split(self, reference: Any) -> np.ndarray:
        """Row numbers, fetched once while they are in use."""
        import ray

        found = self._splits.pop(reference, None)
        if found is None:
            found = ray.get(reference)
        self._splits[reference] = found
        while len(self._splits) > SPLITS_KEPT:
            self._splits.popitem(last=False)
        return found

    def _light(self, run: Any, result: Any) -> Any:
        """A result without weights that nobody asked for; its state stays here."""
        import ray

        state = result.state
        if state is not None:
            state = StoredState(state.epoch, ray.put(state.packed), self._number)
        weights = result.best_weights if run.keep_weights else []
        return result._replace(state=state, best_weights=weights)


def _said(function: Callable[[Path], Any], path: Path) -> Any:
    try:
        return function(path)
    except UserError as error:
        return error


def _fetched(state: Any) -> Any:
    """The state of a run; None if it went with its worker, so the run begins at its first epoch."""
    import ray

    from study.training.runs import HeadState

    if state is None:
        return None
    try:
        return HeadState(state.epoch, ray.get(state.reference, timeout=60))
    except (ray.exceptions.ObjectLostError, ray.exceptions.GetTimeoutError):
        return None


class _Writeable:
    """The same memory, not marked as read-only; TensorFlow takes it as it is and writes nothing.

    Ray maps the rows from the machine's object store; a copy for each worker would double them.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows  # keeps the mapping
        self.__array_interface__ = {
            **rows.__array_interface__,
            "data": (rows.ctypes.data, False),
        }


def _writeable(rows: np.ndarray) -> np.ndarray:
    return np.asarray(_Writeable(rows))


@contextmanager
def _plain(names: dict[str, str]) -> Iterator[None]:
    """Raise errors that the driver can read, with its `names` of the user's files."""
    from study.space.own_optimizers import blamed
    from study.training.population import OUT_OF_MEMORY

    try:
        with blamed():
            yield
    except CodeError as error:
        texts = [str(error), "\n".join(error.traceback_lines())]
        for place, name in names.items():
            texts = [text.replace(place, name) for text in texts]
        raise OwnCodeFailed(*texts) from None
    except OUT_OF_MEMORY as error:
        raise MemoryError(str(error)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename) from None
    except Exception as error:
        if type(error).__module__.startswith(("tensorflow", "keras", "optimizer_study_code_")):
            raise RuntimeError("".join(traceback.format_exception(error))) from None
        raise
