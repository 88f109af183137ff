"""Studies of every format that was ever written: read, reported, resumed; newer ones refused.

`tests/studies` holds real studies of the built-in faces: `finished` is one study as formats 0 and 1
have it, and as the versions of formats 2 to 4 made it anew, that of format 3 with an optimizer of
the user's beside the others, that of format 4 judged by macro F1; `unfinished` was killed by the
first version.
"""

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import write_study

from study.common.errors import UserError
from study.common.metrics import ACCURACY
from study.features.device import pick_device
from study.records.study_files import FORMAT, written_format
from study.records.study_meta import Look, load_meta
from study.records.trial_record import Phase, TrialRecord
from study.records.trials_file import load_trials, read_trials
from study.report import main as report_main
from study.report.analysis.summary import load_study
from study.search import main as search_main
from study.space.search_space import load_space

STUDIES = Path(__file__).parent / "studies"
FORMATS = [f"format_{number}" for number in range(FORMAT + 1)]


def runs(folder: Path) -> list[TrialRecord]:
    """The records without the time they took."""
    return [replace(record, seconds=0.0) for record in load_trials(folder)]


def test_every_format_that_is_read_has_a_study_here() -> None:
    assert [path.name for path in sorted(STUDIES.iterdir())] == FORMATS
    first = [
        (STUDIES / name / "finished" / "trials.jsonl").read_text().partition("\n")[0]
        for name in FORMATS
    ]
    assert [json.loads(line).get("format", 0) for line in first] == list(range(FORMAT + 1))


def test_the_same_study_is_read_from_formats_0_and_1() -> None:
    found, newest = (STUDIES / one / "finished" for one in FORMATS[:2])
    assert runs(found) == runs(newest)
    ignored = {"created": "", "git_commit": None, "seconds": {}}
    metas = [replace(load_meta(folder), **ignored) for folder in (found, newest)]
    assert metas[0] == metas[1]
    assert not metas[0].cross_fitted and metas[0].looks == [Look(2, 0.025)]


