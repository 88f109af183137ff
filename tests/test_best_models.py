"""What a study leaves behind: the winner's model, its mistakes, and the command that asks it."""

import csv
import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from test_protocol import options, read
from test_protocol import study as confirmed_study

from study.data.pixels.decoding import decode
from study.machines.here import Here
from study.predict import Prediction, predict
from study.predict import main as predict_main
from study.records.outcomes import training_length, winning_run
from study.records.predictions import MOST_MISTAKES, Predictions, load_predictions, worst_mistakes
from study.records.study_meta import load_meta
from study.report.analysis.confusion import load_mistakes
from study.search import main as search_main
from study.search.best_models import save_model, write_best
from study.search.image_subject import write_mistakes
from study.search.row_subject import RowSubject
from study.training.head import head_probabilities
from study.training.plain_keras import train_plainly
from study.training.runs import HeadRun

PLAIN = """
import sys; import numpy as np; import keras
assert "study" not in sys.modules
model = keras.models.load_model(sys.argv[1])
pixels = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(model.predict(pixels, verbose=0)))
"""


@pytest.fixture(scope="module")
def study(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study with random features, so that the winner makes mistakes."""
    top = tmp_path_factory.mktemp("takeaway")
    arguments = ["--data", str(picture_folder), "--image-size", "32", "--weights", "random"]
    arguments += ["--space", "quick", "--optimizers", "adam", "--tuner", "random", "--trials", "2"]
    arguments += ["--repeats", "1", "--confirm", "2", "--max-epochs", "3", "--population", "4"]
    arguments += ["--logs", str(top / "logs"), "--cache-dir", str(top / "cache"), "--name", "small"]
    assert search_main(arguments) == 0
    return top / "logs" / "small"


def predictions(study: Path) -> Predictions:
    found = load_predictions(study)
    assert found is not None
    return found.optimizers[found.winner]


def table_of(labels: list[int], said: list[int], confidence: list[float]) -> Predictions:
    paths = [f"{number}.png" for number in range(len(labels))]
    return Predictions("adam/0/confirm/0000-0", "test", paths, labels, said, confidence)


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_model_that_the_disk_has_no_room_for_leaves_nothing_behind(tmp_path: Path) -> None:
    import resource

    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(512)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"winner\.keras'$") as caught:
            save_model(tmp_path / "best" / "winner.keras", model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG and not list((tmp_path / "best").iterdir())


def test_the_winner_loads_in_plain_keras_and_gives_the_reported_predictions(
    study: Path, picture_folder: Path, tmp_path: Path
) -> None:
    table = predictions(study)
    pixels = np.stack([decode(picture_folder / path, 32) for path in table.paths])
    np.save(tmp_path / "pixels.npy", pixels.astype(np.float32))
    places = [str(tmp_path / "pixels.npy"), str(tmp_path / "said.npy")]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-c", PLAIN, str(study / "best" / "winner.keras"), *places],
        check=True,
        cwd=tmp_path,  # our package cannot be imported from here
        env=environment,
        capture_output=True,
    )
    said = np.load(tmp_path / "said.npy")
    agree = np.mean(said.argmax(axis=1) == np.array(table.predictions))
    assert agree >= 1 - 1 / len(said)  # the features were computed in the device's dtype


def test_a_head_to_take_home_is_plain_keras_trained_as_long_as_the_mean_curve_says(
    tmp_path: Path,
) -> None:
    text = "[head]\ndense_width = 16\ndropout = 0.0\nnormalize = true\n"
    for name in ("SGD", "Adam"):
        text += (
            f'[optimizers.{name}]\nclass = "{name}"\nlearning_rate = {{choices = [0.03, 0.1]}}\n'
        )
    space = read(tmp_path, text)
    chosen = options("--tuner", "grid", "--max-epochs", "8", "--confirm", "3")
    protocol, saved = confirmed_study(space, chosen)
    data, rules = protocol.runner.data, protocol.runner.trainer.rules
    np.savez(tmp_path / "blobs.npz", x=data.features, y=data.labels)
    subject = RowSubject(str(tmp_path / "blobs.npz"), chosen, Here(None))
    write_best(tmp_path, protocol, subject)
    lengths = []
    for name in space.optimizers:
        own = [record for record in saved if record.optimizer == name]
        run = winning_run(own)
        assert run is not None
        epochs = training_length(run, own).epochs
        lengths.append((epochs, run.best_epoch, run.epochs))
        task = protocol.runner.tasks[run.trial_id]
        split, statistics = task.split, protocol.runner.statistics(task)
        again = HeadRun(task.config, split.train, split.validation, run.seed, epochs)
        weights = train_plainly(again._replace(last_weights=True), data.table, rules).weights
        wanted = head_probabilities(task.config, weights, data.features, statistics)
        head = keras.models.load_model(tmp_path / "best" / f"{name}.keras")
        np.testing.assert_allclose(head.predict(data.features, verbose=0), wanted, atol=1e-4)
    assert any(epochs not in (best, last) for epochs, best, last in lengths), lengths


def test_predict_prints_class_and_probability_of_each_image(
    study: Path, picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = predictions(study)
    paths = [str(picture_folder / path) for path in table.paths[:3]]
    assert predict_main(["--logs", str(study.parent), *paths]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = load_meta(study).class_names
    assert len(lines) == 3
    for line, path, said in zip(lines, paths, table.predictions, strict=False):
        assert line.startswith(f"{path}: ")
        assert f": {names[said]} " in line and "% (then " in line


def test_what_is_no_image_is_named_and_the_others_are_answered(
    study: Path, picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(picture_folder / predictions(study).paths[0])
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    logs = ["--logs", str(study.parent)]
    assert predict_main([*logs, str(text), good, str(tmp_path / "nothing.jpg")]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert f"error: {text}" in captured.err and "nothing.jpg" in captured.err


@pytest.fixture
def photos(picture_folder: Path, tmp_path: Path) -> Path:
    """40 images in two folders, a damaged one, and what is to be passed over."""
    folder, bad = tmp_path / "photos", "cut\x1b[2J\n.png"
    source = sorted(picture_folder.rglob("*.png"))
    for number in range(40):
        target = folder / ("", "more")[number % 2] / f"{number:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source[number % len(source)].read_bytes())
    (folder / "more" / bad).write_bytes(source[0].read_bytes()[:300])
    (folder / "notes.txt").write_text("no picture")
    for name in (".hidden.png", "@eadir/00.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(source[0].read_bytes())
    return folder


def test_a_folder_is_answered_image_by_image_and_what_is_damaged_is_named_at_the_end(
    study: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "said.csv"
    arguments = ["--logs", str(study.parent), str(photos), "--csv", str(table)]
    assert predict_main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == f"40 images: {table}\n"
    assert printed.err.splitlines()[-1] == f"error: {photos}/more/cut\\x1b[2J\\n.png: is cut off"
    assert "notes.txt" not in printed.err
    head, *rows = csv.reader(table.read_text().splitlines())
    assert head[:5] == ["path", "class", "probability", "class_2", "probability_2"]
    given = [f"{number:02d}.png" for number in range(0, 40, 2)]
    given += [f"more/{number:02d}.png" for number in range(1, 40, 2)]
    assert [row[0] for row in rows] == [str(photos / name) for name in given]
    for row, answer in zip(rows, predict(study, [Path(row[0]) for row in rows]), strict=True):
        assert isinstance(answer, Prediction) and row[1] == answer.names[0]
        assert float(row[2]) == pytest.approx(answer.probabilities[0], abs=1e-5)


def test_a_table_can_be_printed_and_what_cannot_be_written_is_refused_before_the_work(
    study: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, photo = ["--logs", str(study.parent)], str(photos / "00.png")
    assert predict_main([*logs, photo, "--csv", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    (tmp_path / "empty").mkdir()
    for arguments, sentence in (
        ([photo, "--csv", str(tmp_path)], "--csv .* cannot be written"),
        ([str(tmp_path / "empty")], "no image in .*empty"),
    ):
        assert predict_main([*logs, *arguments]) == 2
        assert re.search(f"error: {sentence}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--study", "other"], "no study named 'other' with a winner"),
        (["--logs", "nowhere"], "no study in nowhere has a winner yet"),
    ],
)
def test_a_missing_winner_is_one_sentence(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    logs = ["--logs", str(study.parent)]
    assert predict_main([*logs, *arguments, "x.jpg"]) == 2
    assert sentence in capsys.readouterr().err


def test_mistakes_are_kept_as_pictures_that_the_report_shows(study: Path) -> None:
    table = predictions(study)
    wrong = sum(a != b for a, b in zip(table.labels, table.predictions, strict=True))
    found = load_mistakes(study, table)
    assert wrong and len(found) == min(wrong, MOST_MISTAKES)
    assert all(one.true != one.said and one.pair.shape == (96, 192, 3) for one in found)
    assert (study / "report" / "figures" / "mistakes.png").is_file()


def test_one_confusion_does_not_fill_all_the_room() -> None:
    table = table_of([0] * 20 + [1, 2], [1] * 20 + [2, 0], [0.9] * 20 + [0.5, 0.4])
    shown = worst_mistakes(table)
    assert len(shown) == MOST_MISTAKES
    assert shown[:4] == [0, 1, 20, 21]


def test_frequent_mistakes_come_first_and_old_pictures_go(tmp_path: Path) -> None:
    table = table_of([0, 0, 1, 2, 2], [1, 0, 0, 1, 1], [0.9, 0.9, 0.8, 0.6, 0.7])
    assert worst_mistakes(table) == [4, 3, 0, 2]
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20, 30), (number * 40, 0, 0)).save(paths[-1])
    folder = tmp_path / "study"
    write_mistakes(folder, table, paths, {0: paths[0], 1: paths[1]}, {})
    assert [one.pair[0, 0, 0] for one in load_mistakes(folder, table)] == [160, 120, 0, 80]
    better = replace(table, predictions=[0, 0, 1, 2, 1])
    write_mistakes(folder, better, paths, {1: paths[1]}, {})
    assert len(load_mistakes(folder, better)) == 1
    assert [p.name for p in (folder / "best" / "mistakes").iterdir()] == ["00.png"]
