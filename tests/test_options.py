"""The command line: whose value wins, and the sentence about every wrong one."""

import dataclasses
import itertools
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.common.command import flag, in_flags
from study.common.errors import UserError
from study.search.command import main
from study.search.command_line import as_arguments, checked, help_of, parse, resolve_options
from study.search.options import OPTIONS, Options


def resolve(*argv: str, study: dict[str, Any] | None = None, space: str = "default") -> Options:
    return resolve_options(parse(argv), study or {}, space)


def refusal(*argv: str, study: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        resolve(*argv, study=study)
    return in_flags(str(caught.value), parse(argv))


def test_the_command_line_wins_over_the_space_and_the_space_over_the_defaults():
    assert resolve("--data", "x").max_epochs == 30
    assert resolve("--data", "x", study={"max_epochs": 50}).max_epochs == 50
    assert resolve("--data", "x", "--max-epochs", "7", study={"max_epochs": 50}).max_epochs == 7


def test_the_built_in_faces_bring_their_own_defaults():
    faces, photos = resolve(), resolve("--data", "photos")
    assert (faces.image_size, faces.validation_split, faces.test_split) == (112, 0.4, 0.3)
    assert (photos.image_size, photos.validation_split, photos.test_split) == (224, 0.2, 0.2)
    assert resolve("--image-size", "96").image_size == 96
    assert resolve(study={"image_size": 336}).image_size == 336
    assert resolve(study={"data": "photos"}).image_size == 224


def test_the_blog_space_makes_the_posts_settings():
    table = {
        "image_size": 336, "preprocess": "rescale", "split": "keras", "split_seed": 12,
        "validation_split": 0.2, "test_split": 0.0, "max_epochs": 50, "repeats": 1, "confirm": 1,
    }  # fmt: skip
    options = resolve("--tuner", "grid", study=table, space="blog_t11")
    assert all(getattr(options, key) == value for key, value in table.items())
    assert options.name == "blog_t11-grid"


WRONG = {  # arguments -> what the sentence must say
    ("--seed", "0"): "--seed: received '0', but needs a whole number, at least 1 and",
    ("--seed", "-1"): "--seed: received '-1', but needs a whole number, at least 1",
    ("--seed", "1.5"): "--seed: received '1.5', but needs a whole number",
    ("--split-seed", "5000000000"): "--split-seed: received '5000000000', but needs a whole number",
    ("--max-epochs", "0"): "--max-epochs: received '0', but needs a whole number, at least 1",
    ("--max-epochs", "many"): "--max-epochs: received 'many', but needs a whole number",
    ("--factor", "1"): "--factor: received '1', but needs a whole number, at least 2",
    ("--trials", "0"): "--trials: received '0', but needs a whole number, at least 1",
    ("--repeats", "0"): "--repeats: received '0', but needs auto, or a whole number, at least 1",
    ("--repeats", "9" * 5000): "but needs auto, or a whole number, at least 1 and at most 10,000",
    ("--repeats", "many"): "--repeats: received 'many', but needs auto, or a whole number",
    ("--most-repeats", "4"): "--most-repeats: received '4', but needs a whole number, at least 5",
    ("--trials", "5"): "--trials 5 has no effect with --tuner hyperband: drop it, or use --tuner r",
    ("--tuner", "random", "--factor", "5"): "--factor 5 has no effect with --tuner random: drop it",
    ("--repeats", "3", "--most-repeats", "9"): "--most-repeats 9 has no effect with --repeats 3: d",
    ("--margin", "0"): "--margin: received '0', but needs points of the metric, above 0 to 100",
    ("--margin", "101"): "--margin: received '101', but needs points of the metric, above 0 to 100",
    ("--margin", "nan"): "--margin: received 'nan', but needs points of the metric, above 0 to 100",
    ("--confirm", "0"): "--confirm: received '0', but needs a whole number, at least 1",
    ("--population", "0"): "--population: received '0', but needs a whole number, at least 1",
    (
        "--image-size",
        "16",
    ): "--image-size: received '16', but needs a whole number, at least 32 and at most 2,048",
    ("--image-size", "1000000"): "--image-size: received '1000000', but needs a whole number",
    (
        "--validation-split",
        "0",
    ): "--validation-split: received '0', but needs a fraction of the images",
    (
        "--validation-split",
        "1",
    ): "--validation-split: received '1', but needs a fraction of the images",
    ("--validation-split", "nan"): "--validation-split: received 'nan', but needs a fraction",
    ("--validation-split", "20%"): "--validation-split: received '20%', but needs a fraction",
    (
        "--test-split",
        "-0.1",
    ): "--test-split: received '-0.1', but needs a fraction of the images, 0 to",
    ("--validation-split", "0.5", "--test-split", "0.5"): "leave nothing to train on: keep their",
    ("--split", "random"): "--split: received 'random'; valid: stratified, keras, folders",
    ("--split", "keras"): "--split keras has no test set: set --test-split to 0, or use --split s",
    ("--preprocess", "bgr"): "--preprocess: received 'bgr'; valid: caffe, tf, torch, rescale, none",
    ("--preprocess", "none"): "--preprocess none: VGG16 takes caffe or rescale",
    ("--base", "ResNet50V2", "--preprocess", "caffe"): "caffe: ResNet50V2 takes tf or rescale",
    ("--base", "ConvNeXtTiny", "--preprocess", "rescale"): "takes none (it prepares pixels itself)",
    (
        "--base",
        "resnet50",
    ): "--base resnet50: not a model of keras.applications (did you mean Res",
    ("--base", "Xception", "--image-size", "64"): "--image-size 64: Xception needs at least 71 pix",
    ("--base", "no/mine.keras"): "--base no/mine.keras: no such file",
    ("--tuner", "optuna"): "--tuner: received 'optuna'; valid: hyperband, random, bayesian, grid",
    ("--allocation", "fair"): "--allocation: received 'fair'; valid: equal, joint",
    ("--device", "tpu"): "--device: received 'tpu'; valid: cpu, gpu",
    ("--time-limit", "0"): "--time-limit: received '0', but needs minutes, above 0",
    ("--time-limit", "inf"): "--time-limit: received 'inf', but needs minutes, above 0",
    ("--data", " "): "--data: received ' ', but needs a text",
    ("--optimizers", ""): "--optimizers: received '', but needs a text",
    ("--ask", " "): "--ask: received ' ', but needs a text",
    ("--space", ""): "--space: received '', but needs a text",
    ("--name", "../x"): "--name: received '../x', but needs letters, digits, - _ and .",
    ("--name", "."): "--name: received '.', but needs letters",
    ("--name", "a b"): "--name: received 'a b', but needs letters",
    ("--name", ""): "--name: received '', but needs letters",
    ("--name", "x" * 101): "but needs letters, digits, - _ and . (at most 100 bytes",
    ("--name", "家" * 40): "but needs letters, digits, - _ and . (at most 100 bytes",
    ("--name", "\udcff"): "--name: received '\\udcff', but needs letters",
}


@pytest.mark.parametrize("argv", WRONG)
def test_a_wrong_value_is_refused_with_its_option_and_what_is_valid(argv: tuple[str, ...]):
    sentence = refusal(*argv)
    assert WRONG[argv] in sentence
    assert len(sentence) < 250


def test_the_command_that_resumes_is_kept_as_it_was_given():
    words = ["--data", "my photos", "--strict", "--code", "a.py", "--code", "b.py"]
    words += ["--repeats", "5", "--margin", "1.5"]
    given = resolve(*words, "--overwrite", "--dry-run", "--tuner", "hyperband")
    start, kept = shlex.split(given.command)[:3], shlex.split(given.command)[3:]
    assert start == ["python", "-m", "study.search"] and sorted(kept) == sorted(words)
    assert resolve(*kept) == dataclasses.replace(given, overwrite=False, dry_run=False)
    later = resolve(*kept, "--margin", "1", "--ask", "all")  # as the report appends
    assert (later.margin, later.ask, later.repeats) == (1.0, "all", 5)


def test_what_a_space_says_of_another_tuner_than_the_users_is_no_mistake():
    table = {"tuner": "random", "trials": 5}
    assert resolve("--tuner", "hyperband", study=table).tuner == "hyperband"
    assert resolve("--trials", "7", study=table).trials == 7
    with pytest.raises(UserError, match="`trials` 5 has no effect with `tuner` hyperband"):
        resolve("--tuner", "random", study={"trials": 5} | {"tuner": "hyperband"})


def test_arguments_of_python_are_read_as_those_of_the_command_line():
    typed = ["--optimizers", "adam,sgd", "--repeats", "3", "--margin", "1.5", "--strict"]
    typed += ["--logs", "a/b", "--data", "x"]
    assert as_arguments(cache_dir=3, space=4) == parse(["--cache-dir", "3", "--space", "4"])
    python = as_arguments(
        optimizers=("adam", "sgd"), repeats=np.int64(3), margin=1.5, strict=True, overwrite=False,
        logs=Path("a/b"), data=Path("x"), seed=None,
    )  # fmt: skip
    assert resolve_options(python, {}, "default") == resolve(*typed)


WRONG_IN_PYTHON: list[tuple[dict[str, Any], str]] = [
    ({"optimzers": "adam"}, "`optimzers`: unknown option (did you mean optimizers?); valid: data,"),
    ({"xyzzy": 1}, "`xyzzy`: unknown option; valid: data, labels, features"),
    ({"seed": 0}, "`seed`: received 0, but needs a whole number, at least 1"),
    ({"repeats": True}, "`repeats`: received True, but needs auto, or a whole number"),
    ({"overwrite": "no"}, "`overwrite`: received 'no', but needs True or False"),
    ({"dry_run": 1}, "`dry_run`: received 1, but needs True or False"),
    ({"tuner": "hyperbnd"}, "`tuner`: received 'hyperbnd'; valid: hyperband, random"),
    ({"optimizers": []}, "`optimizers`: received [], but needs a text"),
    ({"cache_dir": 3.5j}, "`cache_dir`: received 3.5j, but needs a text"),
]


@pytest.mark.parametrize(("arguments", "expected"), WRONG_IN_PYTHON)
def test_a_wrong_argument_of_python_is_refused_by_its_name(
    arguments: dict[str, Any], expected: str
):
    with pytest.raises(UserError) as caught:
        as_arguments(**arguments)
    assert str(caught.value).startswith(expected)


WRONG_IN_SPACE: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 3}, "study.epochs: unknown key; valid: data, labels, group"),
    ({"name": "x"}, "study.name: unknown key"),
    ({"logs": "/etc"}, "study.logs: unknown key"),
    ({"weights": "/etc/x.h5"}, "study.weights: unknown key"),
    ({"max_epochs": 0}, "study.max_epochs: received 0, but needs a whole number, at least 1"),
    ({"max_epochs": 2.5}, "study.max_epochs: received 2.5, but needs a whole number, at least 1"),
    ({"max_epochs": True}, "study.max_epochs: received True, but needs a whole number"),
    ({"max_epochs": [3]}, "study.max_epochs: received [3], but needs a whole number"),
    ({"data": ["a", 1]}, "study.data: received ['a', 1], but needs a text"),
    ({"data": {"a": 1}}, "study.data: received {'a': 1}, but needs a text"),
    ({"tuner": "optuna"}, "study.tuner: received 'optuna'; valid: hyperband"),
    ({"tuner": 3}, "study.tuner: received 3; valid: hyperband"),
]


