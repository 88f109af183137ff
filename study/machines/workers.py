"""All workers of a study: started on every machine, checked, prepared, replaced.

A worker is used only if it runs this program in these versions and rounds as the others do, which
a few products find out (see `study.training.rounding`); any other is reported and left out. If a
worker is lost, or a machine joins, another worker is started.
"""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from study.common.errors import UserError, warn
from study.common.text import counted, join
from study.machines.connection import HeadNode
from study.machines.remote import Likeness, Remote
from study.machines.same_program import code_files, identity
from study.training.places import PlaceLostError

PATIENCE = 300.0  # seconds for the first worker: a shared disk is slow to import TensorFlow from
STRAGGLERS = 30.0  # seconds for the other workers, once the first is there
NODES_SECONDS = 5.0  # between two searches for machines without a worker
FREED = 10.0  # seconds in which Ray takes back the resources of a killed study
MOST_STARTS = 2  # workers that a machine may lose before they are ready
Orders = tuple[tuple[Any, ...], ...]  # calls that make a worker ready: (method, *arguments)


class Workers:
    """The workers of a study; Ray is connected.

    Args:
        device: see `pick_device`.
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
                f"`cluster`: no {kind} is free, of {total.get(kind, 0):g} in the cluster; wait for "
                "the work that runs there (`ray status` shows it)"
            )
        self._order = "gpu" if self._gpu else "cpu", cache_dir, code_files()
        self._identity = identity()
        self._remotes: list[Remote] = []
        self._numbers, self._lost = itertools.count(1), 0
        self._starts: Counter[str] = Counter()  # node -> workers lost before they were ready
        self._refused: dict[str, str] = {}  # node -> why
        self._like: Likeness | None = None
        self._orders: Orders = ()
        self._searched = -math.inf
        self._head = HeadNode(ray.get_runtime_context().gcs_address)
        self._start_missing()

    def choose(self, recorded: Mapping[str, Any]) -> None:
        """Wait for the workers and keep those of one kind that round alike.

        They must fit a `recorded` device; if it is empty, the majority decides. See `Machines`.
        """
        come = self._awaited(lambda remote: remote.likeness is not None, others=STRAGGLERS)
        groups = Counter(remote.likeness for remote in come if remote.likeness)
        kinds = [one for one in groups if _fits(one, recorded, ("kind", "dtype"))]
        alike = [one for one in kinds if _fits(one, recorded, ("rounding",))]
        self._like = max(alike or kinds or groups, key=lambda one: (groups[one], one))
        self._update()

    @property
    def like(self) -> Likeness:
        """What the workers that `choose` kept have in common."""
        assert self._like is not None
        return self._like

    def give(self, orders: Orders) -> None:
        """Make these calls what it takes from now on for a worker to be ready."""
        self._orders = orders

    def ready(self) -> list[Remote]:
        """Return the living workers that can be given work; wait for one.

        Raises:
            UserError: all workers were refused, or none comes.
        """
        return self._awaited(self._is_ready)

    def checked(self) -> list[Remote]:
        """Return the living workers with this program and these packages; wait for one.

        They can inspect files before they have TensorFlow, and before `choose`; see also `ready`.
        """
        return self._awaited(lambda remote: bool(remote.host))

    def has(self, number: int) -> bool:
        """Return whether the worker of this number is alive."""
        return any(remote.number == number and remote.alive for remote in self._remotes)

    def devices(self) -> str:
        """Return the workers' devices in words: "4 x NVIDIA H100, 1 x NVIDIA A100"."""
        counts = Counter(remote.device for remote in self._remotes if remote.likeness == self._like)
        return ", ".join(f"{count} x {name}" for name, count in counts.items())

    def words(self) -> str:
        """Return the number of workers, their devices, and the number of lost workers."""
        here = sum(remote.alive and remote.likeness == self._like for remote in self._remotes)
        lost = f", {self._lost} lost" if self._lost else ""
        return f"{counted(here, 'worker')} ({self.devices()}){lost}"

    def close(self) -> None:
        """End all workers."""
        for remote in self._remotes:
            remote.end()

    def _awaited(self, is_one: Callable[[Remote], bool], *, others: float = 0.0) -> list[Remote]:
        """Return the workers for which `is_one` holds, `others` seconds after the first at most."""
        end, late = time.monotonic() + PATIENCE, math.inf
        while True:
            self._update()
            found = [remote for remote in self._remotes if is_one(remote)]
            if found:
                late = min(late, time.monotonic() + others)
                if len(found) == len(self._remotes) or time.monotonic() >= late:
                    return found
            self._wait(end)

    def _wait(self, end: float) -> None:
        if not self._remotes:
            if reasons := sorted(set(self._refused.values())):
                raise UserError(f"`cluster`: no worker is left: {'; '.join(reasons)}")
            raise UserError("`cluster`: no machine of the cluster is left")
        if time.monotonic() > end:
            raise UserError(
                f"`cluster`: no worker was ready within {PATIENCE:.0f} s; `ray status` shows "
                "whether a CPU or GPU is free"
            )
        pending = [one.pending for one in self._remotes if not one.pending.done()]
        if pending:
            wait(pending, 1.0, FIRST_COMPLETED)

    def _update(self) -> None:
        """Read the workers' answers, drop lost workers, start others in their place."""
        before = len(self._remotes)
        for remote in [*self._remotes]:
            self._update_one(remote)
        if len(self._remotes) < before or time.monotonic() > self._searched + NODES_SECONDS:
            self._start_missing()

    def _update_one(self, remote: Remote) -> None:
        """Take a worker's next step towards being ready, or drop it."""
        try:
            if remote.alive and remote.pending.done():
                self._advance(remote, remote.pending)
        except PlaceLostError as error:
            remote.alive, remote.lost_why = False, str(error)
        except UserError as error:
            self._refused[remote.node] = f"{remote.host}: {error}"
            warn(f"the worker on {remote.host} is left out: {error}")
            self._remotes.remove(remote)
            remote.end()
            return
        if not remote.alive:
            self._remotes.remove(remote)
            self._lose(remote)

    def _advance(self, remote: Remote, answer: Future[Any]) -> None:
        """Use an answer and make the next call; a UserError is the reason to refuse the worker."""
        if not remote.host:
            found = dict(answer.result())
            remote.host = f"{found.pop('host')} (process {found.pop('pid')})"
            check_identity(found, self._identity)
            remote.pending = remote.ask("begin", *self._order)
        elif remote.likeness is None:
            device = dict(_usable(answer))
            remote.device, remote.likeness = device.pop("name"), Likeness(**device)
        elif self._like is not None and remote.likeness != self._like:
            raise UserError(_unlike(remote.likeness, self._like))
        elif self._like is not None:
            _usable(answer)
            if remote.orders_given < len(self._orders):
                remote.pending = remote.ask(*self._orders[remote.orders_given])
                remote.orders_given += 1

    def _is_ready(self, remote: Remote) -> bool:
        ready = remote.orders_given == len(self._orders) and remote.pending.done()
        return bool(remote.alive and remote.likeness == self._like and ready)

    def _lose(self, remote: Remote) -> None:
        remote.end()
        host = remote.host or "a machine of the cluster"
        if remote.likeness is not None:
            self._lost += 1
            words = f"was lost ({remote.lost_why}); its work is reassigned"
        else:
            self._starts[remote.node] += 1
            words = f"could not start ({remote.lost_why})"
            if self._starts[remote.node] >= MOST_STARTS:
                self._refused[remote.node] = f"{host}: it {words}"
        warn(f"the worker on {host} {words}")

    def _start_missing(self) -> None:
        """Start a worker on every GPU, or machine, that has none."""
        self._searched = time.monotonic()
        if not self._head.answers():
            return
        for node, needs, most in _capacities(gpu=self._gpu):
            here = sum(remote.node == node for remote in self._remotes)
            for _ in range(most - here if node not in self._refused else 0):
                self._remotes.append(Remote(next(self._numbers), node, needs))


