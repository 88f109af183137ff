"""Rankings, claims, warnings: numbers from small studies whose answer is known by hand."""

import dataclasses
import json
import math
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic import VERSIONS, make_meta, make_predicted, make_record, make_records, write_study

from study.common.errors import UserError
from study.common.text import at_least, at_most, points
from study.predict import outdated
from study.records.predictions import BestPredictions, Predictions, save_predictions
from study.records.study_folders import find_study
from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.conclusion import headline, repeats_until_known
from study.report.analysis.search_trials import choices
from study.report.analysis.summary import load_study, summarize
from study.report.analysis.winners import evaluation_line
from study.report.tables import ranking_table
from study.verdicts.answer import Verdict

STUDIES = Path(__file__).parent / "studies"
CLASSES = [f"s{i}" for i in range(40)]


def runs(name, values, *, phase=Phase.CONFIRM, status=TrialStatus.COMPLETED, **more):
    """Records with given validation accuracies; `values` is one list a repeat."""
    rng = np.random.default_rng(1)
    found = []
    for repeat, inner in enumerate(values):
        for number, value in enumerate(inner):
            record = make_record(
                rng,
                name,
                phase,
                trial_id=f"{name}/{repeat}/{phase}/{number}",
                repeat=repeat,
                epochs=3,
                confirm=number,
                status=status,
                **more,
            )
            found.append(
                dataclasses.replace(record, val_accuracy=[0.1, value, value - 0.01], best_epoch=2)
            )
    return found


def study(*groups, **changes):
    records = [record for group in groups for record in group]
    names = list(dict.fromkeys(record.optimizer for record in records))
    settings = {"confirm": 1} | changes.pop("settings", {})
    meta = make_meta(names, CLASSES, settings=settings, **changes)
    predicted = make_predicted(records, len(CLASSES), one_split=meta.one_split)
    return summarize(meta, records, predicted)


def test_the_mean_is_taken_inside_a_repeat_first():
    row = study(runs("adam", [[0.9, 0.9, 0.9, 0.9], [0.5]])).rows[0]
    assert row.mean == pytest.approx(0.7)  # over all runs it would be 0.82
    assert row.interval_over == "repeats"
    assert (row.minimum, row.maximum) == (0.5, 0.9)
    assert row.spread == pytest.approx(np.std([0.9, 0.5], ddof=1))


def test_diverged_reruns_stand_apart_and_failed_ones_count_not_at_all():
    diverged = runs("sgd", [[0.8], [0.8]], status=TrialStatus.DIVERGED)[1:]
    failed = runs("lion", [[0.1], [0.1], [0.1]], status=TrialStatus.FAILED)[2:]
    summary = study(
        runs("adam", [[0.9], [0.9]]),
        [*runs("sgd", [[0.8]]), *diverged],
        [*runs("lion", [[0.7], [0.7]]), *failed],
    )
    rows = {row.optimizer: row for row in summary.rows}
    assert rows["sgd"].mean == pytest.approx(0.8)
    assert (rows["sgd"].confirm_diverged, rows["sgd"].reruns) == (1, 2)
    assert rows["lion"].mean == pytest.approx(0.7)
    assert {c.kind for c in summary.cautions} >= {"winner diverged"}


@pytest.mark.parametrize("repeats", [1, 4])
def test_fewer_than_five_repeats_allow_no_conclusion(repeats):
    inner = [[0.90, 0.91, 0.92]] * repeats
    summary = study(runs("adam", inner), runs("sgd", [[v - 0.4 for v in one] for one in inner]))
    text = summary.headline.text
    assert text.startswith("No conclusion is possible yet: adam leads with 91.0 %")
    assert "cannot separate a difference from chance; at least 5 are needed" in text
    assert ("1 repeat " in text) == (repeats == 1)
    assert not summary.answer.known and not any(pair.separated for pair in summary.pairs)


BASE = [0.90, 0.92, 0.91, 0.89, 0.93]
NOISE = [0.003, -0.002, 0.001, -0.004, 0.001]


def near(name, behind, scale=1.0):
    """A run in each of five repeats, so far behind BASE."""
    return runs(name, [[v - behind + scale * e] for v, e in zip(BASE, NOISE, strict=True)])


def test_the_headline_names_who_is_good_enough_at_what_cost_and_who_is_excluded():
    groups = near("adam", 0, 0), near("nadam", 0), near("sgd", 0.10, 0.25)
    summary = study(*groups, settings={"margin": 5})
    best = summary.answer.about(summary.answer.leader)
    (other,) = {"adam", "nadam"} - {best.optimizer}
    bounds = best.at_most_behind, best.at_most_behind_new_images
    here, new = map(at_most, bounds)
    assert summary.headline.text == (
        f"Use {best.optimizer}: learning rate 0.001, width 170, dropout 0.5. With 95 % confidence "
        f"no other optimizer is more than {here} points better on these images, or {new} points on "
        "new ones of the same kind."
    )
    good, excluded, *_ = summary.headline.details
    assert good.startswith(f"Good enough on these images, too: {other} (at most ")
    assert excluded == f"Excluded: sgd (by {summary.answer.about('sgd').excluded_by})."
    assert "(look 1 of 5: 5 of at most 27 repeats)" in " ".join(summary.headline.details)
    pair = next(p for p in summary.pairs if {p.first, p.second} == {"adam", "sgd"})
    assert pair.separated and pair.probability == 1.0 and pair.low < pair.difference < pair.high


def test_one_ahead_of_all_others_is_said_to_be():
    summary = study(near("adam", 0), near("sgd", 0.3, 0.5))
    assert summary.headline.text.endswith(
        "With 95 % confidence it is ahead of every other one on these images and on new ones of "
        "the same kind."
    )


