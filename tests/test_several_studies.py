"""Any number of studies: what each choice moves, and the verdicts over data sets."""

import dataclasses
import json
from zlib import crc32

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from synthetic import make_meta, make_records, write_study
from test_summary import CLASSES, runs

from study.common.errors import UserError
from study.common.text import plain
from study.compare import main
from study.compare.choices import chosen_settings, differing
from study.compare.effects import Matters
from study.compare.page import write_studies
from study.compare.several import several_studies
from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.summary import summarize
from study.verdicts.answer import Verdict
from study.verdicts.looks import planned_looks

BASE = [0.60, 0.62, 0.61, 0.59, 0.63]
NOISE = {"adam": (0.002, -0.001, 0.0, 0.001, -0.002), "sgd": (-0.001, 0.002, -0.002, 0.0, 0.001)}
LEVELS = {"adam": 0.02, "sgd": 0.0}
SETTINGS = {"confirm": 1, "tuner": "hyperband", "image_size": 112, "preprocess": "caffe"}
SPLITS = {f"confirm/{r}": f"digest{r}" for r in range(5)}


def data_of(name):
    return {**make_meta(["adam"], CLASSES).data, "folder": name, "fingerprint": name}


def study(
    name="a", *, by=0.0, levels=LEVELS, untuned=0.1, data="faces", splits="", lost="", times=1,
    **settings,
):  # fmt: skip
    """Two optimizers, five repeats; `by` is what this study's settings add.

    One more run of `lost` in the first repeat diverged. Each confirmation is run so many `times`.
    """
    records = []
    for number, (optimizer, level) in enumerate(levels.items()):
        noise = list(NOISE.values())[number % 2]
        values = [v + level + by + e for v, e in zip(BASE, noise, strict=True)]
        records += runs(optimizer, [[v] * times for v in values])
        if optimizer == lost:
            records += runs(optimizer, [[0.1] * (times + 1)], status=TrialStatus.DIVERGED)[-1:]
        gain = untuned[optimizer] if isinstance(untuned, dict) else untuned
        records += runs(optimizer, [[v - gain] for v in values], phase=Phase.DEFAULT)
    records = [dataclasses.replace(record, seed=crc32(name.encode())) for record in records]
    meta = make_meta(
        list(levels),
        CLASSES,
        name=name,
        settings=SETTINGS | settings.pop("more", {}) | settings,
        data=data_of(data),
        split_digests={key: splits + value for key, value in SPLITS.items()},
        looks=list(planned_looks(5, 27)),
    )
    return summarize(meta, records)


def by_choice(found):
    return {one.choice: one for one in found.effects}


def test_settings_tuning_and_optimizer_stand_side_by_side_what_moves_most_first():
    found = several_studies([study(), study("b", by=0.05, preprocess="rescale")])
    assert [one.choice for one in found.effects] == ["tuning", "preprocessing", "optimizer"]
    lines = by_choice(found)
    assert lines["tuning"].moves == pytest.approx(0.1)
    assert lines["optimizer"].moves == pytest.approx(0.02)
    assert (lines["optimizer"].worst, lines["optimizer"].best) == ("sgd", "adam")
    preprocessing = lines["preprocessing"]
    assert preprocessing.moves == pytest.approx(0.05)
    assert (preprocessing.worst, preprocessing.best) == ("caffe", "rescale")
    assert preprocessing.says is Matters.MATTERS and preprocessing.low > 0.02
    assert "Which optimizer is used certainly matters less than tuning and preprocessing." in (
        found.headline
    )
    assert found.across is None


def test_bounds_hold_for_all_lines_together():
    noisy = {"adam": 0.02, "sgd": 0.0}
    two = several_studies([study(), study("b", by=0.05, levels=noisy, preprocess="rescale")])
    one = several_studies([study(), study("c")])  # the same settings: tuning and optimizer only
    assert [len(found.effects) for found in (two, one)] == [3, 2]
    wide, narrow = (by_choice(found)["optimizer"] for found in (two, one))
    assert wide.moves == narrow.moves and wide.high > narrow.high
    differences = np.array(NOISE["adam"]) - np.array(NOISE["sgd"]) + 0.02
    error = stats.sem(differences)
    for line, lines in ((wide, 3), (narrow, 2)):
        reach = stats.t.ppf(1 - 0.025 / lines / 2, 4) * error
        assert (line.low, line.high) == pytest.approx((0.02 - reach, 0.02 + reach), rel=1e-4)


