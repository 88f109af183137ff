"""One study a base: how they are named, what each is told, and the comparison at the end."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import study
from study.common.errors import UserError
from study.data.pixels.decoding import decode
from study.predict import Prediction, predict
from study.records.study_meta import load_meta
from study.records.trials_file import load_trials
from study.report.keras_code import from_pixels
from study.search import main as search_main
from study.search.command_line import as_arguments, bases_of, each_base, parse, resolve_options
from study.search.options import Options


def own_network(path: Path) -> str:
    """A small convolution over images of 24 pixels that gives a map."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((24, 24, 3)), keras.layers.Conv2D(6, 5, 3), keras.layers.Dropout(0.5)]
    keras.Sequential(layers).save(path)
    return str(path)


def resolved(*argv: str, table: dict[str, Any] | None = None) -> list[Options]:
    arguments, table = parse(["--data", "x", *argv]), table or {}
    bases = bases_of(arguments, table)
    return [resolve_options(one, table, "quick") for one in each_base(arguments, bases)]


def test_studies_of_several_bases_are_told_apart_by_name():
    one, two = resolved("--base", "VGG16, ResNet50V2")
    assert (one.name, two.name) == ("quick-hyperband", "quick-hyperband-ResNet50V2")
    assert (one.preprocess, two.preprocess) == ("caffe", "tf")
    assert resolved("--base", "ResNet50V2") == [two]  # begun alone, it goes on among others
    names = [options.name for options in resolved("--base", "VGG16,Xception", "--name", "mine")]
    assert names == ["mine-VGG16", "mine-Xception"]
    assert [options.name for options in resolved("--base", "Xception", "--name", "y")] == ["y"]


def test_bases_come_as_a_list_from_python_and_from_a_space():
    python = as_arguments(base=["VGG16", "ResNet50"])
    assert bases_of(python, {}) == ["VGG16", "ResNet50"]
    assert bases_of(parse([]), {"base": "VGG16,ResNet50"}) == ["VGG16", "ResNet50"]
    assert [o.base for o in resolved(table={"base": ["VGG19", "Xception"]})] == [
        "VGG19", "Xception"
    ]  # fmt: skip
    assert bases_of(parse(["--features", "x.npz"]), {"base": "VGG16,ResNet50"}) == ["VGG16"]


def test_a_file_is_told_its_preprocessing_and_a_name_its_weights(tmp_path: Path):
    own = own_network(tmp_path / "a,b.keras")
    assert [options.base for options in resolved("--base", own, "--preprocess", "tf")] == [own]
    own = own_network(tmp_path / "own.keras")
    one, two = resolved("--base", f"VGG19,{own}", "--preprocess", "torch", "--weights", "random")
    assert (one.preprocess, one.weights, one.image_size) == ("caffe", "random", 224)
    assert (two.preprocess, two.weights, two.image_size) == ("torch", "auto", 24)
    assert two.name == "quick-hyperband-own"
    (sized,) = resolved("--base", own, "--preprocess", "none", "--image-size", "32")
    assert sized.image_size == 32  # and the network refuses it


@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("VGG16,VGG16", "`base` VGG16 is listed twice"),
        ("a/x.keras,b/x.keras", r"`base` a/x\.keras and b/x\.keras would both be study \.\.\.-x"),
        ("VGG16,ResNet5", r"`base` ResNet5: not a model of keras.applications \(did you mean Res"),
        ("VGG16,", "`base`: received '', but needs a text"),
    ],
)
def test_a_wrong_list_of_bases_is_refused(base: str, sentence: str):
    with pytest.raises(UserError, match=sentence):
        resolved("--base", base)


