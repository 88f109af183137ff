"""Milliseconds a population: in this process, on one Ray worker, on two; starts stand apart.

    python tests/benchmarks/cluster.py [--populations 200]

Ray runs on this machine, on loopback; the second worker is on a second node of it. So two workers
share the cores that one has, and what is seen is what Ray costs, not what more machines gain. Small
populations (an epoch of 64 rows) are the worst case, large ones (9 epochs of 1,440 x 512 rows) are
those of the documented studies. Programs are compiled before. Takes two minutes.
"""

import argparse
import os
import time
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import numpy as np

from study.common.metrics import ACCURACY
from study.common.tensorflow import import_tensorflow
from study.machines.cluster import ClusterTrainer
from study.machines.connection import connected
from study.machines.machines import TrainerOrder
from study.machines.workers import Workers
from study.space.search_space import load_space
from study.training.places import Trainer
from study.training.population import LocalTrainer
from study.training.program_cache import keep_programs
from study.training.program_key import WIDTHS
from study.training.runs import HeadRun, TrainingRules, TrainingTable

CLASSES, FEATURES, HEADS, EPOCHS = 17, 512, 2, 9
SMALL, LARGE = (64, 16, 1), (1440, 360, EPOCHS)  # rows to train on, to validate, epochs
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 200 * 2**20}


def runs_of(size: tuple[int, int, int], populations: int) -> list[HeadRun]:
    """Runs of one signature that fill so many populations."""
    train, validation, epochs = size
    rows = np.arange(train + validation, dtype=np.int32)
    config = load_space("default").default("adam")
    return [
        HeadRun(config, rows[:train], rows[train:], seed, epochs, pauses=False, keep_weights=False)
        for seed in range(1, HEADS * populations + 1)
    ]


def milliseconds(trainer: Trainer, runs: Sequence[HeadRun]) -> float:
    """A population, with as many under way as a study has; compiled and warmed up before."""
    list(trainer.train(runs[: HEADS * 16]))
    start = time.perf_counter()
    list(trainer.train(runs))
    return (time.perf_counter() - start) / len(runs) * HEADS * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--populations", type=int, default=200)
    count = parser.parse_args().populations
    keep_programs(None)
    import_tensorflow()
    random = np.random.default_rng(1)
    features = random.random((sum(LARGE[:2]), FEATURES), np.float32)
    labels = random.integers(0, CLASSES, len(features)).astype(np.int32)
    table = TrainingTable(features, labels, CLASSES)
    rules = TrainingRules(EPOCHS, WIDTHS, (), ACCURACY)
    space = load_space("default")
    nothing = np.zeros(0, np.int32)  # is only timed where the number of heads is to be found out
    kinds = {"small": runs_of(SMALL, count), "large": runs_of(LARGE, max(count // 10, 16))}
    here = LocalTrainer(table, rules, HEADS)
    local = {kind: milliseconds(here, runs) for kind, runs in kinds.items()}
    print(f"this process: {_words(local, local)}")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    for count in (1, 2):
        if count == 2:
            cluster.add_node(**NODE)
        with connected(cluster.address):
            start = time.perf_counter()
            workers = Workers("cpu", None)
            workers.choose({})
            trainer = ClusterTrainer(
                workers, TrainerOrder(table, rules, space, (nothing, nothing), HEADS)
            )
            while len(trainer.places()) < count:
                time.sleep(0.1)
            began = time.perf_counter() - start
            found = {kind: milliseconds(trainer, runs) for kind, runs in kinds.items()}
            print(f"{workers.words()}, begun in {began:.0f} s: {_words(found, local)}")
            workers.close()
    cluster.shutdown()
    again = {kind: milliseconds(here, runs) for kind, runs in kinds.items()}
    print(f"this process once more: {_words(again, local)}")


def _words(found: dict[str, float], local: dict[str, float]) -> str:
    return ", ".join(
        f"{kind} {value:.1f} ms (x {value / local[kind]:.2f})" for kind, value in found.items()
    )


if __name__ == "__main__":
    main()
