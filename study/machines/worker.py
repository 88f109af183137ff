"""The actor: a `LocalTrainer` and a backbone in a process of Ray's, on any machine.

Heavy libraries are imported in its own process, when `begin` is called. Rows, splits and states
come as references into Ray's object store, and states go back as such, so a machine fetches each
array once. Errors are raised in plain classes, because classes of TensorFlow's or of the user's
need not exist on the driver.
"""

import functools
import os
import platform
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from study.common.bases import BaseChoice
from study.common.errors import CodeError, UserError
from study.data.load_images import map_in_threads
from study.machines.same_program import CodeFile, identity, load_code_files

if TYPE_CHECKING:
    from study.data.pixels.deep_grey import Scales
    from study.features.extract import RowSource
    from study.space.search_space import SearchSpace
    from study.training.runs import HeadState, TrainingRules, TrainingTable

SPLITS_KEPT = 64  # arrays of row numbers
SAME_PATH = "images must have the same path on every machine, e.g. on a shared disk"


class RowOrder(NamedTuple):
    """How images become rows."""

    base: BaseChoice
    digest: str  # of the driver's weights
    dtype: str
    scales: "Scales"


class StoredState(NamedTuple):
    """A `HeadState` that stays in its worker's store."""

    epoch: int
    reference: Any  # Ray's, of the state's parts
    worker: int  # number of the worker, with which the state is lost


class Trained(NamedTuple):
    """A population's results, their states stored."""

    results: list[Any]
    compilations: int
    compile_seconds: float


class OwnCodeFailed(Exception):  # noqa: N818 - the driver makes a `CodeError` of it
    """The user's code raised an error: the message, and Python's traceback."""


