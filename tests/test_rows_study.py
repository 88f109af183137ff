"""A study of rows that somebody else computed, through the real commands: scikit-learn's digits."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import study
from study.common.errors import UserError
from study.compare import main as compare_main
from study.data.load_images import load_images
from study.features.backbone import load_backbone
from study.features.extract import extract_features
from study.predict import main as predict_main
from study.records.predictions import load_predictions
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.search import main
from study.search.command_line import parse, resolve_options
from study.search.options import Options

COUNT = 360
SMALL = ["--space", "quick", "--optimizers", "sgd,adam", "--repeats", "2", "--confirm", "2"]
SMALL += ["--max-epochs", "3", "--population", "4"]
NOT_OF_ROWS = re.compile(r"image|photo|picture|pixel|vgg|folder|\b512\b", re.IGNORECASE)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(360, 64) float64 and (360,) class numbers; the corner of a digit never has ink."""
    x, y = load_digits(return_X_y=True)
    return x[:COUNT], y[:COUNT]


def search(features: Path, top: Path, *more: str) -> int:
    places = ["--logs", str(top / "logs"), "--cache-dir", str(top / "cache"), "--name", "digits"]
    return main(["--features", str(features), *SMALL, *places, *more])


def comparable(folder: Path) -> dict[str, TrialRecord]:
    """Records by trial, without the time they took."""
    return {r.trial_id: replace(r, seconds=0.0) for r in load_trials(folder)}


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def rows(top: Path) -> Path:
    x, y = digits()
    np.savez(top / "digits.npz", x=x, y=y)
    return top / "digits.npz"


@pytest.fixture(scope="module")
def printed(rows: Path, top: Path) -> str:
    """What a small study, run to its end as a user does it, has printed."""
    code = "import sys; from study.search import main; sys.exit(main())"
    places = ["--logs", str(top / "logs"), "--cache-dir", str(top / "cache"), "--name", "digits"]
    command = [sys.executable, "-c", code, "--features", str(rows), *SMALL, *places]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture
def folder(printed: str, top: Path) -> Path:
    return top / "logs" / "digits"


def test_it_is_told_and_reported_as_one_of_rows(printed: str, folder: Path) -> None:
    assert "rows: 360 of digits.npz, 64 numbers each, in 10 classes" in printed
    assert "training and validation rows are drawn afresh" in printed
    report = (folder / "report" / "report.md").read_text()
    assert "given features (digits.npz, 64 numbers per row), on 360 rows of 10 classes" in report
    assert "never vary, so they carry no information." in report
    said = f"{printed}{report}{(folder / 'study.json').read_text()}"
    assert not NOT_OF_ROWS.findall(said.replace(str(folder.parent), ""))
    for name in ("ranking", "confusion", "per_class", "curves"):
        assert (folder / "report" / "figures" / f"{name}.png").is_file()
    assert not (folder / "report" / "figures" / "mistakes.png").exists()
    assert not (folder / "best" / "mistakes").exists()
    events = b"".join(path.read_bytes() for path in folder.glob("tensorboard/report/*"))
    assert b"search/plan" in events and b"training_images" not in events


def test_the_winner_goes_from_rows_to_probabilities_in_plain_keras(folder: Path) -> None:
    import keras

    found = load_predictions(folder)
    assert found is not None
    table = found.optimizers[found.winner]
    x, y = digits()
    numbers = [int(name.removeprefix("row ")) for name in table.paths]
    assert table.labels == y[numbers].tolist()
    model = keras.models.load_model(folder / "best" / "winner.keras")
    assert model.input_shape == (None, 64) and model.output_shape == (None, 10)
    said = model.predict(x[numbers], verbose=0)
    assert said.argmax(axis=1).tolist() == table.predictions
    assert np.mean(said.argmax(axis=1) == y[numbers]) > 0.6  # chance is 0.1


