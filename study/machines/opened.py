"""An address comes in, machines come out; workers and connections end with the context."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.machines.cluster import Cluster
from study.machines.connection import connected
from study.machines.here import Here
from study.machines.machines import Machines
from study.machines.workers import Workers


@contextmanager
def opened(address: str | None, device: str | None, cache_dir: Path | None) -> Iterator[Machines]:
    """Yield the machines of a study: a cluster's, or without an `address` this process.

    Compiled programs are in `cache_dir` on every machine; None: in its user's. For errors see
    `connected`, `Workers` and `pick_device`.
    """
    if address is None:
        yield Here(device)
        return
    with connected(address):
        workers = Workers(device, str(cache_dir.absolute()) if cache_dir else None)
        try:
            yield Cluster(workers)
        finally:
            workers.close()
