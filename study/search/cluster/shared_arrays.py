"""Arrays in Ray's object store: put there once, fetched by each machine once."""

import sys
from collections import OrderedDict
from typing import Any

import numpy as np

from study.search.cluster.worker import SPLITS_KEPT

FULL = 0.8  # of an object store that rows may take
MB = 1e6


class SharedArrays:
    """References of arrays, by identity; the last ones are kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[np.ndarray, Any]] = OrderedDict()

    def reference(self, rows: np.ndarray) -> Any:
        """Where an array lies that is used again and again, and never changed."""
        import ray

        found = self._known.pop(id(rows), None) or (rows, ray.put(rows))
        self._known[id(rows)] = found
        while len(self._known) > SPLITS_KEPT:
            self._known.popitem(last=False)
        return found[1]


def warn_of_small_stores(features: np.ndarray) -> None:
    """Say where rows will not stay in memory: Ray then spills to the disk, many times slower."""
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
