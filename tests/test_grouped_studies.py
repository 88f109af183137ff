"""Studies of tables and groups, through the real command: splits, resume, report."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from study.data.load_images import load_images
from study.records.study_meta import load_meta
from study.records.trial_record import TrialRecord
from study.records.trials_file import load_trials
from study.search import main

SPACE = """
[head]
dense_width = 8
[optimizers.adam]
class = "Adam"
learning_rate = {min = 1e-4, max = 1e-1, scale = "log"}
[optimizers.sgd]
class = "SGD"
learning_rate = {min = 1e-3, max = 1.0, scale = "log"}
"""
Search = Callable[..., int]


@pytest.fixture(scope="module")
def top(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with 36 pictures, two copies that were saved again, and a table of all."""
    top = tmp_path_factory.mktemp("grouped")
    lines = ["file,label,group"]
    for path in sorted(picture_folder.rglob("*.png")):
        label, number = path.parent.name, int(path.stem)
        shutil.copy(path, top / f"{label}{number}.png")
        lines.append(f"{label}{number}.png,{label},{label}{number // 3}")
        if number == 0:
            with Image.open(path) as image:
                image.save(top / f"again {label}.jpg", quality=90)
            lines.append(f"again {label}.jpg,{label},")
    (top / "labels.csv").write_text("\n".join(lines))
    (top / "space.toml").write_text(SPACE)
    return top


@pytest.fixture(scope="module")
def search(top: Path) -> Search:
    """Runs a study of the table; returns the exit code."""

    def run(name: str, *more: object, labels: str = "labels.csv") -> int:
        arguments = ["--labels", top / labels, "--space", top / "space.toml", "--name", name]
        arguments += ["--logs", top / "logs", "--cache-dir", top / "cache", "--image-size", 32]
        arguments += ["--weights", "random", "--tuner", "random", "--trials", 3]
        arguments += ["--max-epochs", 2, "--repeats", 2, "--confirm", 2, *more]
        return main([str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="module")
def finished(search: Search, top: Path) -> Path:
    assert search("whole") == 0
    return top / "logs" / "whole"


def comparable(folder: Path) -> dict[str, TrialRecord]:
    return {r.trial_id: replace(r, seconds=0.0) for r in load_trials(folder)}


def test_the_study_says_what_belongs_together(finished: Path) -> None:
    meta = load_meta(finished)
    assert meta.class_counts == [13, 13, 13] and meta.data["folder"] == "labels.csv"
    assert meta.data["groups"] == 12
    assert sorted(map(len, meta.data["near_copies"])) == [2, 2, 2]
    report = (finished / "report" / "report.md").read_text(encoding="utf-8")
    assert "39 images of 3 classes" in report
    assert (
        "They belong to 12 groups, none of which a split divides. Near-duplicates (6 images) "
        in report
    )
    assert "| groups | 12, by the column group of the table |" in report
    assert "6 images are near-duplicates of another one (3 groups, such as " in report
    assert "a stratified split keeps each group in one part" in report


def test_no_run_has_a_group_or_a_copy_on_two_sides(finished: Path, top: Path) -> None:
    images = load_images(None, labels=top / "labels.csv")
    recorded = load_meta(finished).split_digests
    assert {record.split for record in load_trials(finished)} >= set(recorded.values())
    copies = [row for row, path in enumerate(images.paths) if path.name.startswith("again")]
    assert len(copies) == 3
    for row in copies:  # belongs to its original's group
        assert sum(images.units == images.units[row]) == 4


@pytest.mark.slow  # test_search has a kill, too
def test_a_study_of_a_table_goes_on_after_a_kill_with_the_same_records(
    finished: Path, search: Search, top: Path
) -> None:
    cut = top / "logs" / "cut"
    cut.mkdir()
    meta = json.loads((finished / "study.json").read_text())
    (cut / "study.json").write_text(json.dumps(meta | {"name": "cut", "finished": False}))
    lines = (finished / "trials.jsonl").read_text().splitlines(keepends=True)
    (cut / "trials.jsonl").write_text("".join(lines[:7]) + lines[7][:50])  # a torn line
    assert search("cut") == 0
    assert comparable(cut) == comparable(finished)


OTHERWISE = [
    (["--near-duplicates", "keep"], "what stays on one side of a split: 6 near-duplicates -> "),
    (["--labels", "other.csv"], "images "),
    (["--split", "folders"], "keeps parts train, val and test as they are, but "),
    (["--group-pattern", "x"], "already has a column group: drop --group and --group-pattern"),
]


@pytest.mark.parametrize(("more", "expected"), OTHERWISE)
def test_what_would_be_another_study_is_refused_by_name(
    finished: Path, search: Search, top: Path, capsys: pytest.CaptureFixture[str],
    more: list[str], expected: str,
) -> None:  # fmt: skip
    text = (top / "labels.csv").read_text()
    (top / "other.csv").write_text(text.replace(",circles0", ",circles1"))
    more = [str(top / word) if word.endswith(".csv") else word for word in more]
    assert search("whole", *more) == 2
    assert expected in capsys.readouterr().err