@pytest.mark.parametrize(("table", "expected"), WRONG_IN_SPACE)
def test_a_wrong_value_in_a_space_is_refused_with_its_key(table: dict[str, Any], expected: str):
    assert refusal(study=table).startswith(f"search space default: {expected}")


def test_a_space_may_list_its_optimizers_and_those_it_asks_about():
    assert resolve(study={"ask": ["adam", "sgd"]}).ask == "adam,sgd"
    assert resolve(study={"optimizers": ["adam", "sgd"]}).optimizers == "adam,sgd"
    assert resolve(study={"optimizers": "adam,sgd"}).optimizers == "adam,sgd"


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("default", "default-grid"),
        ("my space", "my-space-grid"),
        ("дом家", "дом家-grid"),
        (".hidden", "hidden-grid"),
        ("--x", "x-grid"),
        ("<b>\n\udcff", "-b----grid"),
        ("...", "study-grid"),
    ],
)
def test_the_default_name_is_the_space_and_the_tuner_as_a_folder_can_be_called(
    space: str, name: str
):
    try:
        found = resolve("--tuner", "grid", space=space).name
    except UnicodeEncodeError:
        pytest.fail("a name that is no text must not crash")
    assert found == name.lstrip("-")


@given(st.text(max_size=200))
def test_every_default_name_is_a_valid_name(space: str):
    name = resolve(space=space).name
    assert resolve("--name", name).name == name