def test_the_printed_code_trains_a_head_on_such_rows(folder: Path) -> None:
    page = (folder / "report" / "report.md").read_text()
    code = page.partition("as Keras code")[2].partition("## ")[0]
    code = "\n".join(line[4:] for line in code.splitlines() if line.startswith("    "))
    space: dict[str, Any] = {}
    exec(code, space)
    x, y = digits()
    head = space["train"](x, y, verbose=0)
    assert head.output_shape == (None, 10)
    said = re.search(
        r"Train (\d) epochs?: there the mean .*?highest \((.*?) %", code.replace("\n# ", " ")
    )
    assert said and len(head.history.epoch) == int(said[1])
    assert 100 * head.evaluate(x, y, verbose=0, return_dict=True)["accuracy"] > float(said[2]) - 5
    assert "it turns rows (N, 64) into" in code and "VGG" not in code


@pytest.mark.slow  # as test_search.py has it of images
def test_a_killed_study_resumes_and_ends_with_the_same_records(
    rows: Path, top: Path, folder: Path
) -> None:
    places = ["--logs", str(top / "killed"), "--cache-dir", str(top / "cache"), "--name", "digits"]
    code = "import sys; from study.search import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "--features", str(rows), *SMALL, *places]
    trials = top / "killed" / "digits" / "trials.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not trials.exists() or len(trials.read_bytes().splitlines()) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "resumed after" in ended.stdout, ended.stderr
    assert comparable(top / "killed" / "digits") == comparable(folder)


