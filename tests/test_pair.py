"""Two studies side by side: paired or not, with intervals, from the command."""

import dataclasses
import json
import math
from zlib import crc32

import pytest
from scipy import stats
from synthetic import VERSIONS, make_meta, write_study
from test_summary import CLASSES, runs

from study.compare import main
from study.compare.pair import Says, pair_of
from study.report import main as report_main
from study.report.analysis.summary import summarize

SPLITS = {f"confirm/{r}": f"digest{r}" for r in range(5)}
BASE = [0.90, 0.92, 0.91, 0.89, 0.93]


def summary(*groups, name="first", splits=None, **changes):
    seed = crc32(name.encode())  # runs of two studies
    records = [dataclasses.replace(record, seed=seed) for group in groups for record in group]
    names = list(dict.fromkeys(record.optimizer for record in records))
    changes = {"settings": {"confirm": 1}} | changes
    meta = make_meta(names, CLASSES, name=name, split_digests=splits or SPLITS, **changes)
    return summarize(meta, records)


def shifted(name, by, noise=(0.002, -0.001, 0.0, 0.001, -0.002)):
    return runs(name, [[v + by + e] for v, e in zip(BASE, noise, strict=True)])


def test_studies_on_the_same_splits_are_paired():
    first = summary(runs("adam", [[v] for v in BASE]))
    second = summary(shifted("adam", 0.03), name="second")
    found = pair_of(first, second)
    (change,) = found.changes
    assert found.paired and found.average is None
    assert change.difference == pytest.approx(0.03)
    assert change.says is Says.DIFFERS and change.low > 0.02 and change.high < 0.04
    assert found.headline.startswith("adam changes by +3.0 points from first to second (+2.")
    assert found.headline.endswith("), more than chance explains.")


def test_studies_on_other_splits_are_two_samples():
    other = {key: digest + "x" for key, digest in SPLITS.items()}
    first = summary(runs("adam", [[v] for v in BASE]))
    second = summary(shifted("adam", 0.03), splits=other, name="second")
    found = pair_of(first, second)
    (change,) = found.changes
    after = [v + 0.03 + e for v, e in zip(BASE, (0.002, -0.001, 0, 0.001, -0.002), strict=True)]
    wanted = stats.ttest_ind(after, BASE, equal_var=False)
    assert not found.paired
    low, high = wanted.confidence_interval(0.99)  # a fifth of the error rate: one of five looks
    assert (change.low, change.high) == pytest.approx((low, high), rel=1e-6)


def test_optimizers_are_aligned_and_those_of_one_study_are_shown_without_a_difference():
    first = summary(runs("adam", [[v] for v in BASE]), shifted("sgd", -0.1))
    second = summary(shifted("sgd", 0.0), shifted("adam", 0.0), shifted("lion", 0.0), name="b")
    found = pair_of(first, second)
    assert [change.optimizer for change in found.changes] == ["adam", "sgd", "lion"]
    assert math.isnan(found.changes[2].difference) and not math.isnan(found.changes[2].second)
    assert found.average is not None and found.average.difference == pytest.approx(0.05)
    assert "More than chance explains: sgd (+10.0)." in found.headline


def test_an_order_that_turns_round_is_named():
    first = summary(shifted("adam", 0.0), shifted("sgd", -0.2))
    second = summary(shifted("adam", -0.2), shifted("sgd", 0.0), name="second")
    assert pair_of(first, second).reversed == (("adam", "sgd"),)


@pytest.mark.parametrize("repeats", [1, 4])
def test_fewer_than_five_repeats_separate_no_change_from_chance(repeats):
    first = summary(runs("adam", [[v] for v in BASE[:repeats]]))
    second = summary(runs("adam", [[v - 0.4] for v in BASE[:repeats]]), name="b")
    found = pair_of(first, second)
    (change,) = found.changes
    assert math.isnan(change.low) and change.says is Says.UNDECIDED
    assert "fewer than 5 repeats cannot separate that from chance" in found.headline


def test_a_change_inside_the_margin_is_no_change_that_matters():
    first = summary(runs("adam", [[v] for v in BASE]))
    found = pair_of(first, summary(shifted("adam", 0.002), name="second"))
    assert found.changes[0].says is Says.SAME
    assert found.headline.endswith("certainly no more than the margin of 2.0.")