def test_only_a_bound_of_zero_is_called_ahead_and_only_of_those_that_were_compared():
    lost = [dataclasses.replace(r, status=TrialStatus.DIVERGED) for r in near("lion", 0)[1:]]
    summary = study(near("adam", 0), near("sgd", 0.3, 0.5), [*near("lion", 0)[:1], *lost])
    assert "ahead of every other one that was compared on these images" in summary.headline.text
    one, *others = summary.answer.optimizers
    close = summary.answer._replace(optimizers=(one._replace(at_most_behind=4e-4), *others))
    told = headline(summary.meta, summary.rows, close, summary.settings, 15, Path("logs", "x"))
    assert "no other optimizer is more than 0.1 points better on these images, or" in told.text


def test_there_is_no_forecast_before_the_leader_is_compared_with_every_contender():
    summary = study(near("adam", 0, 0), near("nadam", 0, 6), near("sgd", 0, 0)[:3])
    assert "has not been compared with every contender" in summary.headline.text
    assert "repeats would" not in " ".join(summary.headline.details)
    assert summary.headline.next[0] == (
        "go on until the answer is known",
        "python -m study.search --margin 2",
    )


def test_an_answer_that_is_not_known_says_the_bound_and_what_it_takes():
    summary = study(near("adam", 0, 0), near("nadam", 0, 6), near("sgd", 0.01, 5))
    text = summary.headline.text
    assert text.startswith("It is not known yet which optimizer is within 2.0 points of the best: ")
    details = " ".join(summary.headline.details)
    assert "use " not in text.lower() and "Undecided: " in details
    assert "(look 1 of 5: 5 of at most 27 repeats)" in details
    needed = repeats_until_known(summary.answer)
    assert needed is not None and f"about {needed} repeats would bring" in details


def asked(summary, ask, **settings):
    settings = {**summary.meta.settings, "ask": ask, **settings}
    meta = dataclasses.replace(summary.meta, settings=settings)
    return summarize(meta, summary.records, make_predicted(summary.records, len(CLASSES)))


def test_the_headline_answers_what_was_asked_first_and_then_names_the_rest():
    found = study(
        near("adam", 0, 0), near("nadam", 0), near("sgd", 0.1, 0.25), near("lion", 0.005, 5)
    )
    best = found.headline
    pursued = "Not pursued, because not needed for the answer: lion (at most"
    assert any(text.startswith(pursued) for text in best.details)
    assert ("get a verdict on the one not pursued", "python -m study.search --ask all") in best.next
    assert best.reason == "an optimizer is within the margin"
    told = asked(found, "sgd,adam")
    sgd, adam, nadam = (told.answer.about(name) for name in ("sgd", "adam", "nadam"))
    assert told.headline.text.startswith(
        f"sgd is excluded: at least {at_least(sgd.at_least_behind)} points behind "
        f"{sgd.excluded_by} on these images. adam is good enough: at most "
        f"{at_most(adam.bound)} points behind the best on these images and at most "
    )
    assert told.headline.text.count("points behind the best") == 1  # what it costs is said once
    assert told.headline.details[0] == (
        f"Good enough on these images, too: nadam (at most {at_most(nadam.bound)} points behind; "
        f"as measured {points(nadam.behind)} behind adam)."
    )
    assert told.headline.details[1].startswith(pursued)
    assert told.headline.reason == "the verdicts on sgd and adam are known"


def test_what_was_asked_is_said_of_new_images_as_far_as_it_holds():
    found = study(near("adam", 0, 0), near("nadam", 0), near("sgd", 0.3, 0.01))
    told = asked(found, "adam", margin=5)
    new = 100 * told.answer.about("adam").at_most_behind_new_images
    assert told.headline.text.startswith("adam is good enough: at most ")
    assert f" and at most {new:.1f} on new ones of the same kind. Use adam: " in told.headline.text
    told = asked(found, "sgd")  # whose margin is 2
    assert told.headline.text.startswith("sgd is excluded: at least ")
    assert " on these images. On these images, use adam: " in told.headline.text


def test_what_was_asked_and_is_not_known_is_said_with_the_reason():
    told = asked(study(near("adam", 0, 0), near("nadam", 0), near("lion", 0.005, 5)), "adam,lion")
    lion = told.answer.about("lion")
    assert not told.answer.known and lion.verdict is Verdict.UNDECIDED
    assert f"lion is undecided: at most {at_most(lion.bound)} points" in told.headline.text
    assert told.headline.reason == "no looks remain and the verdict on lion is not known"
    assert told.headline.next[0].command == "python -m study.search --margin 2"
    one, *others = near("nadam", 0)
    burst = [dataclasses.replace(one, status=TrialStatus.DIVERGED), *others]
    told = asked(study(near("adam", 0, 0), burst, near("sgd", 0.1, 0.25)), "nadam")
    assert ", but 1 of its confirmation runs diverged. " in told.headline.text
    assert told.headline.reason == "more repeats do not help and the verdict on nadam is not known"


def test_a_question_about_all_is_answered_by_verdict():
    names = [f"near{number}" for number in range(7)]
    found = asked(study(*(near(name, 0, 0.1 * i) for i, name in enumerate(names))), "all", margin=8)
    assert found.answer.known and len(found.answer.of(Verdict.GOOD_ENOUGH)) == 7
    assert found.headline.text.startswith("Use near0: ")
    assert found.headline.reason == "the verdicts on 7 optimizers are known"


