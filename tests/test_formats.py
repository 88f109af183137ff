"""The one format of studies: real ones are read and reported, those of other versions refused.

`tests/studies` holds real studies, one of each kind; `tests/studies/make.py` made them.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import write_study

from study import load
from study.common.errors import UserError
from study.common.text import as_csv, printable
from study.compare import main as compare_main
from study.predict import main as predict_main
from study.records.study_files import FORMAT, STUDY_FILE, TRIALS_FILE
from study.records.study_folders import find_study, find_winner
from study.records.study_meta import Look, load_meta, save_meta
from study.records.trial_record import Phase
from study.records.trials_file import load_trials, read_trials
from study.report import main as report_main
from study.report.analysis.summary import load_study
from study.report.data_files import flat_trials
from study.report.html import notebook_view, page
from study.report.markdown import markdown
from study.report.terminal import print_conclusion
from study.search import main as search_main
from study.search.study_folder import clear, locked, resume
from study.space.search_space import load_space

STUDIES = Path(__file__).parent / "studies"
NAMES = ["faces", "rows", "table"]
OWN_CODE = "from sign_momentum import SignMomentum  # code with sha256"
OLD = (
    "was made before the first release of optimizer-study: run its search again, under another "
    "name or with `python -m study.search --overwrite`"
)
NEWER = f"and this version of optimizer-study reads format {FORMAT}: install a newer version"


def test_there_is_a_real_study_of_each_kind() -> None:
    assert sorted(path.parent.name for path in STUDIES.glob(f"*/{STUDY_FILE}")) == NAMES
    faces, rows, table = (load_meta(STUDIES / name) for name in NAMES)
    assert list(faces.code) == ["sign"] and faces.data["folder"] == "built-in faces"
    assert rows.noun == "row" and rows.metric == "balanced_accuracy" and rows.data["groups"] == 35
    assert table.data["folder"] == "labels.csv" and table.settings["allocation"] == "joint"
    assert faces.looks == [Look(2, 0.025)] and rows.looks == [Look(5, 0.025)]


@pytest.mark.parametrize("name", NAMES)
def test_a_real_study_has_this_format_and_no_path_of_a_machine(name: str) -> None:
    meta, *lines = (
        (STUDIES / name / STUDY_FILE).read_text(),
        *(STUDIES / name / TRIALS_FILE).read_text().splitlines(),
    )
    assert {json.loads(text)["format"] for text in (meta, *lines)} == {FORMAT}
    assert not re.search(r'"[^"]*/(home|root|tmp|work|Users)/', meta)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_real_study_says_is_written_again_as_it_is(name: str, tmp_path: Path) -> None:
    save_meta(tmp_path, load_meta(STUDIES / name))
    assert (tmp_path / STUDY_FILE).read_bytes() == (STUDIES / name / STUDY_FILE).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_run_knows_its_search_number_and_rung(name: str) -> None:
    found = load_trials(STUDIES / name)
    for record in found:
        parts = record.trial_id.split("/")
        if record.phase is Phase.SEARCH:
            assert [record.search, str(record.repeat), "search", record.number] == parts
            assert (record.rung is None) == (record.bracket is None)
        elif record.phase is Phase.CONFIRM:
            assert f"{record.number}-{record.confirm}" == parts[-1] and not record.search
        elif record.phase is Phase.BUDGET:
            assert f"{record.budget:g}" == parts[-1] and record.number and not record.search
        else:
            assert (record.search, record.number) == ("", "")
    climbed = [record for record in found if record.rung]
    assert bool(climbed) == (name == "faces") and all(record.continues for record in climbed)


@pytest.mark.parametrize(
    ("name", "ranking"),
    [
        ("faces", ["sign", "sgd", "adam"]),
        ("rows", ["sgd", "adam"]),
        ("table", ["adam", "sgd"]),
    ],
)
def test_a_real_study_is_reported(
    name: str, ranking: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(STUDIES / name, tmp_path / name)
    assert report_main(["--logs", str(tmp_path), "--study", name]) == 0
    assert "adam" in capsys.readouterr().out
    report = tmp_path / name / "report"
    found = json.loads((report / "ranking.json").read_text())["ranking"]
    assert [row["optimizer"] for row in found] == ranking
    assert (report / "figures" / "confusion.png").is_file()
    assert [one.optimizer for one in load_study(tmp_path / name).settings] == ranking
    assert (OWN_CODE in (report / "report.md").read_text()) == (name == "faces")


HOSTILE = "\x1b[31m\x07\x85\u202e\u200b\n\u2028 éж"


def spoiled(value: Any) -> Any:
    """Every text of a file, with what a terminal obeys at its end."""
    if isinstance(value, dict):
        return {key: spoiled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [spoiled(inner) for inner in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_nothing_in_the_files_of_a_study_reaches_a_reader_raw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither its folder's name nor what somebody has written into its files."""
    study = tmp_path / f"rows{HOSTILE}"
    shutil.copytree(STUDIES / "rows", study)
    old = json.loads((study / STUDY_FILE).read_text())
    new = {**spoiled(old), **{key: old[key] for key in ("settings", "optimizers", "space")}}
    facts = {"left_out": [HOSTILE], "left_out_reasons": {HOSTILE: 1}, "shortcuts": [HOSTILE]}
    new |= {"partial": HOSTILE, "data": {**new["data"], **facts}}
    (study / STUDY_FILE).write_text(json.dumps(new))
    runs = [json.loads(line) for line in (study / TRIALS_FILE).read_text().splitlines()]
    for run in runs:
        run["message"] = run["hyperparameters"]["word"] = HOSTILE
    (study / TRIALS_FILE).write_text("".join(f"{json.dumps(run)}\n" for run in runs))
    logs = ["--logs", str(tmp_path)]
    assert report_main([*logs, "--study", "none"]) == 2
    assert compare_main([*logs, "--study", study.name, "--study", "none"]) == 2
    summary = load_study(find_study(tmp_path, study.name))
    warnings = [found.text for found in summary.cautions]
    print_conclusion(summary, warnings, study / "report")
    printed = capsys.readouterr()
    texts = {
        "out": printed.out,
        "err": printed.err,
        "html": page(summary, (), warnings),
        "markdown": markdown(summary, (), warnings),
        "csv": as_csv(*flat_trials(summary.records)),
        "notebook": notebook_view(study.name, summary.headline.text, summary),
    }
    for name, text in texts.items():
        left = {one for one in text if printable(one) != one} - {"\n"}
        assert not left and "\n\\u2028" not in text and "\\x1b" in text, name


