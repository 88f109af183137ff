"""Programs on disk: found again by other processes, never trusted when damaged."""

import errno
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from study.space.keras_optimizers import keras_optimizers
from study.space.search_space import load_space
from study.training import program_cache as program_files
from study.training import program_cache as programs
from study.training.population import LocalTrainer
from study.training.program_cache import ProgramFiles, disk_errors, keep_programs, seal
from study.training.runs import HeadRun, TrainingRules, TrainingTable

FLAGS = "TF_XLA_FLAGS"
TRAIN = """
import sys
from pathlib import Path
from study.training.program_cache import is_kept, keep_programs
folder = keep_programs(Path(sys.argv[1]))
import numpy as np
from study.training.population import LocalTrainer
from study.training.program_key import key_of
from study.training.runs import HeadRun, TrainingRules, TrainingTable
from study.space.search_space import load_space
space = load_space("quick")
rows = np.arange(40, dtype=np.int32)
features = np.random.default_rng(1).random((40, 8)).astype(np.float32)
trainer = LocalTrainer(TrainingTable(features, rows % 4, 4), TrainingRules(2, (16,)), size=2)
kept = []
for name in sys.argv[2:]:
    from dataclasses import replace
    config = replace(space.default(name), dense_width=16)
    run = HeadRun(config, rows[:30], rows[30:], 1, 2)
    kept.append(is_kept(key_of(trainer.signature(run), trainer.programs.shape)))
    ((_, result),) = next(trainer.train([run]))
    print(name, result.metrics.loss.tolist(), result.metrics.val_loss.tolist())
print("kept", *kept, *(one.kept for one in trainer.programs.compilations))
print("programs", *(len(list(folder.glob(end))) for end in ("*.pb", "*.graph")))
"""


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    monkeypatch.setenv(FLAGS, "--tf_xla_clustering_debug=false")
    monkeypatch.setattr(programs, "_kept", [])


def train(folder: Path, *optimizers: str) -> list[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(folder), *optimizers],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def adams(tmp_path_factory) -> tuple[Path, list[str]]:
    """A folder with the program of Adam, and what was printed."""
    folder = tmp_path_factory.mktemp('adam\'s "own" programs')
    return folder, train(folder, "adam")


@pytest.fixture
def first(adams, tmp_path) -> list[str]:
    """What was printed; `tmp_path` is a copy of the folder."""
    shutil.copytree(adams[0], tmp_path, dirs_exist_ok=True)
    return adams[1]


def test_another_process_finds_a_program_whatever_it_compiled_before(first, tmp_path):
    assert first[-2:] == ["kept False False", "programs 1 1"]
    made = [(path, path.stat().st_mtime_ns) for path in tmp_path.glob("programs/*/*.graph")]
    second = train(tmp_path, "sgd", "adam")
    assert second[-1] == "programs 2 2"  # adam's was found, not compiled again
    assert second[-2] == "kept False True False True"  # as was known before, and said after
    assert [(path, path.stat().st_mtime_ns) for path, _ in made] == made  # nor traced
    assert second[1] == first[0]  # and gives the same curves, to the last digit


def test_a_graph_made_by_other_code_is_not_used(first, tmp_path):
    shared = keep_programs(tmp_path)
    (graph,) = shared.glob("*.graph")
    begin, _, end = graph.name.partition("-")
    graph.rename(shared / f"{begin}-of_other_code.{end.partition('.')[2]}")
    again = train(tmp_path, "adam")
    assert again[-1] == "programs 1 2"  # traced again; the same graph, so not compiled again
    assert again[0] == first[0]


@pytest.mark.slow
def test_a_program_under_the_name_of_another_is_made_again(first, tmp_path):
    train(tmp_path, "sgd")
    (shared,) = (path for path in tmp_path.glob("programs/*") if path.name != "processes")
    one, other = sorted(shared.glob("*.pb"))
    for path, content in ((one, other.read_bytes()), (other, one.read_bytes())):
        digest = hashlib.sha256(content).hexdigest()
        path.rename(shared / f"{path.name[: -len('.pb') - 64]}{digest}.pb").write_bytes(content)
    assert train(tmp_path, "adam")[0] == first[0]


