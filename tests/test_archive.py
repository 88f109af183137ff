"""Archives of records: small, without anything private, read as the studies themselves."""

import dataclasses
import io
import json
import tarfile
from pathlib import Path

import pytest
from synthetic import make_records, write_study
from test_several_studies import SETTINGS, SPLITS, data_of

from study.common.errors import UserError
from study.compare import main
from study.compare.archive import pack, unpack
from study.compare.data_sets import data_sets
from study.compare.searches import choices_inside
from study.records.trial_record import Phase
from study.report import main as report
from study.report.analysis.summary import load_study

NAMES = ["adam", "sgd"]
STUDIES = Path(__file__).parent / "studies"


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    top = tmp_path_factory.mktemp("archive") / "logs"
    for name, data in (("a", "x"), ("b", "y"), ("c", "z")):
        records = make_records(NAMES, repeats=5, confirm=2, trials=4, seed=ord(name))
        write_study(
            top, NAMES, records=records, predictions=False,
            meta={"name": name, "data": data_of(data), "split_digests": SPLITS,
                  "settings": SETTINGS | {"confirm": 2, "data": "/home/somebody/photos/x"},
                  "command": "python -m study.search --data /home/somebody/photos/x"},
        )  # fmt: skip
    return top


def test_an_archive_says_what_the_studies_say_in_a_fraction_of_the_bytes(logs, tmp_path):
    path = tmp_path / "some.tar.xz"
    pack([logs / "a", logs / "b"], path)
    found = unpack(path, tmp_path / "out")
    assert [folder.name for folder in found] == ["a", "b"]
    for folder in found:
        one, other = load_study(logs / folder.name), load_study(folder)
        assert [row.by_repeat for row in one.rows] == [row.by_repeat for row in other.rows]
        assert [one.verdict for one in one.answer.optimizers] == [
            one.verdict for one in other.answer.optimizers
        ]
    whole = sum((logs / name / "trials.jsonl").stat().st_size for name in "ab")
    assert path.stat().st_size < whole / 10


def test_the_choices_inside_searches_are_the_same_also_where_trials_tie(logs, tmp_path):
    """Of equal trials the lower validation loss wins, so an archive has to keep it."""
    records = make_records(NAMES, repeats=5, confirm=2, trials=12, seed=9)
    tied = [
        dataclasses.replace(record, val_accuracy=[0.5] * record.epochs, best_epoch=1)
        if record.phase is Phase.SEARCH
        else record
        for record in records
    ]
    write_study(
        tmp_path, NAMES, records=tied, predictions=False,
        meta={"name": "tied", "split_digests": SPLITS, "settings": SETTINGS | {"confirm": 2}},
    )  # fmt: skip
    pack([tmp_path / "tied"], tmp_path / "some.tar.xz")
    (folder,) = unpack(tmp_path / "some.tar.xz", tmp_path / "out")
    before, after = (
        [str(one) for one in choices_inside(data_sets([load_study(path)])[0].blocks[0])]
        for path in (tmp_path / "tied", folder)
    )
    assert before == after and any("budget" in one for one in before)


def test_a_study_beside_its_own_archive_is_named_as_a_copy(logs, tmp_path, capsys):
    pack([logs / "a"], tmp_path / "some.tar.xz")
    given = ["--study", str(tmp_path / "some.tar.xz"), "--study", "a", "--logs", str(logs)]
    assert main(given) == 0
    assert "has the same runs as" in capsys.readouterr().out


def test_two_studies_of_one_name_are_not_packed(logs, tmp_path):
    pack([logs / "a"], tmp_path / "some.tar.xz")
    (folder,) = unpack(tmp_path / "some.tar.xz", tmp_path / "out")
    with pytest.raises(UserError, match="two studies are named a"):
        pack([logs / "a", folder], tmp_path / "both.tar.xz")


def test_a_study_of_rows_survives(tmp_path):
    pack([STUDIES / "rows"], tmp_path / "some.tar.xz")
    (folder,) = unpack(tmp_path / "some.tar.xz", tmp_path / "out")
    assert load_study(folder).meta.noun == "row"
    assert report(["--study", "rows", "--logs", str(folder.parent)]) == 0


@pytest.mark.parametrize(
    "place",
    ["C:\\Users\\somebody\\photos", "../somebody/photos", "~/somebody/photos", "/somebody/photos"],
)
def test_no_way_to_a_file_is_kept_on_any_system(place, tmp_path):
    meta = {"settings": SETTINGS | {"data": place, "confirm": 2}, "partial": f"{place} is full"}
    records = make_records(NAMES, repeats=5, confirm=2, trials=4, seed=1)
    write_study(tmp_path, NAMES, records=records, predictions=False, meta=meta | {"name": "one"})
    pack([tmp_path / "one"], tmp_path / "some.tar.xz")
    (folder,) = unpack(tmp_path / "some.tar.xz", tmp_path / "out")
    text = (folder / "study.json").read_text()
    assert "somebody" not in text and '"data": "photos"' in text


def test_an_archive_names_no_folder_of_the_machine_and_no_image(logs, tmp_path):
    path = tmp_path / "some.tar.xz"
    pack([logs / "a"], path)
    (folder,) = unpack(path, tmp_path / "out")
    text = (folder / "study.json").read_text() + (folder / "trials.jsonl").read_text()
    assert "somebody" not in text
    assert json.loads((folder / "study.json").read_text())["data"]["near_copies"] == []


def test_the_command_compares_an_archive_with_a_study_and_packs(logs, tmp_path, capsys):
    first, second = str(tmp_path / "first.tar.xz"), tmp_path / "second.tar.xz"
    pack([logs / "a", logs / "b"], tmp_path / "first.tar.xz")
    given = ["--study", first, "--study", "c", "--logs", str(logs)]
    assert main([*given, "--pack", str(second)]) == 0
    assert "over all data sets" in capsys.readouterr().out
    assert (logs / "c" / "report" / "compare" / "compare.html").is_file()
    assert [one.name for one in unpack(second, tmp_path / "out")] == ["a", "b", "c"]
    assert main(["--study", str(second), "--logs", str(tmp_path / "logs")]) == 0
    assert (tmp_path / "logs" / "compare" / "compare.html").is_file()


def _archive(path, name, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:xz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.size = kind, 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(member, io.BytesIO(b"text"))
    return path


@pytest.mark.parametrize(
    "name", ["../study.json", "a/b/study.json", "a/run.py", "study.json", "/a/study.json"]
)
def test_an_archive_with_anything_else_is_refused(name, tmp_path):
    with pytest.raises(UserError, match="no record of a study"):
        unpack(_archive(tmp_path / "some.tar.xz", name), tmp_path / "out")
    assert not list(tmp_path.glob("**/study.json"))


def test_links_are_refused(tmp_path):
    with pytest.raises(UserError, match="no record of a study"):
        unpack(_archive(tmp_path / "some.tar.xz", "a/study.json", tarfile.SYMTYPE), tmp_path / "o")


def test_a_damaged_or_missing_archive_is_a_mistake_in_one_sentence(logs, tmp_path, capsys):
    path = tmp_path / "some.tar.xz"
    pack([logs / "a", logs / "b"], path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert main(["--study", str(path), "--logs", str(logs)]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert main(["--study", str(tmp_path / "none.tar.xz"), "--logs", str(logs)]) == 2
    assert "cannot be read (No such file" in capsys.readouterr().err
    assert main(["--study", "a", "--study", "b", "--logs", str(logs), "--pack", "x.zip"]) == 2
    assert "--pack: x.zip has to end in .tar.xz" in capsys.readouterr().err