# ---- those of other versions ----


def of_format(folder: Path, number: int | None) -> Path:
    """A study in `folder` as a version wrote it that called its format so, or said nothing."""
    shutil.copytree(STUDIES / "faces", folder)
    (folder / "best" / "winner.keras").touch()
    path = folder / STUDY_FILE
    table = json.loads(path.read_text()) | {"format": number}
    if number is None:
        del table["format"]
    path.write_text(json.dumps(table))
    return folder


def rows(path: Path) -> Path:
    """A file that a search can begin with."""
    np.savez(path, x=np.random.default_rng(1).normal(size=(60, 4)), y=np.arange(60) % 2)
    return path


COMMANDS: dict[str, Callable[[Path], int]] = {
    "report": lambda logs: report_main(["--logs", str(logs)]),
    "report by name": lambda logs: report_main(["--logs", str(logs), "--study", "other"]),
    "comparison": lambda logs: compare_main(
        ["--logs", str(logs), "--study", "other", "--study", "more"]
    ),
    "predict": lambda logs: predict_main(["photo.jpg", "--logs", str(logs)]),
    "tensorboard": lambda logs: report_main(
        ["--logs", str(logs), "--trials-to", str(logs.parent / "trials")]
    ),
    "search": lambda logs: search_main(
        ["--features", str(rows(logs.parent / "x.npz")), "--logs", str(logs), "--name", "other"]
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("number", "said"), [(None, OLD), (4, OLD), (FORMAT + 1, f"has format {FORMAT + 1}, {NEWER}")]
)
def test_every_command_refuses_other_formats_in_one_sentence(
    command: str, number: int | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = of_format(tmp_path / "logs" / "other", number)
    if command == "comparison":
        shutil.copytree(STUDIES / "faces", folder.with_name("more"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert COMMANDS[command](folder.parent) == 2
    assert f"error: {folder / STUDY_FILE} {said}\n" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(UserError, match=re.escape(said)):
        load("other", folder.parent)


def test_the_newest_study_is_one_that_can_be_read(tmp_path: Path) -> None:
    old = of_format(tmp_path / "old", None)
    assert find_study(tmp_path, None) == find_winner(tmp_path, None) == old  # which says so itself
    new = of_format(tmp_path / "new", FORMAT)
    for path in (STUDY_FILE, "best/winner.keras"):
        os.utime(new / path, (1, 1))  # the old one's files are younger
    assert find_study(tmp_path, None) == find_winner(tmp_path, None) == new
    assert find_study(tmp_path, "old") == find_winner(tmp_path, "old") == old


def test_an_old_study_may_be_overwritten(tmp_path: Path) -> None:
    folder = of_format(tmp_path / "old", 3)
    with locked(folder):
        clear(folder)
        assert resume(folder, load_meta(STUDIES / "faces"))[1] == []


@pytest.mark.parametrize(
    ("number", "said"), [(3, OLD), (FORMAT + 1, f"has format {FORMAT + 1}, {NEWER}")]
)
def test_a_run_of_another_format_is_never_called_damaged(
    number: int, said: str, tmp_path: Path
) -> None:
    shutil.copytree(STUDIES / "faces", tmp_path / "x")
    trials = tmp_path / "x" / TRIALS_FILE
    head, _, rest = trials.read_text().partition("\n")
    trials.write_text(json.dumps(json.loads(head) | {"format": number}) + "\n" + rest)
    before = trials.read_bytes()
    for read in (load_trials, read_trials):
        with pytest.raises(UserError, match=re.escape(f"{trials}, line 1 {said}")):
            read(tmp_path / "x")
    assert trials.read_bytes() == before


@pytest.mark.parametrize("value", ["1", True, -1, 1.0, None])
def test_a_format_that_is_no_number_is_damage(value: object, tmp_path: Path) -> None:
    shutil.copytree(STUDIES / "faces", tmp_path / "x")
    path = tmp_path / "x" / STUDY_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": value}))
    with pytest.raises(UserError, match=r"is damaged \(format is"):
        load_meta(tmp_path / "x")


# ---- what tests make up ----


def kind_of(trial_id: str) -> str:
    """ "adam/0/confirm/0012-1" as "N/N/confirm/N-N"."""
    return re.sub(r"^\w+|\d+", "N", trial_id)


def test_made_up_studies_have_the_shape_of_a_real_one(tmp_path: Path) -> None:
    """What `tests/synthetic.py` imitates, held against what the search writes."""
    made, real = write_study(tmp_path, ["adam", "sgd"]), STUDIES / "faces"
    metas = [json.loads((folder / STUDY_FILE).read_text()) for folder in (made, real)]
    assert metas[0].keys() == metas[1].keys()
    for part in ("settings", "data", "space", "split_sizes", "weights", "device"):
        assert metas[0][part].keys() == metas[1][part].keys(), part
    assert metas[0]["versions"][0].keys() == metas[1]["versions"][0].keys()
    kinds = [
        {(r.phase, kind_of(r.trial_id), bool(r.search), bool(r.number)) for r in found}
        for found in (load_trials(made), load_trials(real))
    ]
    assert kinds[0] == kinds[1]
    space = load_space("default")
    known = {"power", "drops", "restarts", "period_factor", "peak_factor"}.union(
        *map(set, space.schedules.values())
    )
    known = known.union(*(space.default(name).hyperparameters() for name in space.optimizers))
    assert {key for record in load_trials(made) for key in record.hyperparameters} <= known