@pytest.mark.slow  # with their hyperparameters all train in test_population.py, too
@pytest.mark.parametrize("keras_class", sorted(keras_optimizers()))
def test_the_graph_of_every_optimizer_can_be_kept(keras_class):
    """`function_of` refuses one that reads tensors of its process."""
    config = replace(
        load_space("quick").default("adam"), keras_class=keras_class, optimizer_hyperparameters={}
    )
    rows = np.arange(12, dtype=np.int32)
    features = np.random.default_rng(1).random((12, 5)).astype(np.float32)
    population = LocalTrainer(TrainingTable(features, rows % 3, 3), TrainingRules(1), size=2)
    run = HeadRun(replace(config, dense_width=4), rows[:8], rows[8:], 1, 1)
    ((_, result),) = next(population.train([run]))
    assert np.isfinite(result.metrics.loss).all()


class Process:
    """Another process, as far as this module knows: it has a list of its own."""

    def __init__(self, folder: Path) -> None:
        self._kept: list[ProgramFiles] = []
        with self._active():
            self.shared = keep_programs(folder)
            told = dict(flag.partition("=")[::2] for flag in shlex.split(os.environ[FLAGS]))
            self.seen_by_xla = Path(told["--tf_xla_persistent_cache_directory"])

    @contextmanager
    def _active(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(programs, "_kept", self._kept)
            yield

    def make(self, name: str, content: bytes) -> None:
        """As XLA does: a name of its own, under which there is at no time half a file."""
        half = self.seen_by_xla / f"{name}.tmp"
        half.write_bytes(content)
        half.replace(self.seen_by_xla / name)

    def seal(self) -> None:
        with self._active():
            seal()

    def seen(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.seen_by_xla.iterdir()}

    def knows(self, key: str) -> bool:
        with self._active():
            return programs.is_kept(key)


def shared(folder: Path, name: str, content: bytes = b"code") -> Path:
    """Where a program lies that an earlier process has made."""
    earlier = Process(folder)
    before = set(earlier.shared.iterdir())
    earlier.make(name, content)
    earlier.seal()
    (path,) = set(earlier.shared.iterdir()) - before
    return path


def test_a_second_study_of_a_process_adds_no_flags(tmp_path, monkeypatch):
    monkeypatch.setenv(FLAGS, "--given")
    keep_programs(tmp_path)
    first = os.environ["TF_XLA_FLAGS"]
    keep_programs(tmp_path)
    assert os.environ[FLAGS] == first and first.endswith(" --given")


@pytest.mark.parametrize("name", ["a.pb", "a.graph"])
def test_a_whole_program_stays(name: str, tmp_path: Path, capsys) -> None:
    path = shared(tmp_path, name)
    assert Process(tmp_path).seen() == {name: b"code"}
    assert path.exists()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.pb", "a.graph"])
def test_a_damaged_program_is_named_and_not_used(name: str, tmp_path: Path, capsys) -> None:
    path = shared(tmp_path, name)
    path.write_bytes(b"c0de")
    assert Process(tmp_path).seen() == {}
    assert not path.exists()
    assert f"{path} is damaged" in capsys.readouterr().err


def test_what_a_kill_left_behind_is_swept(tmp_path: Path, capsys) -> None:
    killed = Process(tmp_path)
    killed.make("unsealed.pb", b"whole")
    (killed.seen_by_xla / "half.tmp").write_bytes(b"ha")
    place = killed.shared
    left = [place / name for name in ("unknown.pb", ".half.pb.tmp")]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (1000, 1000))
    written_now = place / "other.pb.tmp"  # by another study, at this moment
    written_now.write_bytes(b"half")
    folder = killed.seen_by_xla
    del killed
    next_one = Process(tmp_path)
    assert next_one.seen() == {}
    assert next_one.seen_by_xla == folder  # so they do not pile up
    assert list(place.iterdir()) == [written_now]
    assert capsys.readouterr().err == ""