def _is_free(kind: str) -> bool:
    """Return whether one of these resources is free, or will be soon."""
    import ray

    end = time.monotonic() + FREED
    while ray.available_resources().get(kind, 0) < 1:
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def _capacities(*, gpu: bool) -> Iterator[tuple[str, dict[str, float], int]]:
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
    """Return whether a worker equals a recorded device in these keys, as far as it has them."""
    return all(getattr(one, key) == recorded[key] for key in keys if key in recorded)


def _usable(answer: Future[Any]) -> Any:
    """Return a worker's answer; any error but its loss becomes a UserError, which refuses it."""
    try:
        return answer.result()
    except (UserError, PlaceLostError):
        raise
    except MemoryError as error:
        raise UserError("the rows do not fit into its memory") from error
    except Exception as error:
        raise UserError(f"it cannot start ({type(error).__name__}: {error})") from error


def check_identity(found: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Refuse a worker with another version of this program or a package, by its `identity`."""
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
    """Return how a worker differs from the others, in words."""
    if one[:2] != like[:2]:
        return (
            f"it computes on a {one.kind} in {one.dtype}, the others on a {like.kind} in "
            f"{like.dtype}"
        )
    return (
        f"it rounds differently from the others ({one.rounding}, the others {like.rounding}), so "
        "the last digits of its runs would differ: use machines with the same processor and number "
        "of threads"
    )