def test_crossed_settings_are_each_averaged_over_the_other():
    """The joint step is 9 points, which two effects of 5 and 2 do not add up to."""
    found = several_studies(
        [
            study("a"),
            study("b", by=0.05, preprocess="rescale"),
            study("c", by=0.02, image_size=64),
            study("d", by=0.09, preprocess="rescale", image_size=64),
        ]
    )
    lines = by_choice(found)
    assert lines["preprocessing"].moves == pytest.approx((0.05 + 0.07) / 2)
    assert lines["image size"].moves == pytest.approx((0.02 + 0.04) / 2)
    assert (lines["image size"].worst, lines["image size"].best) == ("112 px", "64 px")
    assert "over image size 112 px and 64 px" in lines["preprocessing"].over
    assert not any("together" in choice for choice in lines)


def test_settings_that_never_change_alone_are_named_together():
    found = several_studies([study("a"), study("b", by=0.09, preprocess="rescale", image_size=64)])
    line = by_choice(found)["image size and preprocessing together"]
    assert (line.worst, line.best) == ("112 px, caffe", "64 px, rescale")
    assert line.moves == pytest.approx(0.09)


def test_three_values_are_one_line_from_the_worst_to_the_best():
    sizes = ((64, 0.0), (112, 0.03), (224, 0.01))
    found = several_studies([study(f"s{s}", by=by, image_size=s) for s, by in sizes])
    line = by_choice(found)["image size"]
    assert (line.worst, line.best, line.moves) == ("64 px", "112 px", pytest.approx(0.03))
    assert set(line.levels) == {"64 px", "112 px", "224 px"}


def test_what_comes_with_another_base_is_no_setting_of_its_own():
    one = make_meta(["adam"], CLASSES)
    other = {"base": "MobileNetV2", "preprocess": "tf", "views": 4}
    weights = {"source": "somewhere", "digest": "other"}
    two = make_meta(["adam"], CLASSES, settings=other, weights=weights)
    assert differing(*chosen_settings([one, one])) == []
    assert set(differing(*chosen_settings([one, two]))) == {"base", "views"}


def test_a_key_of_the_head_is_a_setting_and_other_ranges_are_the_search_space():
    def with_space(head, rate):
        table = {"head": head, "optimizers": {"adam": {"class": "Adam", "learning_rate": rate}}}
        space = {"name": f"at {rate}", "fingerprint": f"{head}{rate}", "table": table}
        return make_meta(["adam"], CLASSES, settings=SETTINGS, space=space)

    plain_head, smoothed = {"dense_width": 170}, {"dense_width": 170, "label_smoothing": 0.1}
    same = chosen_settings([with_space(plain_head, 1e-3), with_space(smoothed, 1e-3)])
    assert differing(*same) == ["label smoothing"]
    assert same[0]["label smoothing"].text == "0"
    other = chosen_settings([with_space(plain_head, 1e-3), with_space(smoothed, 1e-2)])
    assert differing(*other) == ["search space"]


def test_other_splits_of_the_same_images_have_no_effect_read_between_them():
    found = several_studies([study(), study("b", by=0.05, splits="x", preprocess="rescale")])
    assert {one.choice for one in found.effects} == {"tuning", "optimizer"}
    assert any("on different splits" in text for text in found.remarks)