@given(
    st.sampled_from(sorted(OPTIONS)),
    st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.lists(st.text()), st.none()),
)
def test_any_value_in_a_space_is_valid_or_a_user_error(key: str, value: Any):
    try:
        options = resolve(study={key: value})
    except UserError:
        return
    assert isinstance(options, Options)


def test_settings_are_what_decides_the_result_and_fit_into_json():
    settings = resolve("--logs", "a", "--cache-dir", "b", "--time-limit", "5").settings()
    assert json.loads(json.dumps(settings)) == settings
    places = {"strict", "follow_links", "name", "overwrite", "logs", "cache_dir", "dry_run", "code"}
    places |= {"cluster", "command"}
    every = {field.name for field in dataclasses.fields(Options)} - places
    assert set(settings) == every - {"features"}  # as before there were any
    of_images = {"data", "labels", "group", "group_pattern", "near_duplicates"}
    of_images |= {"base", "image_size", "preprocess", "views", "split_seed", "weights"}
    assert set(resolve("--features", "rows.npz").settings()) == every - of_images


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_ordinary_help_fits_a_screen_and_a_half_and_help_all_has_every_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    ordinary, every = printed(capsys, "--help"), printed(capsys, "--help-all")
    for key, one in OPTIONS.items():
        assert f"  {flag(key)} " in every or f"  {flag(key)}\n" in every
        assert one.rare != (f"  {flag(key)} " in ordinary)
    assert ordinary.count("\n") <= 62
    assert max(map(len, every.splitlines())) < 80
    assert "[the built-in faces]" in ordinary
    every = " ".join(every.split())
    assert "[30]" in every and "[224; faces 112]" in every and "[0.2; faces 0.4]" in every


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (
            "--optimzers adam",
            "--optimzers: unknown option (did you mean --optimizers?); --help",
        ),
        (
            "--optimzers=adam",
            "--optimzers: unknown option (did you mean --optimizers?); --help",
        ),
        ("--max_epochs 3", "--max_epochs: unknown option (did you mean --max-epochs?); --help"),
        ("-data x", "-data: unknown option (did you mean --data?); --help-all lists all options"),
        ("--max 3", "--max: unknown option (did you mean --max-epochs?); --help-all lists all"),
        ("--optimizers adam sgd", "sgd: does not belong to any option; --help-all lists all"),
        ("--seed", "--seed: needs a value; --help-all lists all options"),
        ("--seed --strict", "--seed: needs a value; --help-all lists all options"),
        ("--strict=3", "--strict: takes no value, but received '3'; --help-all lists all options"),
        ("--seed 0", "--seed: received '0', but needs a whole number, at least 1 and at most "),
    ],
)
def test_a_mistake_is_one_line_and_comes_before_anything_heavy(
    argv: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("study.search.command.search", pytest.fail)
    try:
        code = main(argv.split())
    except SystemExit as ended:
        code = ended.code
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.startswith(f"error: {line}")
    assert captured.err.count("\n") == 1


def test_defaults_are_valid():
    for key, one in OPTIONS.items():
        for default in (one.default, one.faces):
            if default not in (None, "", ()):
                plain = str(default) if isinstance(default, Path) else default
                assert checked(plain, one, key) == default


DOCUMENT = Path(__file__).parents[1] / "docs" / "options.md"


def documented() -> str:
    """Return `docs/options.md` as the declaration has it."""
    lines = [
        "# Options of the search",
        "",
        "`python -m study.search --OPTION VALUE`, or `study.run(option=value)` with `_` for `-`.",
        "S: the `[study]` table of a search space may set it, and `study.json` records it; R: only",
        "the latter. The others concern one call. Defaults are in brackets.",
        "",
        "This file is written by `python -m tests.test_options`.",
    ]
    heading = ("| option | | what it does |", "|---|---|---|")
    for group, options in itertools.groupby(OPTIONS.items(), lambda item: item[1].group):
        lines += ["", f"## {group.capitalize()}", "", *heading]
        for key, one in options:
            words = help_of(one).replace("|", "\\|")
            start = f"{flag(key)} {one.rule.metavar}".strip().replace("|", "\\|")
            reach = {"space": "S", "study": "R", "call": ""}[one.reach]
            lines.append(f"| `{start}` | {reach} | {words} |")
    return "\n".join(lines) + "\n"


def test_the_document_has_the_options_as_they_are_declared():
    written = DOCUMENT.read_text(encoding="utf-8")
    assert written == documented(), "python -m tests.test_options writes docs/options.md again"


def test_help_answers_quickly_and_without_tensorflow():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['study.search', '--help']\n"
        "try: runpy.run_module('study.search', run_name='__main__')\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "heavy = {'tensorflow', 'keras', 'keras_tuner', 'matplotlib', 'jinja2', 'scipy'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    start = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "usage: python -m study.search" in ended.stdout
    assert time.monotonic() - start < 5  # a second where nothing else runs


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(documented(), encoding="utf-8")
