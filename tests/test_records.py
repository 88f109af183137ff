"""Records and files: what is written is read back, and damage is found and named."""

import json
import math
import os
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_meta, make_record, make_records

from study.common.errors import UserError
from study.common.files import write_atomically
from study.common.text import printable
from study.records.study_files import DAMAGED_FILE, STUDY_FILE, TRIALS_FILE
from study.records.study_meta import load_meta, save_meta
from study.records.trial_record import Phase, TrialRecord, TrialStatus, id_of, rounded
from study.records.trials_file import (
    append_trials,
    load_records,
    load_trials,
    read_trials,
    repair_trials,
    rewrite_trials,
)


def record(number: int = 0, **changes: object) -> TrialRecord:
    made = make_record(
        np.random.default_rng(number), "adam", Phase.SEARCH, trial_id=f"adam/0/search/{number}"
    )
    return replace(made, **changes)


def same(a: TrialRecord, b: TrialRecord) -> bool:
    """NaN equals NaN."""
    return repr(asdict(a)) == repr(asdict(b))


def test_records_come_back_as_they_were(tmp_path: Path):
    records = [
        replace(made, learning_rate=[rounded(rate) for rate in made.learning_rate])
        for made in make_records(["adam", "sgd"], repeats=2, confirm=0, trials=9)
        if made.phase is Phase.SEARCH
    ]
    append_trials(tmp_path, records[:7])
    append_trials(tmp_path, records[7:])
    found = load_trials(tmp_path)
    assert len(found) == len(records)
    records.sort(key=lambda record: record.trial_id)
    assert all(same(a, b) for a, b in zip(found, records, strict=True))
    assert {type(r.status) for r in found} == {TrialStatus}
    assert {type(r.phase) for r in found} == {Phase}


def test_results_are_written_with_seven_digits_and_settings_with_all(tmp_path: Path):
    values = {"learning_rate": 0.012345678901234567, "dense_width": 170, "nesterov": True}
    append_trials(tmp_path, [record(hyperparameters=values, test_accuracy=1 / 3)])
    (found,) = load_trials(tmp_path)
    assert found.hyperparameters == values and found.hyperparameters["nesterov"] is True
    assert found.test_accuracy == 0.3333333 == rounded(1 / 3)


def test_numbers_that_are_not_finite_are_null_in_the_file_and_nan_in_memory(tmp_path: Path):
    broken = record(loss=[1.0, math.inf, math.nan] + [2.0] * 24, status=TrialStatus.DIVERGED)
    append_trials(tmp_path, [broken])
    text = (tmp_path / TRIALS_FILE).read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"][:3] == [1.0, None, None]
    (found,) = load_trials(tmp_path)
    assert found.loss[0] == 1.0 and math.isnan(found.loss[1]) and math.isnan(found.loss[2])
    assert found.status is TrialStatus.DIVERGED


def test_a_run_without_an_epoch_has_no_best_accuracy(tmp_path: Path):
    failed = make_record(
        np.random.default_rng(1), "adam", Phase.SEARCH, trial_id="x", status=TrialStatus.FAILED
    )
    append_trials(tmp_path, [failed])
    (found,) = load_trials(tmp_path)
    assert math.isnan(found.best_value)


def test_each_line_is_one_object_with_named_keys_whatever_the_text(tmp_path: Path):
    odd = record(message='line\nbreak "quote" \u2028 家 </script>')
    append_trials(tmp_path, [odd, record(1)])
    lines = (tmp_path / TRIALS_FILE).read_bytes().split(b"\n")
    assert [bool(line) for line in lines] == [True, True, False]
    assert set(json.loads(lines[0])) == {"format", *TrialRecord.__dataclass_fields__}
    assert load_trials(tmp_path)[0].message == printable(odd.message)


def test_a_record_of_another_metric_comes_back_and_is_judged_by_it(tmp_path: Path):
    made = record()
    curve = [0.1] * len(made.loss)
    curve[1] = math.nan
    other = replace(
        made, metric="macro_f1", train_metric=curve, val_metric=curve, test_metric=0.25,
        cross_fitted_metric=0.5, best_epoch=1,
    )  # fmt: skip
    append_trials(tmp_path, [other])
    (found,) = load_trials(tmp_path)
    assert same(found, other) and found.best_value == 0.1 and found.measured.test == 0.25


@pytest.mark.parametrize("change", [{"metric": "luck"}, {"val_metric": [0.5]}])
def test_a_record_whose_metric_does_not_fit_is_damaged(tmp_path: Path, change: dict):
    append_trials(tmp_path, [record()])
    line = json.loads((tmp_path / TRIALS_FILE).read_text())
    table = line | {"metric": "macro_f1", "train_metric": line["loss"], "val_metric": line["loss"]}
    (tmp_path / TRIALS_FILE).write_text(json.dumps(table | change) + "\n")
    with pytest.raises(UserError, match="line 1: not a trial record"):
        load_trials(tmp_path)


def test_nothing_recorded_is_no_mistake(tmp_path: Path):
    append_trials(tmp_path / "new", [])
    assert load_trials(tmp_path / "new") == []
    assert repair_trials(tmp_path / "new", read_trials(tmp_path / "new")) == []