def test_what_may_not_hold_for_new_images_is_said_of_these_images_only():
    summary = study(near("adam", 0, 2.2), near("nadam", 0, 0.4))
    assert summary.answer.known
    bounds = [one.at_most_behind_new_images for one in summary.answer.of(Verdict.GOOD_ENOUGH)]
    assert min(bounds) > summary.answer.margin
    leader = summary.answer.about(summary.answer.leader)
    new = 100 * leader.at_most_behind_new_images
    assert summary.headline.text.startswith(f"On these images, use {leader.optimizer}: ")
    assert (
        f" better on these images, or {new:.1f} points on new ones of the same kind."
        in summary.headline.text
    )
    steps = {step.what: step.command for step in summary.headline.next}
    (more,) = [what for what in steps if "images instead of 400" in what]
    assert more.startswith("guarantee 2.0 points on new images, too: collect at least about ")
    _, margin = steps["accept a margin that also holds on new images"].split(" --margin ")
    assert new <= float(margin) <= new + 0.1
    clear = study(near("adam", 0, 0), near("sgd", 0.3, 0.01)).headline
    assert clear.text.startswith("Use adam: ")
    assert not any("on new images" in step.what for step in clear.next)


def test_diverged_confirmation_runs_are_reported_with_an_interval():
    burst = [
        dataclasses.replace(r, status=TrialStatus.DIVERGED) if r.repeat == 4 else r
        for r in near("nadam", 0)
    ]
    summary = study(near("adam", 0, 0), burst, near("sgd", 0.1))
    assert any("nadam 1 of 5 (95 % CI 1 to 72 %)" in t for t in summary.headline.details)
    everything = [dataclasses.replace(r, status=TrialStatus.DIVERGED) for r in near("adam", 0)]
    assert study(everything).headline.text.startswith(
        "No conclusion is possible: every confirmation run"
    )


def test_an_optimizer_with_fewer_repeats_is_judged_on_those_it_has():
    longer = [0.90, 0.92, 0.91, 0.89, 0.93, 0.87, 0.87, 0.87]
    summary = study(
        runs("adam", [[v] for v in longer]),
        runs("lion", [[v + e / 10] for v, e in zip(longer, [*NOISE, 0, 0, 0], strict=True)]),
        near("sgd", 0.3),
    )
    rows = {row.optimizer: row for row in summary.rows}
    pairs = {frozenset(pair[:2]): pair for pair in summary.pairs}
    assert pairs[frozenset(("adam", "sgd"))].repeats == 5
    assert pairs[frozenset(("adam", "lion"))].repeats == 8
    assert rows["sgd"].mean == pytest.approx(np.mean(longer) - 0.3, abs=1e-3)  # in their repeats
    assert np.mean([*rows["sgd"].by_repeat.values()]) == pytest.approx(0.61, abs=1e-3)


def test_an_adjusted_mean_stays_within_the_runs_of_the_optimizer():
    hard = [0.3] * 3  # repeats that the crippled one does not have
    summary = study(
        runs("adam", [[v] for v in BASE + hard]),
        runs("lion", [[v - 0.001] for v in BASE + hard]),
        runs("sgd", [[0.012], [0.05], [0.02], [0.03], [0.02]]),
    )
    sgd = next(row for row in summary.rows if row.optimizer == "sgd")
    assert (sgd.mean, sgd.minimum) == (0.012, 0.012)  # the gap to adam would make it negative


def test_optimizers_stand_in_the_order_of_their_verdicts_and_bounds_everywhere():
    names = ["sgd", "lion", "adam", "nadam"]
    records = make_records(names, repeats=5, trials=24)
    summary = summarize(make_meta(names, CLASSES), records)
    judged = [summary.answer.about(row.optimizer) for row in summary.rows]
    assert judged == sorted(judged, key=lambda one: (list(Verdict).index(one.verdict), one.bound))
    order = [one.optimizer for one in judged]
    assert order != names and judged[-1].verdict is Verdict.EXCLUDED
    for lists in ("settings", "curves", "sensitivity", "gains", "best_so_far", "robustness"):
        assert [one.optimizer for one in getattr(summary, lists)] == order, lists
    for table in ("incumbents", "target", "schedules", "widths", "importance"):
        assert list(getattr(summary, table).optimizers) == order, table
    assert [line.optimizer for line in summary.slices[0].lines] == order
    assert summary.best.optimizer == summary.answer.leader


def test_tuned_and_untuned_are_compared_over_the_same_repeats():
    untuned = runs("sgd", [[0.80], [0.70], [0.75], [0.1]], phase=Phase.DEFAULT)
    tuned = runs("sgd", [[0.85], [0.72], [0.74]])
    summary = study(runs("adam", [[0.9], [0.8], [0.85], [0.95]]), [*tuned, *untuned])
    (gain,) = summary.gains
    assert gain.tuned - gain.default == pytest.approx((0.05 + 0.02 - 0.01) / 3)
    assert gain.tuned == next(r.mean for r in summary.rows if r.optimizer == "sgd")


def test_a_cell_of_the_schedules_is_the_upper_quartile_of_full_length_trials():
    def trial(number, schedule, value, epochs=9):
        record = make_record(
            np.random.default_rng(1), "adam", Phase.SEARCH, trial_id=f"adam/0/search/{number}",
            epochs=epochs, hyperparameters={"learning_rate": 1e-3, "schedule": schedule},
        )  # fmt: skip
        return dataclasses.replace(record, val_accuracy=[value] * epochs, best_epoch=1)

    records = [trial(i, "cosine", v) for i, v in enumerate([0.5, 0.6, 0.7, 0.8, 0.99])]
    records += [trial(8, "constant", 0.75), trial(9, "constant", 0.95, epochs=3)]
    found = choices(make_meta(["adam"], CLASSES), records, "schedule")
    assert found.values == ("constant", "cosine")
    assert found.typical.tolist() == [[0.75, 0.8]] and found.trials.tolist() == [[1, 5]]


