"""Time and memory of training against the number of feature rows: both grow in proportion.

    python tests/benchmarks/scale.py [--rows 1000 10000 100000 1000000]

Each size runs in a process of its own: synthetic rows (N, 512), 17 classes, a fifth of them for
validation, 4 heads with Adam, batch 256, 2 epochs. Peak memory is what the process needs beyond
one with 1,000 rows. The last line keeps the rows on the disk (memory-mapped) as a machine with too
little memory does. Takes about five minutes. Against the number of runs: `many_records.py`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

CLASSES, HEADS, EPOCHS, BATCH = 17, 4, 2, 256
MIB = 2**20


def train(count: int, on_disk: bool) -> dict[str, float]:
    """Make the rows, train, and say what it took."""
    import numpy as np

    from study.data.rows.row_room import feature_rows
    from study.space.search_space import load_space
    from study.training.population import LocalTrainer
    from study.training.runs import HeadRun, TrainingRules, TrainingTable

    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, count).astype(np.int32)
    centres = rng.normal(size=(CLASSES, 512)).astype(np.float32)
    features = feature_rows(count, 512, None, memory=1 if on_disk else None)
    for at in range(0, count, 10_000):
        part = labels[at : at + 10_000]
        features[at : at + len(part)] = centres[part]
        features[at : at + len(part)] += rng.normal(size=(len(part), 512)).astype(np.float32)
    config = replace(load_space("default").default("adam"), batch_size=BATCH)
    rows = rng.permutation(count).astype(np.int32)
    validation, training = rows[: count // 5], rows[count // 5 :]
    table = TrainingTable(features, labels, CLASSES)
    population = LocalTrainer(table, TrainingRules(EPOCHS), HEADS)
    runs = [HeadRun(config, training, validation, seed, EPOCHS) for seed in range(1, HEADS + 1)]
    start = time.perf_counter()
    results = [result for found in population.train(runs) for _, result in found]
    seconds = time.perf_counter() - start - population.compile_seconds
    return {
        "seconds": seconds / EPOCHS / HEADS,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "anonymous": anonymous(),
        "accuracy": float(np.mean([result.metrics.val_accuracy[-1] for result in results])),
    }


def anonymous() -> float:
    """Bytes of memory now that no file stands behind (Linux)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return sum(float(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def in_own_process(count: int, on_disk: bool) -> dict[str, float]:
    """The figures of one size."""
    command = [sys.executable, __file__, "--one", str(count), *(["--on-disk"] if on_disk else [])]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(printed.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=int)
    parser.add_argument("--on-disk", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(train(options.one, options.on_disk)))
        return
    least = in_own_process(1000, False)
    print("     rows  s an epoch and head   us a row   features MiB  peak beyond MiB  ratio")
    for count, on_disk in [*((count, False) for count in options.rows), (options.rows[-1], True)]:
        found = in_own_process(count, on_disk)
        size = count * 512 * 4
        extra = found["anonymous" if on_disk else "memory"] - least["memory"]
        if on_disk:
            extra = found["anonymous"] - least["anonymous"]
        print(
            f"{count:9,}  {found['seconds']:19.3f}  {found['seconds'] / count * 1e6:9.2f}  "
            f"{size / MIB:13.0f}  {extra / MIB:15.0f}  {extra / size:5.2f}"
            + ("  on disk; memory that no file stands behind, at the end" if on_disk else "")
        )


if __name__ == "__main__":
    main()