@given(st.data())
def test_a_file_cut_off_anywhere_loses_only_its_last_line(tmp_path_factory, data: st.DataObject):
    folder = tmp_path_factory.mktemp("cut")
    append_trials(folder, [record(0), record(1), record(2)])
    path = folder / TRIALS_FILE
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:kept])
    complete = whole[:kept].count(b"\n")
    assert [r.trial_id[-1] for r in load_trials(folder)] == ["0", "1", "2"][:complete]
    assert repair_trials(folder, read_trials(folder)) == []
    append_trials(folder, [record(9)])
    assert [r.trial_id[-1] for r in load_trials(folder)] == [*["0", "1", "2"][:complete], "9"]
    assert not (folder / DAMAGED_FILE).exists()


DEEP = b"[" * 100_000
DAMAGE = [
    b"",
    b"{",
    b"[]",
    b"5",
    b"null",
    b"\xff\xfe",
    b"\0" * 300,
    DEEP,
    b'{"trial_id": "x"}',
    b'{"format": 5, "trial_id": "x"}',
]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: repr(damage[:8]))
def test_a_damaged_line_is_named_with_its_number_and_set_aside(damage: bytes, tmp_path: Path):
    append_trials(tmp_path, [record(0), record(1), record(2)])
    path = tmp_path / TRIALS_FILE
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"trials\.jsonl, line 2: not a trial record \("):
        load_trials(tmp_path)
    assert repair_trials(tmp_path, read_trials(tmp_path)) == [2]
    assert [r.trial_id[-1] for r in load_trials(tmp_path)] == ["0", "2"]
    assert (tmp_path / DAMAGED_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", "abc"), ("loss", 5), ("loss", [[1]]), ("loss", [1.0]), ("best_epoch", 99),
        ("best_epoch", None), ("status", "fine"), ("phase", "rehearsal"), ("surprise", 1),
        ("val_accuracy", [1.5] * 3), ("val_accuracy", [None] * 3), ("accuracy", [-0.1] * 3),
        ("cross_fitted_accuracy", 1.5), ("cross_fitted_accuracy", -1e300), ("test_accuracy", 2),
        ("repeat", 10**9), ("repeat", -1), ("epochs", -3), ("confirm", -1),
    ],
)  # fmt: skip
def test_a_line_with_a_wrong_value_is_damage(key: str, value: object, tmp_path: Path):
    append_trials(tmp_path, [record(0)])
    path = tmp_path / TRIALS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}) + "\n")
    with pytest.raises(UserError, match="line 1: not a trial record"):
        load_trials(tmp_path)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"repeat": 1}, "the fields of adam/1/search/0"),
        ({"trial_id": "sgd/0/search/0"}, "the fields of adam/0/search/0"),
        ({"metric": "macro_f1"}, "the metric macro_f1, but the study accuracy"),
        ({"repeat": 27}, "repeat 27, but the study at most 26"),
        ({"epochs": 28}, "epochs 28, but the study at most 27"),
        ({"confirm": 5}, "confirm 5, but the study at most 4"),
        ({"versions": 1}, "versions 1, but the study at most 0"),
        ({"optimizer": "lion", "search": "lion"}, "the optimizer lion, which the study has not"),
    ],
)
def test_records_that_contradict_their_study_or_id_are_refused(
    changes: dict, wrong: str, tmp_path: Path
):
    changed = replace(record(), **({"number": "0", "search": "adam"} | changes))
    if "fields" not in wrong:
        changed = replace(changed, trial_id=id_of(changed))
    if changed.metric != "accuracy":
        changed = replace(changed, train_metric=changed.accuracy, val_metric=changed.val_accuracy)
    append_trials(tmp_path, [changed])
    with pytest.raises(UserError, match=f"has {wrong}: this file or study.json was changed"):
        load_records(tmp_path, make_meta(["adam"], ["a", "b"]))


def test_rewriting_replaces_all_records(tmp_path: Path):
    append_trials(tmp_path, [record(0), record(1)])
    rewrite_trials(tmp_path, [record(1)])
    assert [r.trial_id[-1] for r in load_trials(tmp_path)] == ["1"]


# ---- study.json ----


def test_settings_come_back_as_they_were(tmp_path: Path):
    meta = make_meta(["adam", "sgd"], ["a\nb", "家", '<script>"', "\udcff.jpg", "\u202e"])
    save_meta(tmp_path, meta)
    names = ["a\\nb", "家", '<script>"', "\\udcff.jpg", "\\u202e"]  # as they are shown
    assert load_meta(tmp_path) == replace(meta, class_names=names)
    assert "家" in (tmp_path / STUDY_FILE).read_text(encoding="utf-8")