def test_the_target_is_reached_by_a_growing_share_of_the_confirmation_runs():
    def run(name, repeat, curve, **more):
        (record,) = runs(name, [[0.9]], **more)
        best = 1 + int(np.argmax(curve))
        shown = {"val_accuracy": curve, "best_epoch": best, "epochs": len(curve)}
        return dataclasses.replace(
            record, repeat=repeat, trial_id=f"{name}/{repeat}/confirm/0", **shown
        )

    adam = [run("adam", 0, [0.1, 0.9, 0.8]), run("adam", 1, [0.1, 0.2, 0.9])]
    sgd = [run("sgd", 0, [0.9, 0.9, 0.9], status=TrialStatus.DIVERGED), run("sgd", 1, [0.89, 0.1])]
    found = study(adam, sgd).target
    assert found.value == pytest.approx(0.9 - 0.02)
    assert found.optimizers == ("adam", "sgd")
    assert found.share.tolist() == [[0, 0.5, 1], [0.5, 0.5, 0.5]]


def test_unconfirmed_optimizers_stand_last_and_are_not_ranked():
    summary = study(
        runs("adam", [[0.5], [0.6]]), runs("sgd", [[0.99]], phase=Phase.SEARCH), finished=False
    )
    assert [row.optimizer for row in summary.rows] == ["adam", "sgd"]
    assert summary.answer.about("sgd").at_most_behind is None
    texts = [c.text for c in summary.cautions]
    assert "Not confirmed yet, so not ranked: sgd." in texts
    assert any("has not ended" in text for text in texts)


def test_without_confirmation_there_is_no_ranking_but_a_report():
    summary = study(runs("sgd", [[0.8]], phase=Phase.SEARCH))
    assert summary.headline.text.startswith("Nothing can be ranked yet")
    assert len(summary.curves) == 1


def test_trials_are_counted_once_however_many_rungs_they_climbed():
    first = runs("adam", [[0.5, 0.6, 0.7]], phase=Phase.SEARCH)
    climbed = dataclasses.replace(
        first[2], trial_id="adam/0/search/9", epochs=9, initial_epoch=3, continues=first[2].trial_id
    )
    row = study([*first, climbed]).rows[0]
    assert (row.trials, row.epochs) == (3, 3 * 3 + 6)
    assert row.seconds_per_trial == pytest.approx(sum(r.seconds for r in (*first, climbed)) / 3)


def test_settings_are_those_of_a_typical_repeat_and_show_what_the_others_found():
    found = []
    for repeat, (value, rate) in enumerate([(0.9, 0.1), (0.7, 0.001), (0.8, 0.01)]):
        values = {"learning_rate": rate, "schedule": "cosine" if repeat else "steps"}
        (run,) = runs("adam", [[value]], hyperparameters=values)
        found.append(dataclasses.replace(run, repeat=repeat, trial_id=f"adam/{repeat}"))
    settings = study(found).settings[0]
    assert settings.run.repeat == 2 and settings.values["learning_rate"] == 0.01
    assert settings.others == {"learning_rate": "0.001 to 0.1", "schedule": "cosine, steps"}


def test_curves_end_where_most_runs_have_ended():
    short, long_, last = runs("adam", [[0.8], [0.9], [0.7]])
    longer = dataclasses.replace(
        long_, **{k: [0.5] * 9 for k in ("loss", "accuracy", "val_loss", "val_accuracy")}
    )
    curves = study([short, longer, last]).curves[0]
    assert curves.val_value.mean.shape == (3,)
    assert curves.val_value.mean[1] == pytest.approx((0.8 + 0.5 + 0.7) / 3)
    assert curves.val_value.low[1] == 0.5 and curves.val_value.high[1] == 0.8


def test_evaluation_line_is_the_posts():
    row = study(runs("adam", [[0.479]])).rows[0]._replace(last_loss=2.759)
    assert evaluation_line(row) == "adam: val_loss 2.759, val_accuracy 0.469"


def test_search_summaries_keep_diverged_trials_and_drop_failed_ones():
    records = make_records(["adam", "sgd"], repeats=2, trials=18)
    summary = summarize(make_meta(["adam", "sgd"], CLASSES), records)
    for one, row in zip(summary.sensitivity, ("adam", "sgd"), strict=True):
        found = next(r for r in summary.rows if r.optimizer == row)
        assert one.optimizer == row
        assert len(one.learning_rate) == found.trials - found.failed
        assert one.diverged.sum() == found.diverged
        assert set(one.value[one.diverged]) <= {1 / 40}
    for budget in summary.best_so_far:
        known = budget.middle[np.isfinite(budget.middle)]
        assert (np.diff(known) >= 0).all()
        assert (budget.low <= budget.high).sum() == len(known)
    gain = next(g for g in summary.gains if g.optimizer == "sgd")
    assert gain.default == pytest.approx(0.63, abs=0.03) and gain.tuned > 0.8
    assert summary.widths is not None and summary.widths.values == (64, 128, 170, 256, 512)
    assert choices(summary.meta, records, "batch_size") is None  # one value: nothing to compare


def warned(summary):
    return {c.kind: c.text for c in summary.cautions}