class Worker:
    """The methods that the driver calls."""

    def __init__(self, number: int) -> None:
        self._number = number
        os.environ.pop("OMP_NUM_THREADS", None)  # set by Ray, so that one core would do all work
        self._trainer: Any = None
        self._given: tuple[TrainingTable, TrainingRules] | None = None
        self._forward: tuple[RowOrder, Any, Any] | None = None
        self._loading = threading.Lock()
        self._device: str | None = None
        self._names: dict[str, str] = {}  # path of a user's file here -> its name

    def identity(self) -> dict[str, str]:
        """Return host, process and versions, as plain texts that any version understands."""
        return {"host": platform.node(), "pid": str(os.getpid()), **identity()}

    def begin(
        self, device: str | None, cache_dir: str | None, code: tuple[CodeFile, ...]
    ) -> dict[str, str]:
        """Import everything; return kind, name and dtype of the device, and how it rounds.

        Programs and code are kept in `cache_dir`; None: in its user's.

        Raises:
            UserError: there is no such device, or the user's code differs from the driver's.
        """
        from study.training.program_cache import keep_programs

        folder = Path(cache_dir) if cache_dir else None
        keep_programs(folder)
        from study.common.tensorflow import import_tensorflow

        import_tensorflow()
        from study.features.device import pick_device
        from study.training.rounding import rounding_digest

        self._device = device
        found = pick_device(device)
        self._names = load_code_files(code, folder)
        return {**found._asdict(), "rounding": rounding_digest()}

    def inspect(self, function: Callable[[Path], Any], files: Sequence[Path]) -> list[Any]:
        """Return the result of a function for each file, or the UserError that it raised."""
        return list(map_in_threads(functools.partial(_result, function), files))

    def rows(self, order: RowOrder, sources: Sequence["RowSource"]) -> Float32[np.ndarray, "n d"]:
        """Return the rows of some images.

        Raises:
            UserError: an image is missing here or has changed, or the weights are others.
        """
        for source in sources:
            if not source.path.exists():
                raise UserError(
                    f"{source.path} does not exist on {platform.node()}, a machine of the cluster: "
                    f"{SAME_PATH}"
                )
        from study.features.extract import computed_rows

        with self._loading:  # two bundles come at a time
            backbone, forward = self._pass(order)
        return np.concatenate(list(computed_rows(sources, backbone, order.scales, forward)))

    def _pass(self, order: RowOrder) -> tuple[Any, Any]:
        """Return the backbone and its forward pass, which are made once."""
        if self._forward is None or self._forward[0] != order:
            from study.features.backbone import load_backbone
            from study.features.extract import forward_pass

            here = f"{platform.node()}, a machine of the cluster"
            try:
                backbone = load_backbone(**order.base._asdict(), device=self._device)
            except UserError as error:
                raise UserError(f"{here}: {error}") from None
            if (backbone.digest, backbone.dtype) != (order.digest, order.dtype):
                raise UserError(
                    f"{here}, has weights {backbone.digest[:12]} in {backbone.dtype}, but the "
                    f"study has {order.digest[:12]} in {order.dtype}: install the same weights on "
                    "every machine, or give `weights` a file"
                )
            self._forward = order, backbone, forward_pass(backbone)
        return self._forward[1:]

    def take(self, rules: "TrainingRules", *table: Any) -> None:
        """Keep the fields of a `TrainingTable`, on which heads are trained, and the rules.

        From then on no more images become rows, so the base is freed.
        """
        from study.common.freed_memory import give_back
        from study.training.runs import TrainingTable

        self._forward = None
        give_back(cycles=True)
        found = TrainingTable(*table)
        self._given = found._replace(features=_writeable(found.features)), rules

    def best_size(self, space: "SearchSpace", *first: Int[np.ndarray, " _"]) -> int:
        """Return the number of heads that train together fastest here; see `heads_at_once`."""
        from study.training.population import heads_at_once

        return heads_at_once(self._of_size, space, *first)

    def prepare(self, size: int) -> tuple[int, int]:
        """Get ready for populations of a size; return `side_by_side` and `busy` of the `Place`."""
        self._trainer = self._of_size(size)
        return self._trainer.side_by_side, self._trainer.busy

    def _of_size(self, size: int) -> Any:
        from study.training.population import LocalTrainer

        assert self._given is not None
        return LocalTrainer(*self._given, size)

    def train(self, runs: list[Any]) -> Trained:
        """Train a population, whose arrays and states are references."""
        fetched = [_fetched(run) for run in runs]
        with _plain_errors(self._names):
            results = self._trainer.submit(fetched).result()
        return Trained(
            [self._light(run, result) for run, result in zip(runs, results, strict=True)],
            self._trainer.compilations,
            self._trainer.compile_seconds,
        )

    def stop(self, patient: bool) -> None:
        """Give up what is under way."""
        self._trainer.stop(patient=patient)

    def _light(self, run: Any, result: Any) -> Any:
        """Return a result without weights that are not needed; its state stays here."""
        import ray

        state = result.state
        stored = state and StoredState(state.epoch, ray.put(state.packed), self._number)
        weights = result.weights if run.keep_weights else []
        return result._replace(state=stored, weights=weights)


def _result(function: Callable[[Path], Any], path: Path) -> Any:
    try:
        return function(path)
    except UserError as error:
        return error


def _fetched(run: Any) -> Any:
    """Return a run with arrays in place of references."""
    train, validation = _row_numbers(run.train), _row_numbers(run.validation)
    return run._replace(train=train, validation=validation, state=run.state and _state(run.state))


@functools.lru_cache(maxsize=SPLITS_KEPT)
def _row_numbers(reference: Any) -> Int[np.ndarray, " n"]:
    import ray

    rows: np.ndarray = ray.get(reference)
    return rows


def _state(stored: StoredState) -> "HeadState | None":
    """Return a state; None if it was lost with its worker: the run starts at its first epoch."""
    import ray

    from study.training.runs import HeadState

    try:
        return HeadState(stored.epoch, ray.get(stored.reference, timeout=60))
    except (ray.exceptions.ObjectLostError, ray.exceptions.GetTimeoutError):
        return None


def _writeable(rows: Float32[np.ndarray, "R d"]) -> Float32[np.ndarray, "R d"]:
    """Return the same memory, not marked as read-only; TensorFlow then takes it without a copy.

    Ray maps the rows from the machine's object store, which nobody writes; a copy for each worker
    would double them.
    """
    interface = rows.__array_interface__ | {"data": (rows.ctypes.data, False)}
    # the array refers to this object, which keeps the mapping
    return np.asarray(SimpleNamespace(__array_interface__=interface, rows=rows))


@contextmanager
def _plain_errors(names: dict[str, str]) -> Iterator[None]:
    """Raise errors that the driver can read, with its own `names` of the user's files."""
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