def test_what_the_search_finds_is_the_same_in_later_formats() -> None:
    """Only how winners are confirmed has changed."""
    accuracy = FORMATS[1:4]  # format 4 is that of other metrics
    old, *others = (
        {
            record.trial_id: replace(record, seconds=0.0)
            for record in load_trials(STUDIES / name / "finished")
            if record.phase is Phase.SEARCH
        }
        for name in accuracy
    )
    assert old and len(others) == 2 and all(old.items() <= new.items() for new in others)


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_knows_its_search_number_and_rung(name: str) -> None:
    for record in load_trials(STUDIES / name / "finished"):
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
    climbed = [r for r in load_trials(STUDIES / name / "finished") if r.rung]
    assert climbed and all(record.continues for record in climbed)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_reported(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(STUDIES / name, tmp_path / "logs")
    assert report_main(["--logs", str(tmp_path / "logs"), "--study", "finished"]) == 0
    assert "adam" in capsys.readouterr().out
    report = tmp_path / "logs" / "finished" / "report"
    ranking = json.loads((report / "ranking.json").read_text())["ranking"]
    own = ["sign"] if name == "format_3" else []
    assert [row["optimizer"] for row in ranking] == [*own, "adam", "sgd", "lion"]
    assert (report / "figures" / "confusion.png").is_file()
    settings = load_study(tmp_path / "logs" / "finished").settings
    assert [found.optimizer for found in settings] == [*own, "adam", "sgd", "lion"]
    page = (report / "report.md").read_text()
    assert ("from sign_momentum import SignMomentum  # code with sha256" in page) == bool(own)


def test_an_unfinished_study_of_format_0_is_resumed_and_keeps_its_runs(tmp_path: Path) -> None:
    folder = tmp_path / "resumable"
    shutil.copytree(STUDIES / "format_0" / "unfinished", folder)
    table = json.loads((folder / "study.json").read_text())
    # made where VGG16 runs in bfloat16; its rows are not compared here, only its records
    table["device"]["dtype"] = pick_device(None).dtype
    (folder / "study.json").write_text(json.dumps(table))
    before = (folder / "trials.jsonl").read_bytes()
    arguments = ["--image-size", "32", "--weights", "random", "--space", "quick"]
    arguments += ["--optimizers", "sgd,adam", "--tuner", "random", "--trials", "3"]
    arguments += ["--repeats", "2", "--confirm", "2", "--max-epochs", "3", "--population", "2"]
    arguments += ["--logs", str(tmp_path), "--cache-dir", str(tmp_path / "cache")]
    assert search_main([*arguments, "--name", "resumable"]) == 0
    after = (folder / "trials.jsonl").read_bytes()
    assert after.startswith(before)
    lines = [json.loads(line) for line in after.splitlines()]
    assert [line.get("format", 0) for line in lines[:9]] == [0] * 9
    newest = written_format(ACCURACY)
    assert {line["format"] for line in lines[9:]} == {newest} and "metric" not in lines[-1]
    assert json.loads((folder / "study.json").read_text())["format"] == newest
    found = runs(folder)
    counts = Counter(record.phase for record in found if record.phase is not Phase.BUDGET)
    assert counts == {Phase.DEFAULT: 4, Phase.SEARCH: 12, Phase.CONFIRM: 8}
    for name in ("sgd", "adam"):  # one split a repeat and the plain best epoch, as it began
        reruns = [r for r in found if r.optimizer == name and r.phase is Phase.CONFIRM]
        assert len({(r.repeat, r.split) for r in reruns}) == 2
        assert all(r.cross_fitted_accuracy is None for r in reruns)


def test_a_newer_format_is_named_and_never_called_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "finished"
    shutil.copytree(STUDIES / FORMATS[-1] / "finished", folder)
    trials = folder / "trials.jsonl"
    head, _, rest = trials.read_text().partition("\n")
    trials.write_text(json.dumps(json.loads(head) | {"format": FORMAT + 1}) + "\n" + rest)
    before = trials.read_bytes()
    for read in (load_trials, read_trials):
        with pytest.raises(UserError, match=rf"trials\.jsonl, line 1 has format {FORMAT + 1}, and"):
            read(folder)
    assert trials.read_bytes() == before
    table = json.loads((folder / "study.json").read_text()) | {"format": FORMAT + 1}
    (folder / "study.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match=rf"study\.json has format {FORMAT + 1}.*a newer version"):
        load_meta(folder)


@pytest.mark.parametrize("value", ["1", True, -1, 1.0, None])
def test_a_format_that_is_no_number_is_damage(value: object, tmp_path: Path) -> None:
    shutil.copytree(STUDIES / FORMATS[-1] / "finished", tmp_path / "x")
    path = tmp_path / "x" / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": value}))
    with pytest.raises(UserError, match=r"is damaged \(format is"):
        load_meta(tmp_path / "x")


def kind_of(trial_id: str) -> str:
    """ "adam/0/confirm/0012-1" as "N/N/confirm/N-N"."""
    return re.sub(r"^\w+|\d+", "N", trial_id)


def test_made_up_studies_have_the_shape_of_a_real_one(tmp_path: Path) -> None:
    """What `tests/synthetic.py` imitates, held against what the search writes."""
    made, real = write_study(tmp_path, ["adam", "sgd"]), STUDIES / FORMATS[-1] / "finished"
    metas = [json.loads((folder / "study.json").read_text()) for folder in (made, real)]
    for part in ("space", "split_sizes", "weights"):
        assert metas[0][part].keys() == metas[1][part].keys(), part
    assert metas[0]["data"].keys() <= metas[1]["data"].keys()  # nothing that no study says
    assert metas[0]["settings"].keys() >= metas[1]["settings"].keys()  # options may be newer
    assert metas[0].keys() == metas[1].keys()
    kinds = [
        {(r.phase, kind_of(r.trial_id), bool(r.search), bool(r.number)) for r in found}
        for found in (load_trials(made), load_trials(real))
    ]
    assert kinds[0] == kinds[1]
    known = {"power", "drops", *load_space("default").examples()}
    assert {key for record in load_trials(made) for key in record.hyperparameters} <= known
