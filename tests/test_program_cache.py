"""Programs on disk: found again by other processes, never trusted when damaged."""

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from study.space.keras_optimizers import keras_optimizers
from study.space.space import load_space
from study.training import program_cache as programs
from study.training.population import Population
from study.training.program_cache import disk_errors, keep_programs, seal
from study.training.runs import HeadRun

TRAIN = """
import sys
from pathlib import Path
from study.training.program_cache import is_kept, keep_programs
folder = keep_programs(Path(sys.argv[1]))
import numpy as np
from study.training.population import Population
from study.training.program_key import key_of
from study.training.runs import HeadRun
from study.space.space import load_space
space = load_space("quick")
rows = np.arange(40, dtype=np.int32)
features = np.random.default_rng(1).random((40, 8)).astype(np.float32)
population = Population(features, rows % 4, 4, max_epochs=2, size=2, widths=(16,))
kept = []
for name in sys.argv[2:]:
    from dataclasses import replace
    config = replace(space.default(name), dense_width=16)
    run = HeadRun(config, rows[:30], rows[30:], 1, 2)
    kept.append(is_kept(key_of(population.signature(run), features.shape, 4, 2, "accuracy")))
    ((_, result),) = next(population.train([run]))
    print(name, result.metrics.loss.tolist(), result.metrics.val_loss.tolist())
print("kept", *kept, *(one.kept for one in population.programs.compilations))
print("programs", *(len(list(folder.glob(end))) for end in ("*.pb", "*.graph", "*.sha256")))
"""


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug=false")
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
    folder = tmp_path_factory.mktemp("adam's")
    return folder, train(folder, "adam")


@pytest.fixture
def first(adams, tmp_path) -> list[str]:
    """What was printed; `tmp_path` is a copy of the folder."""
    shutil.copytree(adams[0], tmp_path, dirs_exist_ok=True)
    return adams[1]


def test_another_process_finds_a_program_whatever_it_compiled_before(first, tmp_path):
    assert first[-2:] == ["kept False False", "programs 1 1 2"]
    made = [(path, path.stat().st_mtime_ns) for path in tmp_path.rglob("program_*.graph")]
    second = train(tmp_path, "sgd", "adam")
    assert second[-1] == "programs 2 2 4"  # adam's was found, not compiled again
    assert second[-2] == "kept False True False True"  # as was known before, and said after
    assert [(path, path.stat().st_mtime_ns) for path, _ in made] == made  # nor traced
    assert second[1] == first[0]  # and gives the same curves, to the last digit


def test_a_graph_made_by_other_code_is_not_used(first, tmp_path):
    (graph,) = tmp_path.rglob("*.graph")
    other = f"{graph.name.partition('-')[0]}-of_other_code.graph"
    for end in ("", ".sha256"):
        graph.with_name(graph.name + end).rename(graph.with_name(other + end))
    again = train(tmp_path, "adam")
    assert again[-1] == "programs 1 2 3"  # traced again; the same graph, so not compiled again
    assert again[0] == first[0]


@pytest.mark.slow  # with their hyperparameters all train in test_population.py, too
@pytest.mark.parametrize("keras_class", sorted(keras_optimizers()))
def test_the_graph_of_every_optimizer_can_be_kept(keras_class):
    """`function_of` refuses one that reads tensors of its process."""
    config = replace(
        load_space("quick").default("adam"), keras_class=keras_class, optimizer_hyperparameters={}
    )
    rows = np.arange(12, dtype=np.int32)
    features = np.random.default_rng(1).random((12, 5)).astype(np.float32)
    population = Population(features, rows % 3, 3, max_epochs=1, size=2)
    run = HeadRun(replace(config, dense_width=4), rows[:8], rows[8:], 1, 1)
    ((_, result),) = next(population.train([run]))
    assert np.isfinite(result.metrics.loss).all()


def kept(folder: Path, name: str, content: bytes = b"code", suffix: str = ".pb") -> Path:
    place = keep_programs(folder)
    assert place is not None
    path = place / f"{name}{suffix}"
    path.write_bytes(content)
    seal()
    return path


def test_a_second_study_of_a_process_adds_no_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--given")
    keep_programs(tmp_path)
    first = os.environ["TF_XLA_FLAGS"]
    keep_programs(tmp_path)
    assert os.environ["TF_XLA_FLAGS"] == first and first.endswith(" --given")


@pytest.mark.parametrize("suffix", [".pb", ".graph"])
def test_a_whole_program_stays(suffix, tmp_path, capsys):
    path = kept(tmp_path, "whole", suffix=suffix)
    keep_programs(tmp_path)
    assert path.exists()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".pb", ".graph"])
def test_a_damaged_program_is_named_and_not_used(suffix, tmp_path, capsys):
    path = kept(tmp_path, "damaged", suffix=suffix)
    path.write_bytes(b"c0de")
    keep_programs(tmp_path)
    assert not path.exists()
    assert f"{path} is damaged" in capsys.readouterr().err


def test_what_a_kill_left_behind_is_swept(tmp_path, capsys):
    place = keep_programs(tmp_path)
    names = ["unsealed.pb", "unsealed.graph", "half.pb.tmp", "lonely.pb.sha256"]
    left = [place / name for name in names]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (1000, 1000))
    written_now = place / "other.pb.tmp"  # by another study, at this moment
    written_now.write_bytes(b"half")
    keep_programs(tmp_path)
    assert not any(path.exists() for path in left)
    assert written_now.exists()
    assert capsys.readouterr().err == ""


def test_the_oldest_programs_go_first(tmp_path, monkeypatch):
    paths = [kept(tmp_path, f"program{age}") for age in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (1000 + age, 1000 + age))
    monkeypatch.setattr(programs, "MOST_FILES", 2)
    keep_programs(tmp_path)
    assert [path.exists() for path in paths] == [False, True, True]


def test_without_room_or_a_folder_programs_are_not_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert keep_programs(tmp_path / "file") is None
    monkeypatch.setattr(programs, "ROOM", 2**80)
    assert keep_programs(tmp_path) is None
    assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_clustering_debug=false"


def test_the_users_own_flags_stay_in_force(tmp_path):
    keep_programs(tmp_path)
    assert os.environ["TF_XLA_FLAGS"].endswith(" --tf_xla_clustering_debug=false")


def test_a_full_disk_is_no_lack_of_memory(tmp_path):
    place = keep_programs(tmp_path)
    full = tf.errors.ResourceExhaustedError(None, None, f"{place}/x.pb; No space left on device")
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
        ("training/metrics.py", True),
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
