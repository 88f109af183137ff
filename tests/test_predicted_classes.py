"""What confirmation runs predict, on the disk: small, and whole after any kill."""

import json
from pathlib import Path

import numpy as np
import pytest

from study.common.errors import UserError
from study.records.predicted_classes import (
    Labelled,
    PredictedClasses,
    PredictedRun,
    append_predicted,
    read_predicted,
    repair_predicted,
)
from study.records.study_files import PREDICTED_FILE


def examples(count: int = 50, classes: int = 3) -> Labelled:
    return Labelled(np.arange(count) % classes, np.arange(count) // 2 * 2, classes)


def runs(of: Labelled, count: int = 3, *, right: float = 0.8, seed: int = 1) -> list[PredictedRun]:
    """Two runs on each split of a fifth of the examples."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        if number % 2 == 0:
            rows = np.sort(rng.permutation(len(of.labels))[: len(of.labels) // 5])
        guesses = rng.integers(0, of.classes, len(rows))
        classes = np.where(rng.random(len(rows)) < right, of.labels[rows], guesses)
        kind = np.min_scalar_type(of.classes - 1)
        name = f"adam/{number}/confirm/0001-0"
        found.append(PredictedRun(name, f"split {number // 2}", rows, classes.astype(kind)))
    return found


def written(folder: Path, of: Labelled, given: list[PredictedRun]) -> PredictedClasses:
    append_predicted(folder, PredictedClasses(), of, given)
    return read_predicted(folder)


def same(found: PredictedClasses, given: list[PredictedRun]) -> bool:
    return list(found.off) == [run.trial_id for run in given] and all(
        found.of(run.trial_id).split == run.split
        and np.array_equal(found.of(run.trial_id).rows, run.rows)
        and np.array_equal(found.of(run.trial_id).classes, run.classes)
        for run in given
    )


@pytest.mark.parametrize("classes", [2, 256, 257, 1000])
def test_what_was_written_is_read(tmp_path: Path, classes: int) -> None:
    of = examples(2000, classes)
    found = written(tmp_path, of, runs(of))
    assert found.whole and same(found, runs(of))
    assert found.examples is not None and found.examples.classes == classes
    for one, other in zip(found.examples[:2], of[:2], strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("classes", "right"), [(2, 0.5), (10, 0.9), (256, 0.0), (1000, 0.3)])
def test_an_example_and_run_take_at_most_two_bytes(
    tmp_path: Path, classes: int, right: float
) -> None:
    of = examples(20_000, classes)
    written(tmp_path, of, runs(of, 2, right=right))
    last = (tmp_path / PREDICTED_FILE).read_bytes().splitlines()[-1]
    assert len(last) <= 2 * 4_000


def test_a_million_images_are_read_again(tmp_path: Path) -> None:
    of = examples(1_000_000, 10)
    assert same(written(tmp_path, of, runs(of, 2)), runs(of, 2))


def test_a_kill_at_any_byte_loses_at_most_the_last_line(tmp_path: Path) -> None:
    given = runs(examples(), 4)
    written(tmp_path, examples(), given[:2])
    before = (tmp_path / PREDICTED_FILE).read_bytes()
    append_predicted(tmp_path, read_predicted(tmp_path), examples(), given[2:3])
    whole = (tmp_path / PREDICTED_FILE).read_bytes()
    for size in range(len(before), len(whole)):
        (tmp_path / PREDICTED_FILE).write_bytes(whole[:size])
        known = read_predicted(tmp_path)
        assert same(known, given[:2])
        repair_predicted(tmp_path, known)
        append_predicted(tmp_path, known, examples(), given[2:])
        assert same(read_predicted(tmp_path), given)


def test_damaged_lines_are_dropped_and_with_the_first_one_all_that_need_it(tmp_path: Path) -> None:
    given = runs(examples())
    written(tmp_path, examples(), given)
    path = tmp_path / PREDICTED_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 2 + 3
    for number, kept in ((0, []), (1, given[2:]), (2, given[1:]), (5, given[:2])):
        line = lines[number].replace(b'": "e', b'": "f', 1)
        assert line != lines[number]
        path.write_bytes(b"".join([*lines[:number], line, *lines[number + 1 :]]))
        known = read_predicted(tmp_path)
        assert not known.whole and same(known, kept)
        repair_predicted(tmp_path, known)
        assert same(read_predicted(tmp_path), kept) and read_predicted(tmp_path).whole


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 2},
        {"examples": 49},
        {"examples": 10**12},
        {"examples": -1},
        {"labels": "*"},
        {"labels": 5},
    ],
)
def test_numbers_that_do_not_fit_are_not_believed(tmp_path: Path, change: dict) -> None:
    written(tmp_path, examples(), runs(examples()))
    path = tmp_path / PREDICTED_FILE
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps(json.loads(first) | change) + "\n" + "".join(others))
    known = read_predicted(tmp_path)
    assert not known.whole and not known.off


def test_another_format_is_refused_and_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_predicted(tmp_path).off == {}
    (tmp_path / PREDICTED_FILE).write_text('{"format": 99}\n')
    with pytest.raises(UserError, match="has format 99"):
        read_predicted(tmp_path)
