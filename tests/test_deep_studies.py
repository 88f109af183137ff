"""A study of deep grey, from the plan to the answer about a new photo."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from study.common.tensorflow import load_model
from study.data.pixels.decoding import decode
from study.data.pixels.deep_grey import WHOLE, Scale
from study.predict import Prediction, predict, white_points
from study.predict import main as predict_main
from study.records.predictions import load_predictions
from study.records.study_files import WINNER_FILE
from study.search import main as search_main

WHITE = Scale(0, 4095)
SPACE = """
[head]
dense_width = 8
normalize = true
[optimizers.adam]
class = "Adam"
learning_rate = {min = 1e-3, max = 1e-2, scale = "log"}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve bits in 16-bit PNGs: bright on the left, or on the right."""
    top = tmp_path_factory.mktemp("deep")
    rng = np.random.default_rng(1)
    for name, ramp in (("left", np.linspace(1, 0, 32)), ("right", np.linspace(0, 1, 32))):
        (top / name).mkdir()
        for number in range(10):
            values = (ramp + rng.normal(0, 0.15, (32, 32))).clip(0, 1) * 4095
            Image.fromarray(values.astype(np.uint16)).save(top / name / f"{number}.png")
    return top


def arguments(folder: Path, top: Path) -> list[str]:
    space = top / "space.toml"
    space.write_text(SPACE)
    given = ["--data", str(folder), "--image-size", "32", "--weights", "random"]
    given += ["--space", str(space), "--tuner", "random", "--trials", "1", "--repeats", "1"]
    given += ["--confirm", "2", "--max-epochs", "3", "--population", "2", "--name", "deep"]
    return [*given, "--logs", str(top / "logs"), "--cache-dir", str(top / "cache")]


@pytest.fixture(scope="module")
def study(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("deep study")
    assert search_main(arguments(folder, top)) == 0
    return top / "logs" / "deep"


def test_a_dry_run_says_which_white_point_is_used(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search_main([*arguments(folder, tmp_path), "--dry-run"]) == 0
    line = "16/32-bit grey: 20 images of whole numbers, 0 is black and 4095 is white (12 bits)"
    assert line in capsys.readouterr().out


def test_the_white_point_is_kept_with_the_study_and_predict_uses_it(
    study: Path, folder: Path
) -> None:
    assert white_points(study) == {WHOLE: WHITE}
    found = load_predictions(study)
    assert found is not None
    table = found.optimizers[found.winner]
    answers = predict(study, [folder / path for path in table.paths])
    confidence = [one.probabilities[0] for one in answers if isinstance(one, Prediction)]
    np.testing.assert_allclose(confidence, table.confidence, atol=0.02)  # trained in bfloat16
    model = load_model(study / WINNER_FILE)
    dark = np.stack([decode(folder / path, 32) for path in table.paths]).astype(np.float32)
    assert np.abs(np.asarray(model(dark)).max(axis=1) - confidence).max() > 0.1


def test_the_report_says_what_the_model_alone_expects(study: Path) -> None:
    for name in ("report.html", "report.md"):
        text = (study / "report" / name).read_text()
        assert "whole numbers: black = 0.0, white = 4095.0" in text
        assert "best/winner.keras expects the same" in text
        assert "whole numbers from 0 (black) to 4095 (white) in 20 images" in text


def test_a_photo_of_a_kind_that_the_study_has_not_seen_is_answered_with_a_warning(
    study: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.linspace(0, 9, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "x.tif")
    paths = [str(tmp_path / "x.tif"), str(folder / "left" / "0.png")]
    assert predict_main(["--logs", str(study.parent), *paths]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 2
    assert captured.err.count("is 16/32-bit grey of floating-point numbers, which the study") == 1
