"""The whole way of the data, through the real commands."""

import gc
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import study
from study.predict import Prediction, in_words, predict
from study.records.predicted_classes import read_predicted
from study.records.study_meta import load_meta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.records.trials_file import load_trials
from study.search import main

README = Path(__file__).parents[1] / "README.md"
SMALL = ["--image-size", "32", "--space", "quick", "--optimizers", "sgd,adam", "--repeats", "2"]
SMALL += ["--confirm", "2", "--max-epochs", "4", "--weights", "random", "--population", "4"]


def command(module: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", f"study.{module}", *map(str, arguments)]


def run(
    module: str, *arguments: str | Path, code: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        command(module, *arguments),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | (env or {}),
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    return ended


def here(*arguments: str | Path, code: int = 0) -> None:
    """As `run`, in this process: without TensorFlow's start."""
    assert main([str(argument) for argument in arguments]) == code


def comparable(folder: Path) -> dict[str, TrialRecord]:
    """Records by trial, without the time they took."""
    return {r.trial_id: replace(r, seconds=0.0) for r in load_trials(folder)}


@pytest.fixture(scope="module")
def finished(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small study, run to its end: its logs folder and what it printed."""
    top = tmp_path_factory.mktemp("a study's folder")
    arguments = ["--data", picture_folder, *SMALL, "--logs", top / "logs"]
    ended = run("search", *arguments, "--cache-dir", top / "cache", "--name", "small")
    return top, ended.stdout


def test_a_search_ends_with_a_ranking_and_what_to_do_next(
    finished: tuple[Path, str],
) -> None:
    _, printed = finished
    assert "36 in 3 classes" in printed
    assert "36 images computed" in printed
    ranking = printed[printed.index("optimizer ") :]
    assert "adam" in ranking and "sgd" in ranking
    after = printed[printed.rindex("\nnext:") :].splitlines()
    steps = [shlex.split(line) for line in after if line.startswith(("    python", "    tens"))]
    logs = str(finished[0] / "logs")
    assert ["tensorboard", "--logdir", logs] in steps
    place = ["--study", "small", "--logs", logs]
    assert ["python", "-m", "study.predict", "photo.jpg", *place] in steps


def test_a_search_says_where_its_time_went(finished: tuple[Path, str]) -> None:
    (line,) = [line for line in finished[1].splitlines() if line.startswith("time: ")]
    found = re.fullmatch(
        r"time: (\d+) s starting, (\d+) s features, (\d+) s search, (\d+) s report; "
        r"(\d+) s in all; 2 programs compiled concurrently, over (\d+) s of it",
        line,
    )
    assert found is not None, line
    *stages, total, compiling = map(int, found.groups())
    assert abs(sum(stages) - total) <= 2  # each is rounded
    assert 0 < compiling <= total


def test_every_phase_of_the_protocol_is_recorded(finished: tuple[Path, str]) -> None:
    folder = finished[0] / "logs" / "small"
    records = load_trials(folder)
    meta = load_meta(folder)
    assert meta.finished and not meta.partial and meta.runs == len(records)
    assert len(meta.device["rounding"]) == 16
    for name in ("sgd", "adam"):
        own = [r for r in records if r.optimizer == name]
        assert sum(r.phase == Phase.DEFAULT for r in own) == 2
        assert sum(r.phase == Phase.CONFIRM for r in own) == 2 * 2
        assert {r.repeat for r in own if r.phase == Phase.SEARCH} == {0, 1}
        tested = [r for r in own if r.phase != Phase.SEARCH and r.status == TrialStatus.COMPLETED]
        assert all(0 <= r.test_accuracy <= 1 for r in tested if r.test_accuracy is not None)
        assert all(r.test_accuracy is not None for r in tested)
        assert all(r.test_accuracy is None for r in own if r.phase == Phase.SEARCH)


def test_optimizers_are_paired_by_split_and_seed_and_confirmed_on_other_ones(
    finished: tuple[Path, str],
) -> None:
    records = load_trials(finished[0] / "logs" / "small")
    for repeat in (0, 1):
        splits = {
            (r.phase, r.confirm, r.split)
            for r in records
            if r.repeat == repeat and r.phase in (Phase.SEARCH, Phase.CONFIRM)
        }
        assert len(splits) == 3  # one for the search, another for each of two reruns
        assert len({split for _, _, split in splits}) == 3
        seeds = {
            name: [
                r.seed
                for r in sorted(records, key=lambda r: r.confirm or 0)
                if (r.optimizer, r.repeat, r.phase) == (name, repeat, Phase.CONFIRM)
            ]
            for name in ("sgd", "adam")
        }
        assert seeds["sgd"] == seeds["adam"] and len(set(seeds["sgd"])) == 2
        assert not set(seeds["sgd"]) & {r.seed for r in records if r.phase == Phase.SEARCH}


def test_what_confirmation_runs_predict_is_kept_and_gives_their_values(
    finished: tuple[Path, str],
) -> None:
    folder = finished[0] / "logs" / "small"
    known = read_predicted(folder)
    confirmed = {r.trial_id: r for r in load_trials(folder) if r.phase == Phase.CONFIRM}
    assert known.off.keys() == confirmed.keys() and len(confirmed) == 8
    for name, record in confirmed.items():
        run = known.of(name)
        right = (run.classes == known.examples.labels[run.rows]).mean()
        assert right == pytest.approx(record.cross_fitted_accuracy, abs=1e-6)


def test_the_best_heads_and_the_whole_model_load_in_plain_keras(
    finished: tuple[Path, str],
) -> None:
    import keras
    import numpy as np

    best = finished[0] / "logs" / "small" / "best"
    assert {p.name for p in best.glob("*.keras")} == {"sgd.keras", "adam.keras", "winner.keras"}
    winner = keras.saving.load_model(best / "winner.keras")
    pixels = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    probabilities = np.asarray(winner(pixels))
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    predictions = json.loads((best / "predictions.json").read_text(encoding="utf-8"))
    assert predictions["winner"] in ("sgd", "adam")


def test_the_same_command_again_trains_nothing_and_computes_nothing(
    finished: tuple[Path, str], picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    top, _ = finished
    folder = top / "logs" / "small"
    before = (folder / "trials.jsonl").read_bytes()
    arguments = ["--data", picture_folder, *SMALL, "--logs", top / "logs"]
    here(*arguments, "--cache-dir", top / "cache", "--name", "small")
    assert "nothing had to be computed" in capsys.readouterr().out
    assert (folder / "trials.jsonl").read_bytes() == before


@pytest.fixture
def foreign_keras(tmp_path: Path) -> dict[str, str]:
    """What another project may have left behind, as environment variables."""
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float64", "epsilon": 0.01, "backend": "torch", '
        '"image_data_format": "channels_first"}'
    )
    return {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "none"}


def test_a_killed_search_resumes_and_ends_with_the_same_records(
    finished: tuple[Path, str], picture_folder: Path, foreign_keras: dict[str, str]
) -> None:
    top, _ = finished
    undisturbed = comparable(top / "logs" / "small")
    arguments = ["--data", picture_folder, *SMALL, "--logs", top / "killed", "--name", "small"]
    arguments += ["--cache-dir", top / "cache"]
    folder = top / "killed" / "small"
    process = subprocess.Popen(
        command("search", *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and lines(folder / "trials.jsonl") < 20:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < lines(folder / "trials.jsonl") < len(undisturbed)
    ended = run("search", *arguments, env=foreign_keras)  # which changes no record
    assert "resumed after" in ended.stdout
    assert comparable(folder) == undisturbed
    again, whole = read_predicted(folder), read_predicted(top / "logs" / "small")
    assert again.off.keys() == whole.off.keys()
    for name in whole.off:
        assert (again.of(name).classes == whole.of(name).classes).all()


def test_the_winner_says_the_same_beside_keras_settings_of_another_project(
    finished: tuple[Path, str], picture_folder: Path, foreign_keras: dict[str, str]
) -> None:
    photo = next(picture_folder.rglob("*.png"))
    said = run("predict", photo, "--logs", finished[0] / "logs", env=foreign_keras).stdout
    (answer,) = predict(finished[0] / "logs" / "small", [photo])
    assert isinstance(answer, Prediction) and said == f"{photo}: {in_words(answer)}\n"


@pytest.mark.slow  # test_kills has Ctrl-C, too
def test_ctrl_c_is_answered_at_once_and_another_one_ends_it_quietly(
    picture_folder: Path, tmp_path: Path
) -> None:
    arguments = ["--data", picture_folder, *SMALL, "--logs", tmp_path, "--cache-dir", tmp_path]
    with subprocess.Popen(
        command("search", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout and process.stderr
        while "features:" not in process.stdout.readline():  # then the first program is compiled
            assert process.poll() is None
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        said = next(line for line in process.stderr if line.startswith("stopping ..."))
        assert "the same command resumes" in said
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "" and process.wait() == 130


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_more_repeats_continue_a_finished_study(
    finished: tuple[Path, str], picture_folder: Path, tmp_path: Path
) -> None:
    top, _ = finished
    before = comparable(top / "logs" / "small")
    shutil.copytree(top / "logs", tmp_path / "logs")
    arguments = ["--data", picture_folder, *SMALL, "--logs", tmp_path / "logs", "--name", "small"]
    arguments += ["--cache-dir", top / "cache", "--repeats", "3"]
    here(*arguments)
    after = comparable(tmp_path / "logs" / "small")
    assert before.items() <= after.items()
    assert {r.repeat for r in after.values()} == {0, 1, 2}


def in_python(top: Path, logs: Path) -> dict[str, Any]:
    """The settings of `finished` beside data, space and optimizers, for `study.run`."""
    small = {"image_size": 32, "repeats": 2, "confirm": 2, "max_epochs": 4, "weights": "random"}
    return {**small, "population": 4, "logs": logs, "cache_dir": top / "cache", "name": "small"}


def test_the_cells_of_the_readme_resume_the_study_of_the_command(
    finished: tuple[Path, str], picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top, _ = finished
    monkeypatch.chdir(top)
    before = (top / "logs" / "small" / "trials.jsonl").read_bytes()
    section = README.read_text(encoding="utf-8").partition("## In a notebook\n")[2]
    cells = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    called = 'study.run(data="my_photos", space="quick", optimizers=["sgd", "adam"])'
    assert called in cells[0] and len(cells) > 3
    cells[0] = cells[0].replace(called, f"{called[:-1]}, **small)").replace('"my_photos"', "photos")
    names: dict[str, Any] = {"photos": picture_folder, "small": in_python(top, top / "logs")}
    for cell in cells:
        exec(cell, names)
    assert names["found"].folder == top / "logs" / "small"
    assert (top / "logs" / "small" / "trials.jsonl").read_bytes() == before
    assert (top / "ranking.pdf").read_bytes().startswith(b"%PDF")
    assert names["model"].output_shape == (None, 3)


@pytest.mark.filterwarnings(  # an interrupt may land between opening a file and its `with`
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_an_interrupted_cell_loses_nothing(
    finished: tuple[Path, str], picture_folder: Path, tmp_path: Path
) -> None:
    undisturbed = comparable(finished[0] / "logs" / "small")
    options = {"space": "quick", "optimizers": "sgd,adam", **in_python(finished[0], tmp_path)}
    over = threading.Event()

    def interrupt() -> None:  # as Jupyter does
        while lines(tmp_path / "small" / "trials.jsonl") < 3:
            if over.wait(0.01):
                return
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            study.run(picture_folder, **options)
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGINT, before)
    part = study.load("small", tmp_path)
    assert 3 <= len(part.trials) < len(undisturbed)
    again = study.run(picture_folder, **options)
    assert again is not None and comparable(again.folder) == undisturbed
    gc.collect()  # a file that the interrupt left open is closed here, not in the next test


def test_other_settings_under_the_same_name_are_refused_with_what_differs(
    finished: tuple[Path, str], picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    top, _ = finished
    arguments = ["--data", picture_folder, *SMALL, "--logs", top / "logs", "--name", "small"]
    here(*arguments, "--seed", "9", "--cache-dir", top / "cache", code=2)
    said = capsys.readouterr().err
    assert said.count("error:") == 1 and "Traceback" not in said
    assert "--seed 1 -> 9" in said
    assert "--name" in said and "--overwrite" in said


def test_a_dry_run_prints_plan_and_parameters_and_writes_nothing(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", picture_folder, "--weights", "random", "--logs", tmp_path / "logs"]
    arguments += ["--image-size", "32", "--dry-run", "--cache-dir", tmp_path / "cache"]
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    assert "a repeat has 12 hyperband searches of 62 trials (90 runs, 576 epochs) each" in printed
    assert "14,714,688" in printed and "Trainable params" in printed
    assert "plan: 12 optimizers: sgd, " in printed and " until the first look, " in printed
    assert "plan: features: 36 rows to compute, about 10 s here" in printed
    assert not (tmp_path / "logs").exists() and not list((tmp_path / "cache").rglob("*.npy"))


def test_the_blog_posts_comparison_runs_as_the_post_has_it(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--space", "blog_t11", "--tuner", "grid", "--data", picture_folder]
    arguments += ["--weights", "random", "--image-size", "32", "--max-epochs", "3"]
    arguments += ["--logs", tmp_path / "logs", "--cache-dir", tmp_path / "cache"]
    here(*arguments)
    said = capsys.readouterr().out
    assert "28 train, 7 validation" in said or "29 train, 7 validation" in said
    told = (tmp_path / "logs" / "blog_t11-grid" / "report" / "report.md").read_text()
    records = load_trials(tmp_path / "logs" / "blog_t11-grid")
    confirmed = {r.optimizer: r for r in records if r.phase == Phase.CONFIRM}
    assert set(confirmed) == {"adam", "sgd", "adam_staircase"}
    assert confirmed["sgd"].learning_rate == [0.01] * 3
    assert confirmed["adam_staircase"].hyperparameters["decay_steps"] == 60
    for name in confirmed:  # its two evaluation lines
        assert f"{name}: val_loss" in told


def test_what_the_posts_own_split_gets_wrong_is_said(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(picture_folder, data)
    for number in range(12):  # every picture twice: some pair is bound to be parted
        shutil.copy(data / "stripes" / f"{number:02d}.png", data / "stripes" / f"copy{number}.png")
    (data / "rare").mkdir()
    shutil.copy(data / "circles" / "00.png", data / "rare")
    arguments = ["--space", "blog_t11", "--data", str(data), "--weights", "random", "--dry-run"]
    assert main([*arguments, "--image-size", "32", "--repeats", "2", "--logs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "on both sides of Keras's split: " in printed
    assert "leaves no validation image of rare" in printed or "training image of rare" in printed
    assert "all repeats share one split" in printed


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("stratified", ["18 train, 6 validation, 12 test", "so --test-split does not apply;"]),
        ("folders", ["12 train, 12 validation, 12 test", "--split folders all repeats share one"]),
    ],
)
def test_the_plan_of_a_divided_folder_says_where_the_split_comes_from(
    picture_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    words: list[str],
) -> None:
    for part in range(3):
        for path in sorted(picture_folder.glob("*/*.png"))[part::3]:
            place = tmp_path / "up" / ("Training", "dev", "test")[part] / path.parent.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    arguments = ["--data", str(tmp_path / "up"), "--split", split, "--validation-split", "0.25"]
    arguments += ["--weights", "random", "--image-size", "32", "--dry-run", "--logs", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for sentence in ["circles 12 (4 Training, 4 dev, 4 test)", *words]:
        assert sentence in printed


def test_broken_odd_and_misnamed_files_are_named_and_left_out(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(picture_folder, data)
    stripes = data / "stripes"
    (stripes / "empty.jpg").write_bytes(b"")
    (stripes / "page.jpg").write_text("<html>not found</html>")
    (stripes / "cut.png").write_bytes((stripes / "00.png").read_bytes()[:200])
    (stripes / "notes.txt").write_text("not an image")
    shutil.copy(stripes / "01.png", stripes / "really a png.jpg")
    shutil.copy(stripes / "02.png", data / "circles" / "copy.png")
    Image.new("RGBA", (32, 32), (255, 255, 255, 0)).save(data / "circles" / "white.png")
    arguments = ["--data", data, *SMALL, "--optimizers", "sgd", "--repeats", "1", "--confirm", "1"]
    arguments += ["--logs", tmp_path / "logs", "--cache-dir", tmp_path / "cache"]
    here(*arguments, "--tuner", "random", "--trials", "1")
    printed = capsys.readouterr().out
    assert "39 in 3 classes, 1 other file ignored" in printed
    for name in ("empty.jpg", "page.jpg", "cut.png"):
        assert any(line.startswith("left out:") and name in line for line in printed.split("\n"))
    assert "3 files or folders were left out: one is cut off; one is empty (0 bytes); " in printed
    assert "2 images have the same content as one of another class (1 group, such as" in printed
    assert "1 image is one flat colour (circles/white.png)" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "no/such/folder"], ["no/such/folder", "does not exist", "--data"]),
        (["--data", ""], ["--data", "received ''"]),
        (["--data", "https://x.org/photos"], ["https://x.org/photos", "a web address"]),
        (["--space", "fast"], ["--space fast", "default, quick"]),
        (["--optimizers", "adam,sdg"], ["'sdg'", "valid: sgd"]),
        (
            ["--space", "quick", "--optimizers", "adam,sgd", "--ask", "adam,sdg"],
            ["--ask: 'sdg' is not", "(did you mean sgd?)", "best, all, or names out of sgd, adam"],
        ),
        (["--seed", "0"], ["--seed", "'0'", "at least 1"]),
        (["--tuner", "hyperbnd"], ["--tuner", "'hyperbnd'", "hyperband"]),
        (["--weights", "no.h5"], ["no.h5"]),
    ],
)
def test_a_mistake_ends_with_code_2_and_one_plain_sentence(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--logs", str(tmp_path)]) == 2
    printed = capsys.readouterr().err
    errors = [line for line in printed.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "Traceback" not in printed
    for word in words:
        assert word in errors[0]


def test_help_does_not_wait_for_tensorflow() -> None:
    code = (
        "import sys\nfrom study.search import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)


LITTLE_MEMORY = """
import resource, sys
import tensorflow, keras_tuner
from study.search import main

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 5 * 2**30, used + 5 * 2**30))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's memory limits")
def test_a_trial_that_does_not_fit_into_the_memory_fails_alone(
    picture_folder: Path, tmp_path: Path
) -> None:
    space = tmp_path / "huge.toml"
    space.write_text(
        "[head]\ndense_width = {choices = [16, 65536]}\n"  # 64 wide heads: 8 GiB at least
        '[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {choices = [0.01, 0.1]}\n'
    )
    arguments = ["--data", picture_folder, *SMALL, "--space", space, "--optimizers", "sgd"]
    arguments += ["--logs", tmp_path / "logs", "--cache-dir", tmp_path / "cache"]
    arguments += ["--tuner", "grid", "--repeats", "1", "--population", "64"]
    little = [sys.executable, "-c", LITTLE_MEMORY, *map(str, arguments)]
    ended = subprocess.run(little, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    trials = [r for r in load_trials(tmp_path / "logs" / "huge-grid") if r.phase == Phase.SEARCH]
    by_width = {16: TrialStatus.COMPLETED, 65536: TrialStatus.FAILED}
    assert len(trials) == 4
    for trial in trials:
        assert trial.status == by_width[int(trial.hyperparameters["dense_width"])]
        if trial.status == TrialStatus.FAILED:
            assert "out of memory" in trial.message and "--population" in trial.message
