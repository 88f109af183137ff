"""A study on a real Ray cluster that is started here, on loopback: the same records, after kills.

    python -m pytest tests/test_cluster.py -m slow    # 20 kills at random moments, ten minutes
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.common.errors import UserError
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.search.cluster.connect import cluster_address, connected

KILLS = int(os.environ.get("KILLS", "20"))
WAIT = 120.0  # seconds for anything that is bound to happen
OPTIONS = ["--space", "quick", "--optimizers", "sgd,adam", "--repeats", "2", "--confirm", "2"]
OPTIONS += ["--max-epochs", "9", "--population", "4", "--name", "night"]
IMAGES = ["--image-size", "32", "--weights", "random"]
NODES = """
import os, sys
from ray.cluster_utils import Cluster
node = dict(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=200 * 2**20)
cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
other = cluster.add_node(**node)
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "remove\\n":
        cluster.remove_node(other, allow_graceful=False)
    else:
        os.environ["TF_NUM_INTRAOP_THREADS"] = line.strip()
        other = cluster.add_node(**node)
    print("done", flush=True)
cluster.shutdown()
"""
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def environment() -> dict[str, str]:
    return os.environ | LOOPBACK | {"CUDA_VISIBLE_DEVICES": ""}


def below(pid: int) -> dict[int, str]:
    """Processes below one of this test's own -> how each was called."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(path.name)] = (path / "cmdline").read_text()
        except OSError:
            continue  # it has just ended
    found = {pid}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return {one: names[one] for one in found - {pid} if one in names}


def eventually(is_so: Callable[[], object], process: "subprocess.Popen[str] | None" = None) -> None:
    end = time.monotonic() + WAIT
    while not is_so():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def gone(pids: Iterator[int] | set[int]) -> None:
    """Wait until these processes have ended."""
    left = set(pids)
    eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in left))


class Nodes:
    """Two nodes of one CPU, as if they were machines."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NODES],
            env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.address = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        """ "remove" the second one without a farewell; a number adds one with so many threads."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._line() == "done"

    def processes(self) -> dict[int, str]:
        return below(self._process.pid)

    def workers(self) -> list[int]:
        found = self.processes().items()
        return sorted(pid for pid, name in found if name.startswith("ray::Worker"))

    def stop(self) -> None:
        started = set(self.processes())
        self._process.communicate(timeout=WAIT)  # its standard input ends, and it stops the nodes
        assert self._process.returncode == 0
        gone(started)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.stop()


def search(top: Path, *more: str | Path) -> "subprocess.Popen[str]":
    places = ["--logs", top / "logs", "--cache-dir", top / "cache"]
    return subprocess.Popen(
        [sys.executable, "-m", "study.search", *map(str, places), *OPTIONS, *map(str, more)],
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # a shell's background jobs, and so their children, ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def finished(process: "subprocess.Popen[str]") -> tuple[str, str]:
    printed, errors = process.communicate(timeout=2 * WAIT)
    assert process.returncode == 0, printed + errors
    return printed, errors


def records(top: Path) -> dict[str, TrialRecord]:
    found = load_trials(top / "logs" / "night")
    assert len({record.trial_id for record in found}) == len(found)
    return {record.trial_id: replace(record, seconds=0.0) for record in found}


def rows(top: Path) -> dict[str, bytes]:
    """Every chunk of the feature cache."""
    return {path.name: path.read_bytes() for path in (top / "cache").rglob("features-*/*/*.npy")}


def lines(top: Path) -> int:
    path = top / "logs" / "night" / "trials.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def here(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of images in one process."""
    top = tmp_path_factory.mktemp("here")
    finished(search(top, "--data", picture_folder, *IMAGES))
    return top


def with_programs_of(other: Path, top: Path) -> Path:
    """Compiled before: it saves these tests a minute."""
    (top / "cache").mkdir(parents=True)
    (top / "cache" / "programs").symlink_to(other / "cache" / "programs")
    return top


def test_lost_workers_nodes_and_drivers_change_no_record_and_no_row(
    picture_folder: Path, here: Path, tmp_path: Path, nodes: Nodes
) -> None:
    top = with_programs_of(here, tmp_path / "there")
    command = ["--data", picture_folder, *IMAGES, "--cluster", nodes.address]
    process = search(top, *command)
    eventually(lambda: list((top / "cache").glob("features-*")), process)
    os.kill(nodes.workers()[0], signal.SIGKILL)  # while images become rows
    eventually(lambda: lines(top), process)
    assert rows(top) == rows(here)  # every one of them, once
    nodes.tell("remove")
    before = lines(top)
    eventually(lambda: lines(top) > before, process)
    process.kill()
    assert " was lost" in process.communicate()[1]
    nodes.tell("1")  # it will round otherwise
    process = search(top, *command)
    eventually(lambda: lines(top) > len(records(here)) * 2 // 3, process)
    os.kill(nodes.workers()[0], signal.SIGKILL)
    printed, errors = finished(process)
    assert "is left out: it rounds otherwise than the others" in errors
    assert ", on 1 worker (1 x " in printed
    assert ", 1 lost" in printed
    assert records(top) == records(here)
    nodes.tell("remove")
    nodes.tell("0")  # TensorFlow's own number