def test_the_oldest_programs_go_first(tmp_path: Path, monkeypatch) -> None:
    paths = [shared(tmp_path, f"program{age}.pb") for age in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    about_to_read = Process(tmp_path)
    monkeypatch.setattr(program_files, "MOST_FILES", 2)
    assert set(Process(tmp_path).seen()) == {"program1.pb", "program2.pb"}
    assert not paths[0].exists()
    assert len(about_to_read.seen()) == 3


def test_processes_that_make_the_same_program_do_not_damage_it(tmp_path: Path, capsys) -> None:
    one, other = Process(tmp_path), Process(tmp_path)
    one.make("same.pb", b"of the one")
    one.seal()
    other.make("same.pb", b"of the other")
    between = Process(tmp_path)
    other.seal()
    assert between.seen() == {"same.pb": b"of the one"}
    assert set(Process(tmp_path).seen()) == {"same.pb"}
    assert capsys.readouterr().err == ""


def test_a_start_leaves_a_running_process_what_it_has_just_made(tmp_path: Path) -> None:
    running = Process(tmp_path)
    running.make("new.pb", b"code")
    assert Process(tmp_path).seen() == {}  # nobody has vouched for it
    running.seal()
    assert Process(tmp_path).seen() == {"new.pb": b"code"} == running.seen()


def test_a_program_that_another_process_makes_meanwhile_is_found(tmp_path: Path) -> None:
    one, other = Process(tmp_path), Process(tmp_path)
    one.make(programs._graph("key"), b"graph")
    one.make("program.pb", b"code")
    assert not other.knows("key")
    one.seal()
    assert other.knows("key")
    assert other.seen() == one.seen()


def test_where_a_disk_has_no_links_files_are_copied(tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    shared(tmp_path, "a.pb")
    monkeypatch.setattr(os, "link", refuse)
    assert Process(tmp_path).seen() == {"a.pb": b"code"}


A_LIFE = """
import hashlib, os, random, shlex, sys
from pathlib import Path
from study.training.program_cache import keep_programs, seal
keep_programs(Path(sys.argv[1]))
folder = Path(shlex.split(os.environ["TF_XLA_FLAGS"])[0].partition("=")[2])
chance = random.Random(sys.argv[2])
for _ in range(100):
    path = folder / f"program{chance.randrange(8)}.pb"
    if path.exists():  # as XLA looks for it, and reads it then
        content = path.read_bytes()
        assert hashlib.sha256(content[32:]).digest() == content[:32]
    else:
        content = chance.randbytes(9999)
        half = folder / f"{path.name}{os.getpid()}.tmp"
        half.write_bytes(hashlib.sha256(content).digest() + content)
        half.replace(path)
    if chance.random() < 0.3:
        seal()
os._exit(0)  # as by a kill
"""


def test_many_processes_at_once_never_damage_a_program(tmp_path: Path) -> None:
    lives = [
        subprocess.Popen(
            [sys.executable, "-c", A_LIFE, str(tmp_path), str(number)],
            stderr=subprocess.PIPE, text=True,
        )
        for number in range(12)
    ]  # fmt: skip
    assert [life.communicate()[1] for life in lives] == [""] * len(lives)
    assert [life.returncode for life in lives] == [0] * len(lives)
    assert len(Process(tmp_path).seen()) == 8


def test_without_room_or_a_folder_programs_are_not_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert keep_programs(tmp_path / "file") is None
    monkeypatch.setattr(programs, "ROOM", 2**80)
    assert keep_programs(tmp_path) is None
    assert os.environ[FLAGS] == "--tf_xla_clustering_debug=false"


def test_a_folder_that_all_can_write_is_not_used_and_that_is_said(tmp_path, capsys):
    assert keep_programs(tmp_path) is not None
    (tmp_path / "programs").chmod(0o777)
    assert keep_programs(tmp_path) is None
    assert "can be written by all, so no compiled program there is used" in capsys.readouterr().err


def test_the_users_own_flags_stay_in_force(tmp_path):
    keep_programs(tmp_path)
    assert os.environ["TF_XLA_FLAGS"].endswith(" --tf_xla_clustering_debug=false")


def test_a_full_disk_is_no_lack_of_memory(tmp_path):
    keep_programs(tmp_path)
    (files,) = programs._kept
    full = tf.errors.ResourceExhaustedError(
        None, None, f"{files.own}/x.pb; No space left on device"
    )
    with pytest.raises(OSError, match="No space left") as caught, disk_errors():
        raise full
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(tf.errors.ResourceExhaustedError), disk_errors():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.mark.parametrize(
    ("edited", "other"),
    [
        ("report/html.py", False),
        ("report/analysis/ranking.py", False),
        ("search/protocol.py", False),
        ("space/toml_reader.py", False),
        ("training/population.py", False),
        ("space/head_config.py", True),
        ("space/schedule_table.py", True),
        ("training/warm_up.py", True),
        ("training/epoch_metrics.py", True),
        ("training/vectorized_head.py", True),
    ],
)
def test_only_an_edit_of_what_decides_a_program_throws_it_away(
    edited: str, other: bool, tmp_path: Path
) -> None:
    copy = tmp_path / "study"
    shutil.copytree(programs.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = programs.code_digest(copy)
    assert before == programs.code_digest()
    with (copy / edited).open("a") as file:
        file.write("\n# edited\n")
    assert (programs.code_digest(copy) != before) == other
