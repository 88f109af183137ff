"""A worker as the driver sees it: an actor that answers calls, its errors in our own classes."""

import re
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple

from study.common.errors import CodeError, UserError
from study.features.device import Dtype
from study.machines.worker import OwnCodeFailed, Worker
from study.training.places import PlaceLostError

AT_ONCE = 64  # calls that a worker handles concurrently: populations, images, `stop`
MOST_LETTERS = 300  # of a message of Ray's


class Likeness(NamedTuple):
    """What the workers of one study have in common."""

    kind: Literal["cpu", "gpu"]
    dtype: Dtype
    rounding: str  # the `rounding_digest`


class Remote:
    """A worker on a node of the cluster.

    Args:
        number: of the worker, among all that were ever started.
        node: Ray's id of the machine.
        needs: resources that the worker takes there, arguments of Ray's `options`.
    """

    def __init__(self, number: int, node: str, needs: dict[str, float]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.number, self.node = number, node
        self._actor: Any = (
            ray.remote(Worker)
            .options(
                **needs,
                max_restarts=0,
                max_concurrency=AT_ONCE,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(number)
        )
        self.alive, self.lost_why = True, ""
        self.host = self.device = ""  # until the worker reports them
        self.likeness: Likeness | None = None
        self.orders_given = 0
        self.pending = self.ask("identity")  # the last call on the worker's way to being ready

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of the worker; the future raises PlaceLostError if the worker is lost."""
        answer: Future[Any] = Future()

        def ended(asked: Future[Any]) -> None:  # called in a thread of Ray's
            error = asked.exception()
            if error is None:
                answer.set_result(asked.result())
                return
            ours = _ours(error)
            if isinstance(ours, PlaceLostError):
                self.alive, self.lost_why = False, str(ours)
            answer.set_exception(ours)

        getattr(self._actor, method).remote(*arguments).future().add_done_callback(ended)
        return answer

    def end(self) -> None:
        """End the worker's process, even if it does not answer."""
        import ray

        self.alive = False
        if ray.is_initialized():
            ray.kill(self._actor)


def _ours(error: BaseException) -> BaseException:
    """Return the error of a call of Ray's in our own classes."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):  # raised in the worker
        error = error.cause
    if isinstance(error, OwnCodeFailed):
        message, trace = error.args
        found = CodeError(message)
        found.__cause__ = RuntimeError(f"in a worker:\n{trace}")
        return found
    if isinstance(error, ray.exceptions.ObjectStoreFullError | ray.exceptions.OutOfDiskError):
        return UserError(
            "`cluster`: the object store of a machine is full, and so is its disk; give it more "
            "memory (`ray start --object-store-memory`, in a container `--shm-size`)"
        )
    if isinstance(error, ray.exceptions.RayError):
        return PlaceLostError(_reason(str(error)))
    return error


def _reason(message: str) -> str:
    """Return why a worker was lost; if it failed to start, the last line of Ray's message."""
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    if "creation task" in message:
        return lines[-1][:MOST_LETTERS]
    words = " ".join(lines)
    reason = re.search(r"(?:dead|died) because ([^.]+)", words)
    return reason[1] if reason else words[:MOST_LETTERS]
