"""A study on a real Ray cluster that is started here, on loopback: the same records, after kills.

python -m pytest tests/test_cluster.py -m slow    # 20 kills at random moments, ten minutes
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from study.common.errors import UserError
from study.features.row_cache import RowCache
from study.features.vgg16 import FEATURES
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.search.cluster.connect import cluster_address, connected
from study.search.cluster.fitness import check_identity
from study.search.cluster.worker import identity
from study.search.command_line import checked
from study.search.options import OPTIONS as OPTIONS_OF_SEARCH

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
    """Digest -> row of the feature cache, each of them once."""
    (folder,) = (top / "cache").glob("features-*/*")
    found = [
        (digest, row.tobytes())
        for digests, chunk in RowCache(folder, FEATURES).read()
        for digest, row in zip(digests, chunk, strict=True)
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


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


OPTIMIZER = """
import keras
from own_sign import sign_of


class SignMomentum(keras.optimizers.Optimizer):
    def build(self, variables):
        super().build(variables)
        self.averages = [self.add_variable_from_reference(v, "average") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        average = self.averages[self._get_variable_index(variable)]
        self.assign(average, 0.9 * average + 0.1 * gradient)
        self.assign_sub(variable, learning_rate * sign_of(average))
"""
SPACE = """
extends = "quick"
[head]
class_weight = "balanced"
[optimizers.mine]
class = "SignMomentum"
learning_rate = {min = 1e-4, max = 1e-1, scale = "log"}
"""


def listeners(pids: dict[int, str]) -> set[str]:
    """Addresses, in hex, on which these processes accept connections."""
    sockets = set()
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(str(path.readlink()))
            except OSError:
                continue  # it has just been closed
    tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    fields = [line.split() for line in tables.splitlines()]
    open_ones = [one for one in fields if one[3] == "0A" and f"socket:[{one[9]}]" in sockets]
    return {one[1].rpartition(":")[0] for one in open_ones}


def test_local_listens_on_loopback_ends_with_ctrl_c_and_is_resumed_without_a_cluster(
    tmp_path: Path,
) -> None:
    """Of rows, with an optimizer of the user's, class weights and another metric."""
    random = np.random.default_rng(3)
    y = random.integers(0, 3, 90)
    np.savez(tmp_path / "rows.npz", x=random.random((90, 16), np.float32) + y[:, None] / 3, y=y)
    (tmp_path / "own_sign.py").write_text("from keras.ops import sign as sign_of\n")
    (tmp_path / "mine.py").write_text(OPTIMIZER)
    (tmp_path / "mine.toml").write_text(SPACE)
    command = ["--features", tmp_path / "rows.npz", "--code", tmp_path / "mine.py"]
    command += ["--space", tmp_path / "mine.toml", "--optimizers", "sgd,mine"]
    command += ["--metric", "macro_f1"]
    finished(search(tmp_path / "here", *command))
    top = with_programs_of(tmp_path / "here", tmp_path / "there")
    process = search(top, *command, "--cluster", "local")
    eventually(lambda: lines(top), process)
    started = below(process.pid)
    assert any(name.startswith("ray::Worker") for name in started.values())
    assert listeners(started) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert "the same command resumes" in printed
    assert "Traceback" not in printed
    gone(set(started))
    before = lines(top)
    assert before < len(records(tmp_path / "here"))
    assert "rounding" in load_meta(top / "logs" / "night").device
    _, printed = finished(search(top, *command))
    assert "rounds otherwise" not in printed
    assert records(top) == records(tmp_path / "here")


@pytest.mark.parametrize("address", ["auto", "local", "10.0.0.7:6379", "ray://head.example:10001"])
def test_addresses(address: str) -> None:
    assert cluster_address(address) == address
    assert cluster_address("ray://head") == "ray://head:10001"


@pytest.mark.parametrize(
    "address", ["", "head", "head:0", "head:99999", "http://head:8265", "a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"`cluster`: received .*, but needs auto, local, "):
        checked(address, OPTIONS_OF_SEARCH["cluster"], "`cluster`")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # Python's way to say that there is none
    with pytest.raises(UserError, match=r"Ray, which is not installed: pip install .*\[cluster\]"):
        connected("local").__enter__()


def not_ray(server: socket.socket) -> None:
    with server.accept()[0] as asked:
        asked.sendall(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_where_no_ray_is_the_answer_is_quick(kind: str) -> None:
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{kind}127.0.0.1:{server.getsockname()[1]}"
        answering = threading.Thread(target=not_ray, args=[server])
        answering.start()
        with pytest.raises(UserError, match="what answers there is not Ray"):
            connected(address).__enter__()
        answering.join()
    with pytest.raises(UserError, match=r"nothing answers there .*`ray start --head`"):
        connected(address).__enter__()
    assert time.monotonic() - start < 10


def test_workers_with_other_versions_or_other_code_are_named() -> None:
    own = identity()
    check_identity(own, own)
    with pytest.raises(UserError, match=rf"another version of keras 1\.0, here {own['keras']}:"):
        check_identity(own | {"keras": "1.0"}, own)
    with pytest.raises(UserError, match=r"of program abc, here .* and numpy missing, here"):
        check_identity(own | {"program": "abc", "numpy": "missing"}, own)


@pytest.mark.slow
def test_kills_at_random_moments_change_no_record(
    picture_folder: Path, here: Path, tmp_path: Path, nodes: Nodes
) -> None:
    chance = random.Random(20)
    done = {"driver": 0, "worker": 0, "node": 0}
    studies = 0
    while sum(done.values()) < KILLS:
        top = with_programs_of(here, tmp_path / f"study{studies}")
        process = search(top, "--data", picture_folder, *IMAGES, "--cluster", nodes.address)
        for _ in range(4):
            pause = chance.uniform(0, 15)
            what = chance.choice(list(done))
            try:
                process.wait(pause)
                break
            except subprocess.TimeoutExpired:
                pass
            workers = nodes.workers()
            if what == "worker" and not workers:
                continue  # none has begun yet
            done[what] += 1
            if what == "driver":
                process.kill()
                process.communicate()
                process = search(top, "--data", picture_folder, *IMAGES, "--cluster", nodes.address)
            elif what == "worker":
                os.kill(chance.choice(workers), signal.SIGKILL)
            else:
                nodes.tell("remove")
                nodes.tell("0")
        finished(process)
        assert records(top) == records(here)
        assert rows(top) == rows(here)
        studies += 1
    print(f"{done} killed in {studies} studies")
