"""All workers of a study: begun on every machine, checked, told what it is of, replaced.

A worker is taken only if it runs this program in these versions and rounds as the others do (a
tiny training says so, see `study.training.rounding`); others are named and left out. Where one is
lost, or a machine joins, another begins.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from study.common.errors import UserError
from study.common.text import counted, join
from study.machines.connection import HeadNode
from study.machines.remote import Likeness, Remote
from study.machines.same_program import code_files, identity
from study.machines.worker import StudyOrder
from study.training.places import PlaceLostError

PATIENCE = 300.0  # seconds for the first worker: TensorFlow comes slowly from a shared disk
STRAGGLERS = 30.0  # seconds for the others, once the first is there
LOOK_AROUND = 5.0  # seconds after which the machines are looked at again
FREED = 10.0  # seconds in which Ray takes back what a killed study had
MOST_STARTS = 2  # workers that a machine may lose before they are ready
Orders = tuple[tuple[Any, ...], ...]  # calls that make a worker ready, one after the other


class Workers:
    """The workers of a study; Ray is connected.

    Args:
        device: `cpu`, `gpu` or None, as for `pick_device`.
        cache_dir: of compiled programs on every machine; None: its user's.

    Raises:
        UserError: nothing on the cluster is free, or it has no GPU.
    """

    def __init__(self, device: str | None, cache_dir: str | None) -> None:
        import ray

        total = ray.cluster_resources()
        self._gpu = device != "cpu" and total.get("GPU", 0) >= 1
        kind = "GPU" if self._gpu else "CPU"
        if device == "gpu" and not self._gpu:
            raise UserError("`device` gpu: no machine of the cluster has a GPU that Ray knows of")
        if not _is_free(kind):
            raise UserError(
                f"`cluster`: no {kind} of the cluster is free, of {total.get(kind, 0):g}; wait for "
                "what runs there (`ray status` shows it)"
            )
        self._order = StudyOrder("gpu" if self._gpu else "cpu", cache_dir, code_files())
        self._identity = identity()
        self._remotes: list[Remote] = []
        self._numbers = self.lost = 0
        self._starts: Counter[str] = Counter()  # node -> workers lost before they were ready
        self._refused: dict[str, str] = {}  # node -> why
        self._like: Likeness | None = None
        self._orders: Orders = ()
        self._looked = float("-inf")
        self._head = HeadNode(ray.get_runtime_context().gcs_address)
        self._look_around()

    def choose(self, recorded: Mapping[str, Any]) -> None:
        """Wait for the workers; take those of one kind that round alike.

        Args:
            recorded: the device of the study that is continued, if there is one, which they have
                to fit; else most of them decide.

        Raises:
            UserError: there is no worker, or none that may go on with the study.
        """
        groups = Counter(one.likeness for one in self._all_that_come() if one.likeness)
        kinds = [one for one in groups if _fits(one, recorded, ("kind", "dtype"))]
        alike = [one for one in kinds if _fits(one, recorded, ("rounding",))]
        if kinds and not alike:
            raise UserError(
                "`cluster`: no worker rounds as those did that made the runs of this study "
                f"(rounding {recorded['rounding']}, here "
                f"{join(sorted(one.rounding for one in kinds))}): use machines and versions as "
                "before, or give the new study a `name`"
            )
        self._like = max(alike or groups, key=lambda one: (groups[one], one))
        self._look()

    @property
    def like(self) -> Likeness:
        """What the workers that `choose` took share."""
        assert self._like is not None
        return self._like

    def give(self, orders: Orders) -> None:
        """From now on a worker is ready once it was told this: (method, *arguments) each."""
        self._orders = orders

    def ready(self) -> list[Remote]:
        """The living workers that can be given work; waits for one.

        Raises:
            UserError: all were refused, or none comes.
        """
        return self._some(self._is_ready)

    def checked(self) -> list[Remote]:
        """The living workers with this program and these packages; waits for one.

        They can look at files before there is TensorFlow, and before `choose`.

        Raises:
            UserError: as `ready`.
        """
        return self._some(lambda remote: bool(remote.host))

    def has(self, number: int) -> bool:
        """Whether the worker of this number is alive."""
        return any(remote.number == number and remote.alive for remote in self._remotes)

    def devices(self) -> str:
        """Devices of the workers in words: "4 x NVIDIA H100, 1 x NVIDIA A100"."""
        counts = Counter(remote.device for remote in self._remotes if remote.likeness == self._like)
        return ", ".join(f"{count} x {name}" for name, count in counts.items())

    def words(self) -> str:
        """Number of workers, their devices, the number of lost ones."""
        here = sum(remote.alive and remote.likeness == self._like for remote in self._remotes)
        lost = f", {self.lost} lost" if self.lost else ""
        return f"{counted(here, 'worker')} ({self.devices()}){lost}"

    def close(self) -> None:
        """End all workers."""
        for remote in self._remotes:
            remote.end()

    def _all_that_come(self) -> list[Remote]:
        """The workers that have said what they are; the others join later."""
        patience, first = time.monotonic() + PATIENCE, 0.0
        while True:
            self._look()
            come = [remote for remote in self._remotes if remote.likeness]
            first = first or (time.monotonic() if come else 0.0)
            late = first and time.monotonic() > first + STRAGGLERS
            if come and (late or len(come) == len(self._remotes)):
                return come
            self._wait(patience)

    def _some(self, is_one: Callable[[Remote], bool]) -> list[Remote]:
        patience = time.monotonic() + PATIENCE
        while True:
            self._look()
            if found := [remote for remote in self._remotes if is_one(remote)]:
                return found
            self._wait(patience)

    def _wait(self, patience: float) -> None:
        if not self._remotes:
            if reasons := sorted(set(self._refused.values())):
                raise UserError(f"`cluster`: no worker is left: {'; '.join(reasons)}")
            raise UserError("`cluster`: no machine of the cluster is left to work on")
        if time.monotonic() > patience:
            raise UserError(
                f"`cluster`: no worker was ready within {PATIENCE:.0f} s; `ray status` shows "
                "whether a CPU or GPU is free"
            )
        pending = [one.waits_for for one in self._remotes if not one.waits_for.done()]
        if pending:
            wait(pending, 1.0, FIRST_COMPLETED)

    def _look(self) -> None:
        """Hear what workers say, drop lost ones, begin others in their place."""
        before = len(self._remotes)
        for remote in [*self._remotes]:
            self._hear(remote)
        if len(self._remotes) < before or time.monotonic() > self._looked + LOOK_AROUND:
            self._look_around()

    def _hear(self, remote: Remote) -> None:
        """Let a worker go on with what makes it ready, or take it out."""
        try:
            if remote.alive and remote.waits_for.done():
                self._go_on(remote, remote.waits_for)
        except PlaceLostError as error:
            remote.alive, remote.lost_why = False, str(error)
        except UserError as error:
            self._refuse(remote, str(error))
            return
        if not remote.alive:
            self._remotes.remove(remote)
            self._lose(remote)

    def _go_on(self, remote: Remote, answer: "Future[Any]") -> None:
        """See an answer, ask the next.

        Raises:
            UserError: it cannot be used.
            PlaceLostError: it is gone.
        """
        if not remote.host:
            found = dict(answer.result())
            remote.host = f"{found.pop('host')} (process {found.pop('pid')})"
            check_identity(found, self._identity)
            remote.waits_for = remote.ask("begin", self._order)
        elif remote.likeness is None:
            device = dict(_told(answer))
            remote.device, remote.likeness = device.pop("name"), Likeness(**device)
        elif self._like is not None and remote.likeness != self._like:
            raise UserError(_unlike(remote.likeness, self._like))
        elif self._like is not None:
            _told(answer)
            if remote.told < len(self._orders):
                remote.waits_for = remote.ask(*self._orders[remote.told])
                remote.told += 1

    def _is_ready(self, remote: Remote) -> bool:
        ready = remote.told == len(self._orders) and remote.waits_for.done()
        return bool(remote.alive and remote.likeness == self._like and ready)

    def _lose(self, remote: Remote) -> None:
        remote.end()
        host = remote.host or "a machine of the cluster"
        if remote.likeness is not None:
            self.lost += 1
            words = "was lost ({}); what it was doing is dealt out again"
        else:
            self._starts[remote.node] += 1
            words = "could not begin ({})"
            if self._starts[remote.node] >= MOST_STARTS:
                self._refused[remote.node] = f"{host}: it could not begin ({remote.lost_why})"
        print(f"warning: the worker on {host} {words.format(remote.lost_why)}", file=sys.stderr)

    def _refuse(self, remote: Remote, why: str) -> None:
        self._refused[remote.node] = f"{remote.host}: {why}"
        print(f"warning: the worker on {remote.host} is left out: {why}", file=sys.stderr)
        self._remotes.remove(remote)
        remote.end()

    def _look_around(self) -> None:
        """Begin a worker on every GPU, or machine, that has none.

        Raises:
            UserError: the head of the cluster is lost.
        """
        self._looked = time.monotonic()
        if not self._head.answers():
            return
        for node, needs, wanted in _places_to_begin(gpu=self._gpu):
            here = sum(remote.node == node for remote in self._remotes)
            for _ in range(wanted - here if node not in self._refused else 0):
                self._numbers += 1
                self._remotes.append(Remote(self._numbers, node, needs))


def _is_free(kind: str) -> bool:
    """Whether one of these resources is free, or will be soon."""
    import ray

    end = time.monotonic() + FREED
    while ray.available_resources().get(kind, 0) < 1:
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _places_to_begin(*, gpu: bool) -> Iterator[tuple[str, dict[str, float], int]]:
    """Yield (node, resources of a worker, number of workers) of every node that can have workers.

    A worker computes on a whole GPU, which TensorFlow cannot share, or on all cores of a machine.
    """
    import ray

    for node in ray.nodes():
        has = node["Resources"]
        cpus, gpus = has.get("CPU", 0.0), int(has.get("GPU", 0.0))
        if node["Alive"] and gpu and gpus:
            yield node["NodeID"], {"num_gpus": 1, "num_cpus": cpus // gpus}, gpus
        elif node["Alive"] and not gpu and cpus >= 1:
            yield node["NodeID"], {"num_cpus": cpus}, 1


def _fits(one: Likeness, recorded: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    """Whether a worker is what `recorded` says, as far as it does."""
    return all(getattr(one, key) == recorded.get(key, getattr(one, key)) for key in keys)


def _told(answer: Future[Any]) -> Any:
    """The answer of a worker; whatever goes wrong before it can work refuses it.

    Raises:
        UserError: it cannot begin.
        PlaceLostError: it is gone.
    """
    try:
        return answer.result()
    except (UserError, PlaceLostError):
        raise
    except MemoryError as error:
        raise UserError("the rows do not fit into its memory") from error
    except Exception as error:
        raise UserError(f"it cannot begin ({type(error).__name__}: {error})") from error


def check_identity(found: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Compare what `identity` says on a worker and here.

    Raises:
        UserError: the worker has another version of this program or a package.
    """
    other = [
        f"{name} {found.get(name)}, here {own[name]}"
        for name in own
        if found.get(name) != own[name]
    ]
    if other:
        raise UserError(
            f"it has another version of {join(other)}: install the same program and packages on "
            "every machine"
        )


def _unlike(one: Likeness, like: Likeness) -> str:
    """How a worker differs from the others, in words."""
    if one[:2] != like[:2]:
        return (
            f"it computes on a {one.kind} in {one.dtype}, the others on a {like.kind} in "
            f"{like.dtype}"
        )
    return (
        f"it rounds otherwise than the others ({one.rounding}, they {like.rounding}), so its runs "
        "would differ in their last digits: another processor, or another number of threads"
    )