@pytest.mark.parametrize("repeats", [1, 4])
def test_fewer_than_five_repeats_are_shown_without_bounds(repeats):
    def short(name, by, **settings):
        records = runs("adam", [[v + by] for v in BASE[:repeats]])
        meta = make_meta(["adam"], CLASSES, name=name, settings=SETTINGS | settings)
        return summarize(meta, records)

    found = several_studies([short("a", 0.0), short("b", 0.1, image_size=64)])
    (line,) = found.effects
    assert line.moves == pytest.approx(0.1) and np.isnan(line.low)
    assert line.says is Matters.UNDECIDED
    assert any("fewer than 5 repeats" in text for text in found.remarks)


def test_five_repeats_of_a_single_optimizer_are_enough_for_a_conclusion():
    alone = {"adam": 0.0}
    found = several_studies([study(levels=alone), study("b", levels=alone, by=0.1, image_size=64)])
    assert not np.isnan(by_choice(found)["image size"].low) and found.remarks == ()


def sets(count, ahead=0.02, **more):
    levels = {"adam": ahead, "sgd": 0.0, "lion": -0.3}
    spread = (0.0, 0.004, -0.004, 0.002, -0.002, 0.001)
    return [
        study(f"s{i}", levels={**levels, "adam": ahead + spread[i]}, data=f"set{i}", **more)
        for i in range(count)
    ]


def test_from_five_data_sets_on_it_is_said_what_to_use_in_general():
    found = several_studies(sets(5))
    assert found.headline.startswith(
        "In general use adam: tuned, on data sets of this sort, it is on"
    )
    placed = {one.optimizer: one for one in found.across.placed}
    assert placed["adam"].general is Verdict.GOOD_ENOUGH
    assert placed["lion"].general is Verdict.EXCLUDED
    assert placed["lion"].verdicts == (Verdict.EXCLUDED,) * 5  # by each set itself
    values = [0.02 + spread for spread in (0.0, 0.004, -0.004, 0.002, -0.002)]
    t = stats.t.ppf(1 - 0.0175 / 2, 4)
    wanted = np.mean(values) + t * stats.sem(values)  # sgd behind adam, of two rivals each
    assert placed["sgd"].at_most_general == pytest.approx(wanted, rel=1e-3)
    optimizer = by_choice(found)["optimizer"]
    assert len(optimizer.data) == 5 and len(optimizer.by_set) == 5


def test_of_many_optimizers_it_is_said_how_far_most_are_behind():
    levels = {"adam": 0.02, "sgd": 0.0, "lion": -0.3, "nadam": 0.02, "adamw": 0.015}
    found = several_studies([study(levels=levels), study("b", by=0.05, levels=levels)])
    line = by_choice(found)["optimizer"]
    assert (line.worst, line.moves) == ("lion", pytest.approx(0.32))
    assert line.over == "mean of 2 studies; half of the 5 within 0.5 points of the best"


def test_fewer_data_sets_say_only_what_holds_on_them():
    found = several_studies(sets(3))
    assert "is not known from 3 data sets; at least 5 are needed" in found.headline
    assert "On these 3 data sets adam is good enough" in found.headline
    assert "Excluded on them: sgd and lion." in found.headline
    assert all(one.at_most_general is None for one in found.across.placed)
    assert any("2 more data sets" in text for text in found.details)


def test_data_sets_that_disagree_leave_it_open_and_say_how_many_more():
    turn = [{"adam": s * 0.05, "sgd": 0.0} for s in (1, -1, 1, -1, 1)]
    found = several_studies([study(f"s{i}", levels=t, data=f"d{i}") for i, t in enumerate(turn)])
    assert "is not known from 5 data sets: adam leads and may on average be up to" in found.headline
    assert any("more data sets of this sort would bring the bound" in t for t in found.details)
    assert found.across.needed > 5


def test_a_data_set_with_several_studies_counts_once():
    two = [*sets(2), study("s9", levels={"adam": 0.02, "sgd": 0.0, "lion": -0.3}, data="set1",
                           image_size=64)]  # fmt: skip
    found = several_studies(two)
    assert found.across.sets == ("set0", "set1")
    scopes = {(one.choice, one.data) for one in found.effects}
    assert ("image size", ("set1",)) in scopes
    assert {("optimizer", ("set1",)), ("optimizer", ("set0", "set1"))} <= scopes