def test_who_is_good_enough_in_both_studies_is_named():
    both = [runs("adam", [[v] for v in BASE]), shifted("nadam", 0.0), shifted("sgd", -0.2)]
    found = pair_of(summary(*both), summary(*both, name="second"))
    assert set(found.good_enough) == {"adam", "nadam"}
    assert "Good enough in both: " in found.headline
    assert found.changes[0].verdicts == ("good enough", "good enough")


def test_nothing_in_common_is_said():
    found = pair_of(summary(shifted("adam", 0)), summary(shifted("sgd", 0), name="b"))
    assert found.headline == "first and b have no result in common, or only the same runs."


def test_nothing_is_concluded_from_runs_that_are_in_both_studies():
    first = summary(shifted("adam", 0), shifted("sgd", -0.1))
    copied = summary(shifted("adam", 0), shifted("sgd", -0.1))
    found = pair_of(first, copied)
    assert found.headline == "first and first have no result in common, or only the same runs."
    assert all(math.isnan(change.difference) for change in found.changes)
    records = [
        dataclasses.replace(one, seed=one.seed + (one.optimizer == "sgd")) for one in copied.records
    ]
    found = pair_of(first, summarize(copied.meta, records))
    assert [change.optimizer for change in found.changes if not math.isnan(change.low)] == ["sgd"]
    assert found.average is None and found.headline.startswith("sgd changes by ")


@pytest.fixture
def logs(tmp_path):
    settings = {"max_epochs": 27, "preprocess": "caffe"}
    write_study(tmp_path, ["adam", "sgd"], meta={"name": "a", "settings": settings}, repeats=3)
    changed = settings | {"preprocess": "rescale"}
    names = ["adam", "sgd", "<b>&"]
    write_study(tmp_path, names, meta={"name": "b", "settings": changed}, repeats=3, seed=5)
    return tmp_path


def test_the_command_compares_and_writes_page_table_and_numbers(logs, capsys):
    assert main(["--logs", str(logs), "--study", "a", "--study", "b"]) == 0
    out = capsys.readouterr().out
    assert "--preprocess: caffe and rescale" in out and "average" in out
    folder = logs / "a" / "report" / "compare"
    assert {p.name for p in folder.iterdir()} == {
        *("compare.html", "compare.md", "compare.json"),
        *("effects.png", "levels.png", "pair_1.png"),
    }
    content = json.loads((folder / "compare.json").read_text(), parse_constant=pytest.fail)
    assert content["format"] == 3 and content["margin"] == 0.02
    (pair,) = content["pairs"]
    assert [change["optimizer"] for change in pair["changes"]] == ["adam", "sgd", "<b>&"]
    assert pair["changes"][2]["difference"] is None
    page = (folder / "compare.html").read_text()
    assert "<b>&" not in page and "<h2>a and b</h2>" in page
    assert "## a and b" in (folder / "compare.md").read_text()


def test_a_report_of_two_studies_names_the_command_that_compares_them(logs, capsys):
    assert report_main(["--logs", str(logs), "--study", "a", "--study", "b"]) == 2
    assert f"study.compare --study a --study b --logs {logs}`" in capsys.readouterr().err


@pytest.mark.parametrize("given", [[], ["--study", "a"]])
def test_fewer_than_two_studies_are_not_compared(logs, capsys, given):
    assert main(["--logs", str(logs), *given]) == 2
    assert "--study: two or more are needed" in capsys.readouterr().err


def test_the_same_study_twice_is_refused(logs, capsys):
    assert main(["--logs", str(logs), "--study", "a", "--study", "a"]) == 2
    assert "named twice" in capsys.readouterr().err


def test_two_versions_of_ones_own_optimizer_differ_in_their_code():
    def one(name, digest, keras):
        own = {"class": "Mine", "file": "mine.py", "digest": digest, "alone": ""}
        versions = [VERSIONS | {"keras": version} for version in ("3.14.0", keras)]
        return summary(runs("mine", [[v] for v in BASE]), name=name, code={"mine": own},
                       versions=versions)  # fmt: skip

    found = pair_of(one("first", "a" * 64, "3.14.1"), one("second", "b" * 64, "3.14.2"))
    assert found.differences == ("other code of mine", "keras 3.14.1 and 3.14.2")
    same = pair_of(one("first", "a" * 64, "3.14.1"), one("second", "a" * 64, "3.14.1"))
    assert same.differences == ()