def test_a_search_that_missed_is_reported_with_how_often_and_how_far():
    missed = runs("sgd", [[v] for v in [*BASE[:4], BASE[4] - 0.4]])
    found = study(near("adam", 0, 0), missed)
    sgd = found.answer.about("sgd")
    assert (sgd.collapsed, round(sgd.fall, 2)) == (1, 0.38) and not found.answer.about(
        "adam"
    ).collapsed
    said = "Searches that found no good configuration: in 1 of 5 repeats sgd ended 38 points lower"
    assert any(text.startswith(said) for text in found.headline.details)
    table = ranking_table(found)
    column = table.head.index("missed")
    assert {row[0]: row[column] for row in table.rows} == {"adam": "0/5", "sgd": "1/5"}
    assert "missed" not in ranking_table(study(near("adam", 0), near("sgd", 0.1))).head


def test_what_was_doubtful_about_the_images_is_said_again():
    data = {
        "features": 512,
        "left_out": ["a.png is cut off"] * 20 + ["b.png is empty"],
        "left_out_reasons": {"is cut off": 20, "is empty": 1},
        "in_several_classes": [["cats/0.png", "dogs/0.png"], ["cats/1.png", "dogs/1.png"]],
        "flat": [f"cats/{number}.png" for number in range(16)],
        "split_warnings": ["Keras's split leaves no training image of birds"],
        "doubts": ["may be one class: 'a' 4, 'A' 4"],
        "dark": ["cats/mask.png"],
        "shortcuts": ["the mode alone tells the class of 98% of the images; look"],
        "deep_grey": {"white_points": {}, "doubts": ["whole numbers beside floats"]},
    }
    said = warned(study(runs("adam", [[0.9], [0.9]]), data=data))
    assert said["left out"] == (
        "21 files or folders were left out: each of 20 is cut off; one is empty. study.json lists "
        "each."
    )
    assert (
        "4 images have the same content as one of another class (2 groups, such as"
        in (said["in several classes"])
    )
    assert (
        "which class is right: a stratified split only trains on them, but"
        in said["in several classes"]
    )
    assert said["flat images"].startswith("16 images are one flat colour (cats/0.png, cats/1.png, ")
    assert "and 13 more), so" in said["flat images"]
    assert said["names and numbers"] == "May be one class: 'a' 4, 'A' 4."
    assert said["split"] == "Keras's split leaves no training image of birds."
    assert said["dark images"].startswith("1 image is nearly black (cats/mask.png). ")
    assert said["shortcut"] == "The mode alone tells the class of 98% of the images; look."
    assert said["deep grey"] == "Whole numbers beside floats."


def test_many_reasons_are_five_and_a_number():
    reasons = {f"is broken in way {number}": number for number in range(1, 9)}
    data = {"features": 512, "left_out": ["x"] * 36, "left_out_reasons": reasons}
    said = warned(study(runs("adam", [[0.9], [0.9]]), data=data))["left out"]
    assert "left out: each of 8 is broken in way 8; each of 7 is" in said
    assert "each of 4 is broken in way 4; 6 for other reasons. study.json" in said


def test_images_that_nothing_is_wrong_with_are_not_doubted():
    said = warned(study(runs("adam", [[0.9], [0.9]])))
    of_pixels = {"flat images", "dark images", "shortcut", "deep grey"}
    assert not said.keys() & {"left out", "in several classes", "split", *of_pixels}


def test_a_best_value_at_the_edge_names_the_side_and_what_to_try():
    table = {
        "optimizers": {
            "adam": {"class": "Adam", "one_minus_beta_1": {"min": 1e-3, "max": 0.5, "scale": "log"}}
        }
    }
    found = study(
        runs("adam", [[0.9], [0.9]], hyperparameters={"learning_rate": 1e-3, "beta_1": 0.99899}),
        space={"name": "x", "table": table},
    )
    text = warned(found)["edge of range"]
    assert (
        "one_minus_beta_1" in text and "lower edge of its range, 0.001, in 2 of 2 repeats" in text
    )


def test_budgets_divergence_classes_and_overfitting_are_put_into_words():
    records = [
        *runs("adam", [[0.9, 0.8]], phase=Phase.SEARCH),
        *runs("sgd", [[0.9]], phase=Phase.SEARCH, status=TrialStatus.DIVERGED),
        *[dataclasses.replace(r, accuracy=[0.9, 1.0, 1.0]) for r in runs("adam", [[0.6]])],
    ]
    found = warned(study(records, class_counts=[50] + [10] * 39))
    assert "sgd for 3 epochs per repeat and adam for 6" in found["unequal budgets"]
    assert "sgd 1 of 1" in found["diverged"]
    assert "s0 has 50 images" in found["unbalanced classes"]
    assert "adam" in found["overfitting"]


@pytest.mark.parametrize(
    "heavy, told",
    [
        ({"class": "SGD", "one_minus_momentum": {"min": 1e-2, "max": 0.3}}, True),
        ({"class": "SGD", "momentum": 0.9, "nesterov": True}, True),
        ({"class": "SGD", "momentum": 0.0}, False),
        ({"class": "RMSprop"}, True),
        ({"class": "Adagrad"}, False),
    ],
)
def test_a_general_optimizer_that_loses_to_one_it_contains_is_called_under_tuned(heavy, told):
    """Whatever the space calls it: what counts is its class and what is switched on in it."""
    table = {"optimizers": {"heavy": heavy, "plain": {"class": "SGD"}}}
    found = study(near("heavy", 0.15), near("plain", 0), space={"name": "x", "table": table})
    said = warned(found).get("under-tuned", "")
    assert ("heavy can imitate plain" in said) == told


def test_still_improving_runs_ask_for_more_epochs():
    records = [
        dataclasses.replace(
            r, val_accuracy=list(np.linspace(0.1, 0.9, 10)), epochs=10, best_epoch=10
        )
        for r in runs("adam", [[0.9]])
    ]
    records = [
        dataclasses.replace(r, loss=[1.0] * 10, accuracy=[0.9] * 10, val_loss=[1.0] * 10)
        for r in records
    ]
    assert "adam" in warned(study(records))["still improving"]