def test_data_sets_and_studies_of_one_name_stay_apart():
    same = [
        study("mine", data="photos")._replace(
            meta=dataclasses.replace(
                study("mine").meta, data={**data_of("photos"), "fingerprint": f"f{n}"}
            )
        )
        for n in range(3)
    ]
    names = several_studies(same).across.sets
    assert len(set(names)) == 3 and all(name.startswith("photos") for name in names)


def test_optimizers_that_not_all_have_are_left_out_and_named():
    found = several_studies([*sets(2), study("s5", data="set5")])
    assert {one.optimizer for one in found.across.placed} == {"adam", "sgd"}
    assert found.across.left_out == ("lion",)
    assert any(text.startswith("Not compared over data sets: lion") for text in found.remarks)


def test_nothing_in_common_is_said():
    found = several_studies([study(data="x"), study("b", data="y", levels={"lion": 0.1})])
    assert "fewer than two optimizers in common" in found.headline


def test_a_study_without_a_confirmed_result_hides_nothing_of_the_others():
    searched = [dataclasses.replace(r, phase=Phase.SEARCH) for r in runs("adam", [[0.6]] * 5)]
    meta = make_meta(["adam", "sgd"], CLASSES, name="early", settings=SETTINGS,
                     data=data_of("faces"), split_digests=SPLITS)  # fmt: skip
    both = [study(), study("b", by=0.05, image_size=64)]
    found = several_studies([*both, summarize(meta, searched)])
    assert str(found.effects) == str(several_studies(both).effects)  # NaN is not NaN
    assert any("early, without a confirmed result" in text for text in found.remarks)
    assert [one.name for one in found.studies] == ["a", "b", "early"]


def test_settings_that_share_no_whole_repeat_have_no_line():
    """Of one study the first repeats diverged for sgd, of the other the last."""
    first, second = study(), study("b", by=0.05, image_size=64)
    rows = [
        [
            row._replace(by_repeat={r: v for r, v in row.by_repeat.items() if r in kept})
            for row in one.rows
        ]
        for one, kept in ((first, (0, 1)), (second, (3, 4)))
    ]
    found = several_studies(
        [one._replace(rows=tuple(r)) for one, r in zip((first, second), rows, strict=True)]
    )
    assert not found.effects and found.headline.startswith("Nothing is confirmed in all")


def test_a_study_with_the_runs_of_another_is_named_and_proves_nothing():
    """A copy, or the same search of fewer optimizers."""
    first, fewer = study(), study("a", levels={"adam": 0.02})
    other = study("c", by=0.05, image_size=64)
    renamed = fewer._replace(meta=dataclasses.replace(fewer.meta, name="b"))
    found = several_studies([first, renamed, other])
    assert "image size" in by_choice(found) and "together" not in str(found.effects)
    assert found.remarks[0] == (
        "b has the same runs as a in 5 repeats of adam (one is a copy, or both are of one seed): "
        "nothing is concluded from them."
    )
    assert str(found.effects) == str(several_studies([first, other]).effects)  # NaN is not NaN


def test_points_of_different_metrics_are_not_mixed():
    with pytest.raises(UserError, match="judged by accuracy and study b by macro F1"):
        several_studies([study(), study("b", metric="macro_f1")])


def test_names_of_any_length_leave_room_for_the_picture(tmp_path):
    long = {"more": {f"an option with a long name {i}": "字" * 60 for i in range(4)}}
    other = {"more": {f"an option with a long name {i}": "y" * 60 for i in range(4)}}
    found = several_studies(
        [study("a", data="字" * 80, **long), study("b", data="字" * 80, **other), study("c")]
    )
    assert any("together" in one.choice for one in found.effects)
    write_studies(found, tmp_path)
    with Image.open(tmp_path / "effects.png") as picture:
        assert picture.width > 1000


