"""A study on a real Ray cluster that is started here, on loopback: the same records, after kills.

python -m pytest tests/test_cluster.py -m slow    # 20 kills at random moments, ten minutes
"""

import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from PIL import Image

from study.common.bases import BaseChoice
from study.common.errors import UserError
from study.features.extract import RowSource
from study.features.row_cache import RowCache
from study.machines import connection
from study.machines.connection import HeadNode, cluster_address, connected
from study.machines.dealt_images import FEWEST
from study.machines.same_program import identity
from study.machines.worker import RowOrder, Worker
from study.machines.workers import check_identity
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.search.command_line import checked
from study.search.options import OPTIONS as OPTIONS_OF_SEARCH

KILLS = int(os.environ.get("KILLS", "20"))
MANY = FEWEST // 36 + 1  # files of each picture: workers look at them
WAIT = 120.0  # seconds for anything that is bound to happen
OPTIONS = ["--image-size", "32", "--weights", "random", "--metric", "macro_f1"]
OPTIONS += ["--optimizers", "sgd,mine", "--repeats", "2", "--confirm", "2"]
OPTIONS += ["--max-epochs", "9", "--population", "4", "--name", "night"]
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
        time.sleep(0.05)


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


class Study(NamedTuple):
    """A study of images with an optimizer of the user's, class weights and another metric."""

    top: Path  # of all that it writes
    given: Path  # of what the user has

    def search(self, *more: str) -> "subprocess.Popen[str]":
        places = {
            "--logs": self.top / "logs",
            "--cache-dir": self.top / "cache",
            "--data": self.given / "pictures",
            "--code": self.given / "mine.py",
            "--space": self.given / "mine.toml",
        }
        given = [str(word) for pair in places.items() for word in pair]
        return subprocess.Popen(
            [sys.executable, "-m", "study.search", *given, *OPTIONS, *more],
            env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # a shell's background jobs, and so their children, ignore Ctrl-C
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def records(self) -> dict[str, TrialRecord]:
        found = load_trials(self.top / "logs" / "night")
        assert len({record.trial_id for record in found}) == len(found)
        return {record.trial_id: replace(record, seconds=0.0) for record in found}

    def rows(self) -> dict[str, bytes]:
        """Digest -> row of the feature cache, each of them once."""
        (folder,) = (self.top / "cache").glob("features-*/*")
        found = [
            (digest, row.tobytes())
            for digests, chunk in RowCache(folder, 512).read()
            for digest, row in zip(digests, chunk, strict=True)
        ]
        assert len(dict(found)) == len(found)
        return dict(found)

    def lines(self) -> int:
        path = self.top / "logs" / "night" / "trials.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def again(self, top: Path) -> "Study":
        """The same elsewhere, its programs compiled: that saves these tests a minute."""
        (top / "cache").mkdir(parents=True)
        (top / "cache" / "programs").symlink_to(self.top / "cache" / "programs")
        return Study(top, self.given)


def finished(process: "subprocess.Popen[str]") -> tuple[str, str]:
    printed, errors = process.communicate(timeout=2 * WAIT)
    assert process.returncode == 0, printed + errors
    return printed, errors


@pytest.fixture(scope="module")
def here(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Searched in one process."""
    given = tmp_path_factory.mktemp("given")
    (given / "pictures").symlink_to(picture_folder)
    (given / "own_sign.py").write_text("from keras.ops import sign as sign_of\n")
    (given / "mine.py").write_text(OPTIMIZER)
    (given / "mine.toml").write_text(SPACE)
    study = Study(tmp_path_factory.mktemp("here"), given)
    finished(study.search())
    return study


ASKED = """
import json, os, signal, sys, ray
from dataclasses import fields
from functools import partial
from pathlib import Path
import numpy as np
from study.common.errors import UserError
from study.common.command import stoppable
from study.data.load_images import load_images
from study.machines import workers as of_cluster
from study.machines.cluster import Cluster
from study.machines.connection import connected
from study.machines.workers import Workers
from study.search.command_line import parse, resolve_options
from study.search.image_subject import ImageSubject

top, address = Path(sys.argv[1]), sys.argv[2]
folder, mark, driver, seen_here = top / "many", top / "mark", os.getpid(), []

@ray.remote(num_cpus=1)
class Busy:
    def begun(self):
        return True

def once_deadly(function, path):
    if os.getpid() == driver:
        seen_here.append(path.name)
    elif not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(path)

def on_workers(function, files):
    return machines.map_files(partial(once_deadly, function), files)

def refusal(begin, *arguments):
    try:
        begin(*arguments)
    except UserError as error:
        return str(error)

answers, local = {}, load_images(folder)
with stoppable(), connected(address):
    answers["gpu"] = refusal(Workers, "gpu", None)
    workers = Workers("cpu", None)
    machines = Cluster(workers)
    found = load_images(folder, map_files=on_workers)
    for one in fields(found):
        np.testing.assert_equal(getattr(found, one.name), getattr(local, one.name), one.name)
    answers["seen"] = [len(found.paths), found.same_pixels, seen_here[:]]
    picture, link = (folder / "circles" / name for name in ("00 0.png", "00 a link.png"))
    os.dup2(os.open(picture, os.O_RDONLY), 999)
    link.symlink_to("/proc/self/fd/999")  # nothing in another process
    options = resolve_options(parse(["--data", str(folder)]), {}, "default")
    answers["link"] = refusal(ImageSubject, options, machines)
    workers.close()
    actors = [Busy.remote() for _ in range(2)]
    ray.get([actor.begun.remote() for actor in actors])
    of_cluster.FREED = 0.5  # seconds; nobody gives anything back
    answers["cpu"] = refusal(Workers, None, None)
(top / "answers").write_text(json.dumps(answers))
"""


class Asked(NamedTuple):
    """What a process with a cluster was told, which began as a folder of many images was there."""

    folder: Path
    answers: dict[str, Any]
    errors: str


@pytest.fixture(scope="module")
def asked(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory, nodes: Nodes) -> Asked:
    top = tmp_path_factory.mktemp("asked")
    for picture in picture_folder.glob("*/*.png"):
        folder = top / "many" / picture.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(MANY):  # other bytes behind the same pixels
            content = picture.read_bytes() + bytes([number])
            (folder / f"{picture.stem} {number}.png").write_bytes(content)
    (folder / "broken.png").write_bytes(content[:99])
    (folder / "no picture").write_text("a note")
    deep = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    Image.fromarray(deep).save(folder / "deep.png")
    run = [sys.executable, "-c", ASKED, str(top), nodes.address]
    ended = subprocess.run(run, env=environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return Asked(top / "many", json.loads((top / "answers").read_text()), ended.stderr)


@pytest.mark.slow  # half a minute until the cluster answers
def test_a_cluster_without_a_gpu_or_a_free_processor_is_refused(asked: Asked) -> None:
    gpu, cpu = asked.answers["gpu"], asked.answers["cpu"]
    assert gpu == "`device` gpu: no machine of the cluster has a GPU that Ray knows of"
    assert cpu.startswith("`cluster`: no CPU is free, of 2 in the cluster; wait for the work")


@pytest.mark.slow  # half a minute until the cluster answers
def test_workers_look_at_many_images_as_this_process_would_also_where_one_is_killed(
    asked: Asked,
) -> None:
    assert asked.answers["seen"] == [36 * MANY + 1, 36 * (MANY - 1), ["broken.png"]]
    assert " could not start (" in asked.errors


@pytest.mark.slow  # half a minute until the cluster answers
def test_where_a_worker_cannot_read_an_image_its_machine_is_named(asked: Asked) -> None:
    place = asked.folder / "circles" / "00 a link.png"
    start = f"{place} can be used here, but not on {platform.node()} (process "
    assert asked.answers["link"].startswith(start)
    assert asked.answers["link"].endswith(
        "), a machine of the cluster: it cannot be opened (No such file or directory); images "
        "must have the same path on every machine, e.g. on a shared disk"
    )


@pytest.mark.slow  # two minutes; that a local study ends, is stopped and resumed runs always
def test_lost_workers_nodes_and_drivers_change_no_record_and_no_row(
    here: Study, tmp_path: Path, nodes: Nodes
) -> None:
    study = here.again(tmp_path)
    process = study.search("--cluster", nodes.address)
    eventually(lambda: list((study.top / "cache").glob("features-*")), process)
    os.kill(nodes.workers()[0], signal.SIGKILL)  # while images become rows
    eventually(study.lines, process)
    assert study.rows() == here.rows()
    nodes.tell("remove")
    before = study.lines()
    eventually(lambda: study.lines() > before, process)
    process.kill()
    assert " was lost" in process.communicate()[1]
    old = set(nodes.workers())  # of the dead driver, about to end
    nodes.tell("1")  # it will round otherwise
    process = study.search("--cluster", nodes.address)
    before = study.lines()
    eventually(lambda: study.lines() > before, process)
    eventually(lambda: len({*nodes.workers()} - old) == 1, process)  # the other is refused
    os.kill(min({*nodes.workers()} - old), signal.SIGKILL)
    printed, errors = finished(process)
    assert "is left out: it rounds differently from the others" in errors
    assert ", on 1 worker (1 x " in printed
    assert ", 1 lost" in printed, printed + errors
    assert study.records() == here.records()
    assert 1 <= len(list((study.top / "cache" / "code").glob("*/0/own_sign.py"))) <= 3


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
    here: Study, tmp_path: Path
) -> None:
    study = here.again(tmp_path)
    process = study.search("--cluster", "local")
    eventually(study.lines, process)
    started = below(process.pid)
    assert any(name.startswith("ray::Worker") for name in started.values())
    assert listeners(started) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=WAIT)
    assert process.returncode == 130
    assert "the same command resumes" in printed
    assert "Traceback" not in printed
    gone(set(started))
    assert study.lines() < len(here.records())
    assert "rounding" in load_meta(study.top / "logs" / "night").device
    _, printed = finished(study.search())
    assert "rounds differently" not in printed
    assert study.records() == here.records()


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
    with pytest.raises(
        UserError, match=r"Ray, which is not installed: run pip install .*\[cluster\]"
    ):
        connected("local").__enter__()


def not_ray(server: socket.socket) -> None:
    with server.accept()[0] as asked:
        asked.sendall(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("kind", ["", "ray://"])
def test_where_no_ray_is_it_is_said(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{kind}127.0.0.1:{server.getsockname()[1]}"
        answering = threading.Thread(target=not_ray, args=[server])
        answering.start()
        with pytest.raises(UserError, match="what answers there is not Ray"):
            connected(address).__enter__()
        answering.join()
    with pytest.raises(UserError, match=r"nothing answers there .*`ray start --head`"):
        connected(address).__enter__()


class RefusesTokens(grpc.GenericRpcHandler):
    """A cluster with another token."""

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "token")
        )


def test_a_token_that_the_cluster_does_not_take_is_said_at_once() -> None:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[RefusesTokens()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.raises(UserError, match=r"has another token than this .*; put the cluster's token"):
        connected(f"127.0.0.1:{port}").__enter__()
    server.stop(None)


IN_A_THREAD = """
import threading, ray
from study.machines.connection import connected
def fail():
    with connected("local"):
        print(len(ray.nodes()))
        raise ValueError
threading.excepthook = lambda it: print(it.exc_type.__name__)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
print(ray.is_initialized())
"""


@pytest.mark.slow  # starts Ray
def test_a_thread_may_use_a_cluster_which_ends_after_any_error() -> None:
    run = [sys.executable, "-c", IN_A_THREAD]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "ValueError", "False"]


def test_a_head_that_was_there_and_stays_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        head, never_seen = [HeadNode(f"127.0.0.1:{server.getsockname()[1]}") for _ in range(2)]
        assert head.answers()
    assert not head.answers()  # it may come back
    monkeypatch.setattr(connection, "HEAD_PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"the head of the cluster \(127.0.0.1\) has not answered"):
        head.answers()
    assert never_seen.answers()  # as far as anybody can see


def test_workers_with_other_versions_or_other_code_are_named() -> None:
    own = identity()
    check_identity(own, own)
    with pytest.raises(UserError, match=rf"another version of keras 1\.0, here {own['keras']}:"):
        check_identity(own | {"keras": "1.0"}, own)
    with pytest.raises(UserError, match=r"of program abc, here .* and numpy missing, here"):
        check_identity(own | {"program": "abc", "numpy": "missing"}, own)


def test_an_image_that_is_not_there_on_a_machine_is_named_with_the_machine(tmp_path: Path) -> None:
    (tmp_path / "seen.png").touch()
    order = RowOrder(BaseChoice("random", "VGG16", 32, None), "", "", {})
    files = [RowSource(tmp_path / name, "", "") for name in ("seen.png", "unseen.png")]
    with pytest.raises(
        UserError, match=rf"unseen.png does not exist on {platform.node()}, a machin"
    ):
        Worker(1).rows(order, files)


@pytest.mark.slow
def test_where_the_head_is_lost_the_command_goes_on_for_a_while_and_ends(
    here: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "30")  # so it goes on for 10 s
    nodes, study = Nodes(), here.again(tmp_path)
    try:
        process = study.search("--cluster", nodes.address, "--repeats", "100")
        eventually(study.lines, process)
        (head,) = [pid for pid, name in nodes.processes().items() if "gcs_server\0" in name]
        os.kill(head, signal.SIGKILL)
        before = study.lines()
        printed, errors = process.communicate(timeout=WAIT)
    finally:
        nodes.stop()
    assert "the head of the cluster (127.0.0.1) has not answered" in errors, printed + errors
    assert process.returncode == 2
    assert study.lines() > before


@pytest.mark.slow
def test_kills_at_random_moments_change_no_record(
    here: Study, tmp_path: Path, nodes: Nodes
) -> None:
    nodes.tell("remove")
    nodes.tell("0")  # TensorFlow's own number of threads
    chance = random.Random(20)
    done = {"driver": 0, "worker": 0, "node": 0}
    studies = 0
    while sum(done.values()) < KILLS:
        study = here.again(tmp_path / f"study{studies}")
        process = study.search("--cluster", nodes.address)
        for _ in range(4):
            try:
                process.wait(chance.uniform(0, 15))
                break
            except subprocess.TimeoutExpired:
                what = chance.choice(["driver", "worker", "worker", "node"])
            if what == "driver":
                process.kill()
                process.communicate()
                process = study.search("--cluster", nodes.address)
            elif what == "node":
                nodes.tell("remove")
                nodes.tell("0")
            elif workers := nodes.workers():
                os.kill(chance.choice(workers), signal.SIGKILL)
            else:
                continue  # none has begun yet
            done[what] += 1
        finished(process)
        assert study.records() == here.records()
        assert study.rows() == here.rows()
        studies += 1
    print(f"{done} killed in {studies} studies")