def test_a_study_that_is_missing_or_damaged_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"no study at .*: study\.json is missing"):
        load_meta(tmp_path)
    for damage in (b"", b"{", b"[]", b'{"format": 5}', b'{"format": 5, "x": 1}', b"\xff", DEEP):
        (tmp_path / STUDY_FILE).write_bytes(damage)
        with pytest.raises(UserError, match=r"study\.json is damaged \(.*--overwrite"):
            load_meta(tmp_path)
    (tmp_path / STUDY_FILE).unlink()
    (tmp_path / STUDY_FILE).mkdir()
    with pytest.raises(UserError, match=r"study\.json cannot be read"):
        load_meta(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"looks": [{"repeats": 10**9, "alpha": 0.01}]}, "looks are not in ascending order, or"),
        ({"looks": [{"repeats": 5, "alpha": 7.0}]}, "looks have an error rate outside 0 to 1"),
        ({"class_counts": [5, -5]}, "negative"),
        ({"settings": {"margin": "x"}}, "settings: Expected `float`, got `str` - at `\\$.margin`"),
        ({"settings": {"margin": -2}}, "settings: Expected `float` > 0.0 - at `\\$.margin`"),
        ({"settings": {"confirm": 0}}, "settings: Expected `int` >= 1 - at `\\$.confirm`"),
        ({"device": {"widths": 256}}, "device: Expected `array`, got `int`"),
        ({"data": {"near_copies": "x"}}, "data: Expected `array`, got `str`"),
        ({"space": {"table": {"optimizers": {"adam": {"beta_1": {}}}}}}, "neither choices nor"),
        ({"space": {"table": {"optimizers": {"adam": {}}}}}, "an optimizer without class"),
        ({"split_sizes": {"validation": 0}}, "split_sizes: Expected `int` >= 1"),
        ({"seconds": {"search": math.nan}}, "NaN is no number"),
    ],
)
def test_numbers_that_no_study_has_are_damage(changes: dict, said: str, tmp_path: Path):
    save_meta(tmp_path, make_meta(["adam"], ["a", "b"]))
    table = json.loads((tmp_path / STUDY_FILE).read_text())
    for key, value in changes.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) else value
    (tmp_path / STUDY_FILE).write_text(json.dumps(table))
    with pytest.raises(UserError, match=f"study.json is damaged .*{said}"):
        load_meta(tmp_path)


@pytest.mark.parametrize("path", [("looks",), ("settings", "confirm"), ("device", "widths")])
def test_a_key_that_is_missing_is_damage_with_its_name(path: tuple[str, ...], tmp_path: Path):
    save_meta(tmp_path, make_meta(["adam"], ["a", "b"]))
    table = json.loads((tmp_path / STUDY_FILE).read_text())
    inside = table if len(path) == 1 else table[path[0]]
    del inside[path[-1]]
    (tmp_path / STUDY_FILE).write_text(json.dumps(table))
    with pytest.raises(UserError, match=rf"damaged \(.*[`']{path[-1]}[`']"):
        load_meta(tmp_path)


@pytest.mark.parametrize("key", ["message", "confirm", "val_metric", "versions"])
def test_a_line_without_one_of_its_keys_is_damage(key: str, tmp_path: Path):
    append_trials(tmp_path, [record(0)])
    line = json.loads((tmp_path / TRIALS_FILE).read_text())
    del line[key]
    (tmp_path / TRIALS_FILE).write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=rf"not a trial record \(.*'{key}'"):
        load_trials(tmp_path)


# ---- whole or absent ----


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path):
    path = tmp_path / "new folder" / "file.txt"
    for text in ("first", "第二"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\udcff")
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    with pytest.raises(OSError):  # the rename fails: a folder stands there
        write_atomically(folder, "new")
    assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.txt", "folder"]


def test_files_have_the_users_own_permissions(tmp_path: Path):
    write_atomically(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")}
    assert len(modes) == 1


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from study.common.files import write_atomically
from study.records.trials_file import append_trials, load_trials
folder = Path(sys.argv[1])
records = load_trials(folder)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = (folder / "trials.jsonl").stat().st_size + 500
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for write in (lambda: append_trials(folder, records), lambda: write_atomically(folder / "study.json", "x" * limit * 2)):
    try:
        write()
    except OSError as error:
        print(error.errno, Path(error.filename).name)
"""  # noqa: E501


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_full_disk_costs_only_what_was_being_written(tmp_path: Path):
    append_trials(tmp_path, [record(0), record(1)])
    write_atomically(tmp_path / STUDY_FILE, "old")
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert ended.stdout.split() == ["27", TRIALS_FILE, "27", STUDY_FILE], ended.stderr  # EFBIG
    assert (tmp_path / STUDY_FILE).read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [STUDY_FILE, TRIALS_FILE]
    assert repair_trials(tmp_path, read_trials(tmp_path)) == []
    append_trials(tmp_path, [record(2)])
    assert [r.trial_id[-1] for r in load_trials(tmp_path)] == ["0", "1", "2"]


KILLED = """
import sys
from pathlib import Path
from study.common.files import write_atomically
while True:
    for letter in "ab":
        write_atomically(Path(sys.argv[1]), letter * 300_000)
        print(letter, flush=True)
"""


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path):
    path = tmp_path / "file.txt"
    rng = np.random.default_rng(1)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, path], stdout=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(int(rng.integers(1, 20))):
            process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        text = path.read_text()
        assert len(text) == 300_000 and len(set(text)) == 1