def test_an_edge_counts_only_where_most_repeats_end_there():
    table = {
        "optimizers": {
            "adam": {"class": "Adam", "learning_rate": {"min": 1e-4, "max": 1e-1, "scale": "log"}}
        }
    }

    def best_at(*rates):
        found = []
        for repeat, rate in enumerate(rates):
            (run,) = runs("adam", [[0.9]], hyperparameters={"learning_rate": rate})
            found.append(dataclasses.replace(run, repeat=repeat, trial_id=f"adam/{repeat}"))
        return warned(study(found, space={"name": "x", "table": table}))

    text = best_at(0.099, 0.097, 0.003)["edge of range"]
    assert "the best learning_rate (0.003 to 0.099) is at the upper edge of its range, 0.1" in text
    assert "in 2 of 3 repeats; raise it" in text
    assert "edge of range" not in best_at(0.099, 0.003, 0.002)


def test_an_end_that_no_range_can_leave_is_no_edge():
    ranges = {"dropout": {"min": 0.0, "max": 0.7}, "label_smoothing": {"min": 0, "max": 0.2}}
    table = {"head": ranges}
    values = {"learning_rate": 1e-3, "dropout": 0.001, "label_smoothing": 0.001}
    found = study(runs("adam", [[0.9]], hyperparameters=values), space={"table": table})
    assert "edge of range" not in warned(found)


def test_losses_of_labels_that_are_smoothed_differently_are_said_not_to_compare():
    def warned_of(*smoothing):
        names = zip(("adam", "sgd"), smoothing, strict=True)
        found = [
            runs(name, [[0.9]], hyperparameters={"learning_rate": 1e-3} | given)
            for name, given in names
        ]
        return warned(study(*found)).get("several losses")

    text = warned_of({"label_smoothing": 0.0}, {"label_smoothing": 0.15})
    assert "smoothed by 0 to 0.15, so they are not comparable between optimizers" in text
    assert warned_of({"label_smoothing": 0.1}, {"label_smoothing": 0.1}) is None
    assert warned_of({}, {}) is None


def test_tuning_that_loses_to_the_defaults_is_named():
    found = study(
        runs("momentum", [[0.90], [0.91]], phase=Phase.DEFAULT), runs("momentum", [[0.86], [0.87]])
    )
    assert "momentum (90.5 % default, 86.5 % tuned)" in warned(found)["tuning lost"]


@pytest.mark.parametrize(("split", "owner"), [("keras", "Keras's"), ("folders", "the folders'")])
def test_repeats_on_one_split_are_said_to_ignore_variation_between_splits(split, owner):
    found = study(runs("adam", [[0.9], [0.9]]), settings={"split": split})
    assert f"share {owner} one split" in warned(found)["one split"]
    assert "one split" not in warned(study(runs("adam", [[0.9], [0.9]])))


def test_a_test_accuracy_that_chance_does_not_explain_is_named():
    def judged(images, **more):
        sizes = {"train": 120, "validation": 160, "test": images}
        values = [[0.90], [0.901], [0.902], [0.9], [0.902]]
        return study(runs("adam", values, test_accuracy=0.8), split_sizes=sizes, **more)

    def said(*given, **more):
        return warned(judged(*given, **more)).get("test below validation", "")

    assert "for adam, by more than chance explains (adam: by 10.1 points)" in said(400)
    assert "such as a patient: then search with --group" in said(400)
    grouped = {**make_meta(["adam"], CLASSES).data, "groups": 3}
    assert "--group" not in said(400, data=grouped)
    assert said(400, settings={"metric": "balanced_accuracy"}) == ""  # no share of the images
    assert said(20) == ""  # 16 of 20 are no less than 18 of 20
    reached = [next(t for t in judged(n).headline.details if "reaches" in t) for n in (400, 20)]
    assert "80.0 % (75.7 to 83.8) on the 400 test images, lower than chance explains" in reached[0]
    assert "one fixed set that chance makes easier or harder" in reached[1]


def test_a_warning_about_many_optimizers_counts_them():
    found = study(*(runs(f"o{n}", [[0.90]] * 3, test_accuracy=0.6) for n in range(6)))
    assert "for 6 optimizers, by more than" in warned(found)["test below validation"]


def test_a_sound_study_has_no_warning():
    records = runs("adam", [[0.90], [0.91], [0.92]], test_accuracy=0.9)
    records = [dataclasses.replace(r, accuracy=[0.5, 0.95, 0.95]) for r in records]
    worse = [
        dataclasses.replace(
            r, optimizer="sgd", trial_id=f"sgd{r.repeat}", val_accuracy=[0.1, 0.6, 0.5]
        )
        for r in records
    ]
    assert warned(study(records, [dataclasses.replace(r, accuracy=[0.5] * 3) for r in worse])) == {}


def test_the_newest_study_is_the_default(tmp_path):
    write_study(tmp_path, ["adam"], meta={"name": "old", "created": "2025-01-01T00:00:00+00:00"})
    write_study(tmp_path, ["adam"], meta={"name": "new", "created": "2026-01-01T00:00:00+00:00"})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text("{")
    assert find_study(tmp_path, None).name == "new"
    assert find_study(tmp_path, "old").name == "old"
    with pytest.raises(UserError, match=r"no study named 'x' in .*; known: broken, new, old"):
        find_study(tmp_path, "x")
    with pytest.raises(UserError, match="no studies in"):
        find_study(tmp_path / "nowhere", None)


def test_a_study_without_results_says_so(tmp_path):
    folder = write_study(tmp_path, ["adam"], records=[], predictions=False)
    with pytest.raises(UserError, match="no finished runs yet"):
        load_study(folder)