def test_a_moved_file_of_equal_content_resumes_and_another_one_is_refused(
    rows: Path, top: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = digits()
    before = comparable(folder)
    np.savez_compressed(tmp_path / "moved.npz", y=y.astype(np.uint8), x=x.astype(np.float32))
    assert search(tmp_path / "moved.npz", top) == 0
    assert f"resumed after {len(before)} runs" in capsys.readouterr().out
    assert comparable(folder) == before
    x[0, 5] += 1
    np.savez(tmp_path / "other.npz", x=x, y=y)
    assert search(tmp_path / "other.npz", top) == 2
    assert "has different settings: rows " in capsys.readouterr().err
    assert search(rows, top) == 0


def test_more_repeats_go_on(rows: Path, top: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "logs" / "digits")
    (tmp_path / "cache").symlink_to(top / "cache")
    assert search(rows, tmp_path, "--repeats", "3") == 0
    after = comparable(tmp_path / "logs" / "digits")
    assert {record.repeat for record in after.values()} == {0, 1, 2}
    assert comparable(folder).items() <= after.items()


def test_two_such_studies_are_compared(
    top: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = digits()
    np.savez(top / "half.npz", x=x[::2], y=y[::2])
    assert search(top / "half.npz", top, "--name", "half", "--repeats", "1") == 0
    both = ["--study", "digits", "--study", "half", "--logs", str(top / "logs")]
    assert compare_main(both) == 0
    said = capsys.readouterr().out
    assert "other rows" in said and "The rows are not the same" in said


def test_predict_says_how_to_ask_the_winner(
    top: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict_main(["photo.jpg", "--logs", str(top / "logs"), "--study", "digits"]) == 2
    said = capsys.readouterr().err
    assert "study digits is of rows of 64 numbers (digits.npz)" in said
    assert "winner.keras').predict(rows)" in said and said.count("\n") == 1


def test_a_notebook_runs_and_loads_it(
    rows: Path, top: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.run(features=rows, logs=top / "logs", dry_run=True) is None
    said = capsys.readouterr().out
    assert 'Model: "head"' in said and said.count("Total params") == 1
    found = study.load("digits", logs=top / "logs")
    assert found.winner().input_shape == (None, 64)
    assert set(found.ranking["optimizer"]) == {"sgd", "adam"}
    assert "VGG16" not in repr(found) and "image" not in repr(found)


def test_groups_parts_and_weights_of_the_file_are_honoured(
    top: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = digits()
    split = np.array(["train", "train", "val", "test"])[np.arange(COUNT) // 3 % 4]
    names = np.array([f"digit {number}" for number in range(10)])
    group = np.arange(COUNT) // 2
    weights = np.arange(COUNT) % 7 / 2
    more = {"split": split, "group": group, "class_names": names}
    np.savez(tmp_path / "d.npz", x=x, y=y, sample_weight=weights, **more)
    (tmp_path / "cache").symlink_to(top / "cache")
    assert search(tmp_path / "d.npz", tmp_path, "--optimizers", "adam", "--repeats", "1") == 0
    said = capsys.readouterr().out
    assert "the test set is the part test as it is, so --test-split does not apply" in said
    assert "groups: 180, with 360 rows in all, each on one side of every stratified split" in said
    found = load_predictions(tmp_path / "logs" / "digits")
    assert found is not None and found.optimizers["adam"].set == "test"
    tested = [int(name.removeprefix("row ")) for name in found.optimizers["adam"].paths]
    assert tested == np.flatnonzero(split == "test").tolist()
    assert load_meta(tmp_path / "logs" / "digits").class_names == names.tolist()
    assert "sample weights: 0 to 3 (52 of 360 rows weigh 0) in the training loss" in said
    report = (tmp_path / "logs" / "digits" / "report" / "report.md").read_text()
    assert "sample weights count in the training loss, not where rows are judged." in report
    assert "def train(features, labels, sample_weight, **more)" in report
    np.savez(tmp_path / "d.npz", x=x, y=y, sample_weight=weights[::-1], **more)
    assert search(tmp_path / "d.npz", tmp_path, "--optimizers", "adam", "--repeats", "1") == 2
    assert "has different settings: rows " in capsys.readouterr().err


def test_the_same_rows_of_images_and_of_a_file_give_the_same_curves(
    picture_folder: Path, top: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").symlink_to(top / "cache")
    network = ["--image-size", "32", "--weights", "random"]
    images = load_images(picture_folder)
    backbone = load_backbone("random", image_size=32, preprocess="caffe")
    found = extract_features(images, backbone, cache_dir=tmp_path / "cache")
    names = np.array(images.class_names)
    np.savez(tmp_path / "rows.npz", x=found.features, y=images.labels, class_names=names)
    places = ["--logs", str(tmp_path / "logs"), "--cache-dir", str(tmp_path / "cache")]
    small = [*SMALL, "--repeats", "1", *places]
    assert main(["--data", str(picture_folder), *network, *small, "--name", "images"]) == 0
    assert main(["--features", str(tmp_path / "rows.npz"), *small, "--name", "rows"]) == 0
    of_images = comparable(tmp_path / "logs" / "images")
    assert comparable(tmp_path / "logs" / "rows") == of_images and len(of_images) > 10


# ---- options ----


def resolve(*argv: str, table: dict[str, Any] | None = None) -> Options:
    return resolve_options(parse(argv), table or {}, "default")


@pytest.mark.parametrize(
    "option",
    [
        ("--data", "photos"),
        ("--image-size", "96"),
        ("--preprocess", "rescale"),
        ("--weights", "random"),
        ("--split-seed", "3"),
        ("--strict",),
    ],
)
def test_what_only_images_have_is_refused_beside_rows(option: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        resolve("--features", "rows.npz", *option)
    key = option[0].removeprefix("--").replace("-", "_")
    assert f"`{key}` is for images, but `features` are rows" in str(error.value)


def test_keras_split_is_refused_beside_rows() -> None:
    with pytest.raises(UserError, match="`split` keras divides a folder of images"):
        resolve("--features", "rows.npz", "--split", "keras", "--test-split", "0")


def test_a_space_for_images_serves_rows_too_and_never_names_a_file() -> None:
    table = {"data": "photos", "image_size": 336, "preprocess": "rescale", "confirm": 3}
    options = resolve("--features", "rows.npz", table=table)
    assert options.data is None and options.confirm == 3
    assert (options.validation_split, options.test_split) == (0.2, 0.2)  # not those of the faces
    assert options.name == "default-hyperband"
    with pytest.raises(UserError, match=r"study\.features: unknown key"):
        resolve(table={"features": "rows.npz"})


def test_study_json_has_no_settings_of_images(folder: Path) -> None:
    table = json.loads((folder / "study.json").read_text())
    assert table["settings"]["features"].endswith("digits.npz")
    assert not {"data", "image_size", "preprocess", "weights"} & table["settings"].keys()
    assert table["data"]["features"] == 64 and table["data"]["rows"] == COUNT
    assert table["weights"] == {}
    assert set(table["device"]) == {"kind", "name", "population", "widths", "rounding"}