@pytest.fixture(scope="module")
def command(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    top = tmp_path_factory.mktemp("bases")
    own = own_network(top / "own.keras")
    return [
        *("--base", f"MobileNet,{own}", "--preprocess", "rescale", "--weights", "random"),
        *("--data", str(picture_folder), "--space", "quick", "--optimizers", "adam"),
        *("--tuner", "random", "--trials", "2", "--max-epochs", "3", "--image-size", "32"),
        *("--repeats", "1", "--confirm", "1", "--population", "2", "--name", "two"),
        *("--logs", str(top / "logs"), "--cache-dir", str(top / "cache")),
    ]


def test_what_is_wrong_with_any_base_is_said_before_the_first_is_trained(
    command: list[str], capsys: pytest.CaptureFixture[str]
):
    assert search_main(command) == 2  # the second takes 24 pixels
    said = capsys.readouterr()
    assert "own.keras takes images of 24 pixels" in said.err and "study 1 of 2" not in said.out
    assert not Path(command[command.index("--logs") + 1]).exists()


@pytest.fixture(scope="module")
def logs(command: list[str]) -> Path:
    """Both studies, made and resumed by one command."""
    place = command.index("--image-size") + 1
    command[place : place + 1] = ["36"]
    network = command[1].split(",")[1]
    keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.Conv2D(6, 5, 3), keras.layers.Dropout(0.5)]
    ).save(network)
    assert search_main(command) == 0
    return Path(command[command.index("--logs") + 1])


def test_one_command_makes_a_study_a_base_and_compares_them(
    logs: Path, command: list[str], capsys: pytest.CaptureFixture[str]
):
    studies = [logs / "two-MobileNet", logs / "two-own"]
    before = [(load_trials(one), load_meta(one).created) for one in studies]
    assert [load_meta(one).data["features"] for one in studies] == [1024, 6]
    given = zip(command[::2], command[1::2], strict=True)
    options: dict[str, Any] = {key[2:].replace("-", "_"): value for key, value in given}
    found = study.run(**options | {"base": options["base"].split(",")})  # nothing is trained
    assert isinstance(found, list) and [one.folder for one in found] == studies
    said = capsys.readouterr().out
    assert said.count(", resumed after ") == 2 and "study 2 of 2: two-own, base own.keras" in said
    assert [(load_trials(one), load_meta(one).created) for one in studies] == before
    assert "comparison: " in said.split("study 2 of 2")[1].split("\nnext:")[1]
    assert list(studies[0].glob("report/compare/compare.html"))


def test_report_and_paragraph_name_the_base(logs: Path):
    one, two = (
        (logs / n / "report" / "report.md").read_text() for n in ("two-MobileNet", "two-own")
    )
    assert "1024 pooled features of a frozen MobileNet with random weights (36 px)" in one
    assert "6 pooled features of a frozen network of our own (own.keras, fingerprint " in two
    assert "VGG16" not in one + two


def test_the_printed_base_is_the_one_of_the_winner(logs: Path, picture_folder: Path):
    """The code, run on the trained head, says what the model to take away says."""
    paths = sorted(picture_folder.rglob("*.png"))[::7]
    pixels = np.stack([decode(path, 36) for path in paths]).astype(np.float32)
    for one in (logs / "two-MobileNet", logs / "two-own"):
        meta, head = load_meta(one), keras.models.load_model(one / "best" / "adam.keras")
        code = "\n".join(from_pixels(meta)).replace(
            "include_top=False", "weights=None, include_top=False"
        )
        found: dict[str, Any] = {"keras": keras, "layers": keras.layers}
        exec(compile(code, "pasted", "exec"), found)
        model, winner = (
            found["from_pixels"](head),
            keras.models.load_model(one / "best/winner.keras"),
        )
        model.set_weights(winner.get_weights())
        np.testing.assert_allclose(model(pixels), winner(pixels), rtol=1e-4, atol=1e-5)
        answers = predict(one, paths)
        found = [one.probabilities[0] for one in answers if isinstance(one, Prediction)]
        assert found == pytest.approx(np.asarray(winner(pixels)).max(axis=1), rel=1e-4)


def test_a_file_that_was_moved_goes_on_with_its_study(logs: Path, command: list[str]):
    own = Path(command[1].split(",")[1])
    moved = own.rename(own.with_name("moved.keras"))
    other = [str(moved) if word == command[1] else word for word in command]
    other[other.index("two")] = "two-own"
    other[other.index("--weights") + 1] = "auto"
    before = load_trials(logs / "two-own")
    assert search_main(other) == 0
    assert load_trials(logs / "two-own") == before


def test_another_base_does_not_go_on_with_a_study(
    logs: Path, command: list[str], capsys: pytest.CaptureFixture[str]
):
    other = ["MobileNetV2" if "," in word else word for word in command]
    other[other.index("two")] = "two-MobileNet"
    assert search_main(other) == 2
    said = capsys.readouterr().err
    assert "--base MobileNet -> MobileNetV2" in said and "weights" in said