def test_damaged_files_are_named(tmp_path):
    folder = write_study(tmp_path, ["adam"], repeats=1)
    lines = (folder / "trials.jsonl").read_text().splitlines()
    broken = json.loads(lines[3]) | {"best_epoch": 99}
    (folder / "trials.jsonl").write_text("\n".join([*lines[:3], json.dumps(broken), lines[4]]))
    with pytest.raises(UserError, match=r"trials\.jsonl, line 4: not a trial record"):
        load_study(folder)
    (folder / "trials.jsonl").write_text("\n".join(lines) + "\n")
    predictions = folder / "best" / "predictions.json"
    table = json.loads(predictions.read_text())
    table["optimizers"]["adam"]["labels"][0] = 40
    predictions.write_text(json.dumps(table))
    with pytest.raises(UserError, match=r"predictions\.json is damaged"):
        load_study(folder)
    about = json.loads((folder / "study.json").read_text()) | {"class_names": None}
    (folder / "study.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"study\.json is damaged"):
        load_study(folder)


def test_a_finished_study_that_lost_a_run_gives_no_verdict_and_says_what_repeats_it(tmp_path):
    folder = tmp_path / "rows"
    shutil.copytree(STUDIES / "rows", folder)
    assert load_study(folder).answer.leader
    lines = (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    for damage, said in (
        ([*lines[:-1], lines[-1][:-9]], "1 run is missing (the same search command repeats it)"),
        (lines[:-2], "2 runs are missing (the same search command repeats them)"),
    ):
        (folder / "trials.jsonl").write_bytes(b"".join(damage))
        found = load_study(folder)
        assert found.headline.text == f"No conclusion is possible yet: {said}."
        assert not found.answer.leader and not found.meta.finished
        assert found.cautions[0].text == f"This study is partial: {said}."
        assert not outdated(folder)


def test_the_half_of_a_repeat_that_has_ended_says_nothing():
    whole = study(runs("adam", [[0.7, 0.7]]), runs("sgd", [[0.6, 0.6]]), settings={"confirm": 2})
    assert whole.answer.leader == "adam"
    half = study(runs("adam", [[0.7]]), runs("sgd", [[0.8]]), settings={"confirm": 2})
    assert half.headline.text == "No conclusion is possible yet: no repeat has ended."


def test_the_confusion_matrix_counts_true_by_predicted(tmp_path):
    folder = write_study(tmp_path, ["adam"], repeats=1, classes=["a", "b", "c"])
    paths = [f"{number}.png" for number in range(5)]
    table = Predictions("x", "test", paths, [0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0.5] * 5)
    save_predictions(folder, BestPredictions("adam", {"adam": table}))
    found = load_study(folder).confusion
    assert found is not None
    assert found.counts.tolist() == [[1, 1, 0], [2, 1, 0], [0, 0, 0]]
    assert found.accuracy == pytest.approx(0.4)
    assert found.pairs == ((1, 0, 2, 3), (0, 1, 1, 2))
    assert found.per_class[:2] == pytest.approx([1 / 2, 1 / 3]) and math.isnan(found.per_class[2])


def test_random_settings_are_those_that_no_result_has_picked():
    records = make_records(["adam", "sgd"], repeats=5, trials=18)
    summary = summarize(make_meta(["adam", "sgd"], CLASSES), records)
    for one in summary.robustness:
        own = [r for r in records if r.optimizer == one.optimizer and r.phase is Phase.SEARCH]
        drawn = [r for r in own if r.continues is None and r.status is not TrialStatus.FAILED]
        assert one.settings == len(drawn)
        assert one.diverged == sum(r.status is TrialStatus.DIVERGED for r in drawn)
        assert one.diverged_low <= one.diverged / one.settings <= one.diverged_high
        assert one.draws == 0 and math.isnan(one.median)  # this Hyperband trains none of them whole
    grid = make_meta(["adam"], CLASSES, settings={"tuner": "grid"})
    (planned,) = summarize(grid, [r for r in records if r.optimizer == "adam"]).robustness
    assert planned.settings == 0  # a grid draws nothing


def test_the_cost_is_the_epochs_until_a_run_is_within_the_margin_of_its_own_best():
    rising = [
        dataclasses.replace(
            record, val_accuracy=[0.5, 0.88, 0.89, 0.90, 0.7], best_epoch=4, epochs=5, seconds=10.0,
            loss=[1.0] * 5, val_loss=[1.0] * 5, accuracy=[0.9] * 5,
        )
        for record in runs("adam", [[0.9]] * 5)
    ]  # fmt: skip
    (one,) = study(rising).robustness
    assert one.epochs == 2 and one.seconds == pytest.approx(4.0)


def test_incumbents_are_judged_by_their_reruns_and_the_winner_by_its_own():
    names = ["adam", "sgd"]
    records = make_records(names, repeats=5, trials=18, spread=0.001)
    found = summarize(make_meta(names, CLASSES), records).incumbents
    assert found is not None and found.repeats == 5 and found.value.shape == (2, 4)
    for place, name in enumerate(found.optimizers):
        first = [r for r in records if r.optimizer == name and r.confirm == 0]
        assert found.value[place, -1] == pytest.approx(np.mean([r.best_value for r in first]))
        assert np.allclose(found.epochs[place] * 8 / found.epochs[place, -1], [1, 2, 4, 8])
    without = [r for r in records if r.phase is not Phase.BUDGET]
    assert summarize(make_meta(names, CLASSES), without).incumbents is None


def test_what_was_made_with_other_versions_or_alone_is_said():
    versions = [VERSIONS | {"keras": "3.14.2"}, VERSIONS | {"keras": "3.14.3"}]
    own = {"class": "Adam2", "file": "a.py", "digest": "f" * 64, "alone": "it cannot be traced"}
    one = study(runs("adam", [[0.9], [0.8]]), versions=versions, code={"adam": own})
    found = warned(one)
    assert found["versions"] == "Runs were made with several versions: keras 3.14.2 -> 3.14.3."
    assert found["trained alone"].startswith("Plain Keras trained adam one head at a time")
    usual = warned(study(runs("adam", [[0.9], [0.8]])))
    assert not usual.keys() & {"versions", "trained alone"}


def test_the_paragraph_for_a_paper_has_budget_code_margin_looks_and_every_verdict():
    own = {"class": "Adam2", "file": "a.py", "digest": "f" * 64, "alone": ""}
    good, bad = ([[0.9 + i / 1e3 + k for i in range(5)] for _ in range(6)] for k in (0, -0.4))
    found = study(runs("adam", good), runs("mine", bad), code={"mine": own})
    text = "\n".join(found.citation)
    for words in (
        "2 optimizers were compared", "mine is the class Adam2 of a.py (sha256 ffffffffffff)",
        "at most 2.0 percentage points behind the best",
        "Planned looks (interim analyses) at 5, 8, 12, 18 and 27 repeats",
        "1 of them was used", "adam good enough (0.0, ", "mine excluded",
        "Hsu, J. C. (1984)",
    ):  # fmt: skip
        assert words in text
    assert study(runs("adam", [[0.9]], phase=Phase.SEARCH)).citation == ()
    little = study(runs("adam", good[:2]), runs("mine", bad[:2])).citation
    assert little[1:] == (
        "Nothing is concluded: that takes at least two optimizers and 5 repeats.",
    )


def test_a_study_in_which_nothing_beats_the_largest_class_says_so_first():
    counts = {"class_counts": [14, 190], "settings": {"confirm": 5}}
    poor, good = ([[value + i / 1e3 for i in range(5)] for _ in range(6)] for value in (0.76, 0.95))

    def text(values, **changes):
        records = runs("adam", values)
        return summarize(
            make_meta(["adam"], ["dogs", "cats"], **counts | changes), records
        ).headline.text

    assert text(poor).startswith(
        "No optimizer beats always predicting the largest class, cats, which is right for 93.1 % "
        "of the images: the best one reaches 76.2 %; a search with --metric balanced_accuracy "
        "counts every class equally. adam reaches"
    )
    assert text(good).startswith("adam reaches 95.2 %")
    assert text(poor, class_counts=[100, 100]).startswith("adam reaches")
    guessing = [[0.5] * 5] * 6
    assert text(guessing, class_counts=[100, 100]).startswith(
        "No optimizer beats always predicting one class"
    )


@pytest.mark.parametrize("split", ["keras", "folders"])
def test_one_split_for_all_repeats_says_nothing_of_new_images(split: str):
    good, bad = ([[0.9 + i / 1e3 + k for i in range(5)] for _ in range(6)] for k in (0, -0.4))
    found, usual = (
        study(runs("adam", good), runs("sgd", bad), settings={"confirm": 5, "split": name})
        for name in (split, "stratified")
    )
    assert [one.at_most_behind for one in found.answer.optimizers] == [
        one.at_most_behind for one in usual.answer.optimizers
    ]
    assert usual.headline.text.startswith("Use adam")
    assert found.headline.text.startswith("On these images, use adam: ")
    assert all(one.at_most_behind_new_images is None for one in found.answer.optimizers)
    assert found.headline.text.endswith("because all repeats share one split.")
    assert any("--split stratified" in step.command for step in found.headline.next)
    assert all(math.isnan(pair.new_low) and not pair.carries_over for pair in found.pairs)


def test_what_can_be_done_next_is_in_commands_that_reach_the_study(tmp_path):
    folder = tmp_path / "my logs" / "first one"
    good, bad = near("adam", 0, 0), near("sgd", 0.3, 0.01)
    found = study(good, bad)
    summary = summarize(found.meta, found.records, folder=folder)
    commands = [step.command for step in summary.headline.next]
    place = ["--study", "first one", "--logs", str(folder.parent)]
    assert shlex.split(commands[0]) == ["python", "-m", "study.predict", "photo.jpg", *place]
    assert str(folder / "report" / "report.html") in commands
    assert found.headline.next[0].command.endswith(f"photo.jpg --study {found.meta.name}")
    begun = study(good, bad, finished=False).headline.next
    assert begun[0] == ("go on until the answer is known", "python -m study.search")
    assert not any("study.predict" in step.command for step in begun)  # no model yet
    few = study(good[:3], bad[:3], settings={"repeats": 3}).headline.next
    assert few[0].command == "python -m study.search --repeats auto"


@pytest.mark.parametrize("name", ["faces", "it's mine", "two words", "a=b"])
def test_a_step_gives_each_option_once(name):
    own = shlex.join(["python", "-m", "study.search", "--name", name, "--repeats", "3"])
    groups = [runs(one, [[0.9, 0.9]] * 3) for one in ("adam", "sgd")]
    step = study(*groups, command=own, settings={"repeats": 3}).headline.next[0]
    words = ["python", "-m", "study.search", "--name", name, "--repeats", "auto"]
    assert shlex.split(step.command) == words


def test_what_a_study_took_is_said():
    groups = near("adam", 0, 0), near("sgd", 0.3, 0.01)
    took = study(*groups, seconds={"search": 321.5}).headline.details[-1]
    assert took == "This took 10 runs, 5.4 minutes of search on some processor."
    assert study(*groups, finished=False).headline.details[-1] == "It has 10 runs so far."
