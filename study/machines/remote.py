"""A worker as the driver sees it: an actor that is asked, its errors in our own classes."""

import re
from concurrent.futures import Future
from typing import Any, Literal, NamedTuple

from study.common.errors import CodeError, UserError
from study.features.device import Dtype
from study.machines.worker import OwnCodeFailed, Worker
from study.training.places import PlaceLostError

AT_ONCE = 64  # calls that a worker is in: populations, images, being told to stop
WORDS = 300  # characters of what Ray says


class Likeness(NamedTuple):
    """What the workers of one study share."""

    kind: Literal["cpu", "gpu"]
    dtype: Dtype
    rounding: str  # of `rounding_digest`


class Remote:
    """A worker on a node of the cluster.

    Args:
        number: its own, among all that there were.
        node: Ray's id of the machine.
        needs: resources that it takes there, arguments of Ray's `options`.
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
        self.host = self.device = ""  # once it has said so
        self.likeness: Likeness | None = None
        self.told = 0  # orders
        self.waits_for = self.ask("identity")  # the last thing that it was asked to become ready

    def ask(self, method: str, *arguments: Any) -> Future[Any]:
        """Call it; the future raises PlaceLostError if it is gone."""
        answer: Future[Any] = Future()

        def ended(asked: Future[Any]) -> None:  # in a thread of Ray's
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
        """End its process, also one that does not answer."""
        import ray

        self.alive = False
        if ray.is_initialized():
            ray.kill(self._actor)


def _ours(error: BaseException) -> BaseException:
    """The error that a call of Ray raised, in our own classes."""
    import ray

    if isinstance(error, ray.exceptions.RayTaskError):  # raised in the worker
        error = error.cause
    if isinstance(error, OwnCodeFailed):
        sentence, trace = error.args
        found = CodeError(sentence)
        found.__cause__ = RuntimeError(f"in a worker:\n{trace}")
        return found
    if isinstance(error, ray.exceptions.ObjectStoreFullError | ray.exceptions.OutOfDiskError):
        return UserError(
            "`cluster`: the object store of a machine is full, and so is its disk; give it more "
            "(`ray start --object-store-memory`, in a container `--shm-size`)"
        )
    if isinstance(error, ray.exceptions.RayError):
        return PlaceLostError(_short(str(error)))
    return error


def _short(said: str) -> str:
    """The reason of a death out of a long text; of a failed start the line that names the error."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    if "creation task" in said:
        return lines[-1][:WORDS]
    words = " ".join(lines)
    reason = re.search(r"(?:dead|died) because ([^.]+)", words)
    return reason[1] if reason else words[:WORDS]