def test_a_study_name_that_no_font_has_is_never_drawn_as_boxes(tmp_path):
    # Warnings are errors here, so a box (matplotlib's missing-glyph warning) would fail this.
    write_studies(several_studies([study(), study("\U00012000", by=0.05)]), tmp_path)
    assert (tmp_path / "pair_1.png").is_file()


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    top = tmp_path_factory.mktemp("several") / "logs"
    names = ["adam", "<b>&"]
    for name, data, size in (("a", "x", 112), ("b", "x", 64), ("c d", "ÿ/z", 112)):
        records = make_records(names, repeats=5, confirm=1, trials=4, classes=4, seed=size)
        write_study(
            top, names, classes=CLASSES[:4], records=records, predictions=False,
            meta={"name": name, "settings": SETTINGS | {"image_size": size},
                  "data": data_of(data), "split_digests": SPLITS},
        )  # fmt: skip
    return top


def test_the_command_writes_one_page_with_a_section_for_each_pair(logs, capsys):
    names = [word for name in ("a", "b", "c d") for word in ("--study", name)]
    assert main(["--logs", str(logs), *names]) == 0
    out = capsys.readouterr().out
    assert "what moves how much:" in out and "over all data sets:" in out
    folder = logs / "a" / "report" / "compare"
    files = {"compare.html", "compare.md", "compare.json", "effects.png", "across.png"}
    # "c d" is of other data, so nothing is learned from its differences to "a"
    assert {path.name for path in folder.iterdir()} == {*files, "levels.png", "pair_1.png"}
    content = json.loads((folder / "compare.json").read_text(), parse_constant=pytest.fail)
    assert content["format"] == 3 and content["across"]["sets"] == ["x", plain("ÿ/z")]
    choices = {one["choice"] for one in content["effects"]}
    assert {"image size", "tuning", "optimizer", "search budget"} <= choices
    page = (folder / "compare.html").read_text()
    assert "<b>&" not in page and "<h2>a and b</h2>" in page and "a and c d" not in page
    assert "image size" in (folder / "compare.md").read_text()


def test_a_study_that_is_not_there_is_a_mistake(logs, capsys):
    assert main(["--logs", str(logs), "--study", "a", "--study", "b", "--study", "nobody"]) == 2
    assert "no study named 'nobody'" in capsys.readouterr().err


def test_of_many_that_will_do_those_that_will_not_are_named():
    levels = {f"o{n}": 0.02 for n in range(8)} | {"sgd": -0.2}
    found = several_studies([study(f"s{n}", data=f"d{n}", levels=levels) for n in range(5)])
    assert found.headline.startswith("In general use any of the 9 optimizers but sgd: tuned,")
    found = several_studies(
        [study(f"s{n}", data=f"d{n}", levels=levels, lost="o3" if n == 2 else "") for n in range(5)]
    )
    assert found.headline.startswith(
        "In general use any of the 9 optimizers but o3 and sgd: tuned,"
    )
    levels["sgd"] = 0.02
    found = several_studies(
        [study(f"s{n}", data=f"d{n}", levels=levels, lost="o3" if n == 2 else "") for n in range(5)]
    )
    assert found.headline.startswith("In general use any of the 9 optimizers but o3: tuned,")


def test_a_run_of_very_many_that_diverged_is_named_beside_the_general_advice():
    levels = {f"o{n}": 0.02 for n in range(9)}
    found = several_studies(
        [
            study(f"s{n}", data=f"d{n}", levels=levels, lost="o3" if n == 2 else "", times=5)
            for n in range(5)
        ]
    )
    assert found.headline.startswith("In general use any of the 9 optimizers: tuned,")
    assert "(without the runs that diverged: o3 1 of 126)." in found.headline


def test_tuning_that_gains_for_few_optimizers_is_not_said_to_matter_for_all():
    levels = dict.fromkeys(("adam", "sgd", "lion", "adamax", "nadam"), 0.0)
    gains = {"adam": 0.6} | dict.fromkeys(list(levels)[1:], 0.0)
    found = several_studies([study("a", levels=levels, untuned=gains), study("b", levels=levels,
                             untuned=gains, image_size=64)])  # fmt: skip
    assert (
        "On average tuning certainly matters more, but not for most optimizers." in found.headline
    )
