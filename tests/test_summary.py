"""Rankings, claims, warnings: numbers from small studies whose answer is known by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest
from synthetic import make_meta, make_record, make_records, write_study

from study.common.errors import UserError
from study.records.predictions import BestPredictions, Predictions, save_predictions
from study.records.study_folders import find_study
from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.search_trials import choices
from study.report.analysis.summary import load_study, summarize
from study.report.analysis.winners import evaluation_line

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
    return summarize(make_meta(names, CLASSES, **changes), records)


def test_the_mean_is_taken_inside_a_repeat_first():
    row = study(runs("adam", [[0.9, 0.9, 0.9, 0.9], [0.5]])).rows[0]
    assert row.mean == pytest.approx(0.7)  # over all runs it would be 0.82
    assert row.interval_over == "repeats"
    assert (row.minimum, row.maximum) == (0.5, 0.9)
    assert row.spread == pytest.approx(np.std([0.9, 0.5], ddof=1))


def test_diverged_reruns_count_as_guessing_and_failed_ones_not_at_all():
    diverged = runs("sgd", [[0.8], [0.8]], status=TrialStatus.DIVERGED)[1:]
    failed = runs("lion", [[0.1], [0.1], [0.1]], status=TrialStatus.FAILED)[2:]
    summary = study(
        runs("adam", [[0.9], [0.9]]),
        [*runs("sgd", [[0.8]]), *diverged],
        [*runs("lion", [[0.7], [0.7]]), *failed],
    )
    rows = {row.optimizer: row for row in summary.rows}
    assert rows["sgd"].mean == pytest.approx((0.8 + 1 / 40) / 2)
    assert rows["sgd"].confirm_diverged == 1
    assert rows["lion"].mean == pytest.approx(0.7)
    assert {c.kind for c in summary.cautions} >= {"winner diverged"}


def test_one_repeat_says_that_nothing_can_be_said():
    summary = study(runs("adam", [[0.90, 0.91, 0.92]]), runs("sgd", [[0.5, 0.51, 0.52]]))
    assert summary.headline.text.startswith("Nothing can be said yet")
    assert "a single repeat cannot tell a difference from luck" in summary.headline.text
    assert "40.0 points" in summary.headline.text
    assert summary.claims.groups == (("adam", "sgd"),)
    assert summary.rows[0].interval_over == "runs"
    assert "one repeat" in {c.kind for c in summary.cautions}


def test_a_large_steady_difference_is_claimed_and_a_small_one_is_not():
    base = [0.90, 0.92, 0.91, 0.89, 0.93]
    noise = [0.003, -0.002, 0.001, -0.004, 0.001]
    summary = study(
        runs("adam", [[v] for v in base]),
        runs("nadam", [[v + e] for v, e in zip(base, noise, strict=True)]),
        runs("sgd", [[v - 0.10 + e / 4] for v, e in zip(base, noise, strict=True)]),
    )
    claims = summary.claims
    assert claims.groups == (("adam", "nadam"), ("sgd",))
    assert claims.places == {"adam": (1, 2), "nadam": (1, 2), "sgd": (3, 3)}
    assert summary.headline.text.startswith(
        "adam and nadam are not distinguishable here; sgd is 10.0 points behind (9."
    )
    assert "Either will do: gaps below about 0." in summary.headline.text
    pair = next(p for p in claims.pairs if {p.first, p.second} == {"adam", "sgd"})
    assert pair.separated and pair.probability == 1.0 and pair.low < pair.difference < pair.high


def test_the_best_alone_is_called_best():
    summary = study(runs("adam", [[0.90], [0.92], [0.91]]), runs("sgd", [[0.60], [0.621], [0.609]]))
    assert summary.headline.text.startswith(
        "adam is best on these images: sgd is 30.0 points behind ("
    )


def test_a_real_difference_may_still_not_hold_for_new_images():
    steps = [[v] for v in (0.90, 0.92, 0.91, 0.89, 0.93)]
    worse = [[0.855], [0.902], [0.875], [0.867], [0.901]]  # about 3 points behind
    summary = study(runs("adam", steps), runs("sgd", worse))
    (pair,) = summary.claims.pairs
    assert pair.separated and not pair.carries_over
    assert pair.new_low < 0 < pair.low and pair.new_high > pair.high
    assert summary.claims.margin < pair.difference < summary.claims.new_margin
    assert "new images of the same kind is not certain" in " ".join(summary.headline.details)
    clear = study(runs("adam", steps), runs("sgd", [[v - 0.3] for [v] in worse]))
    assert clear.headline.details == ("This holds for new images of the same kind, too.",)


def test_an_optimizer_with_fewer_repeats_is_compared_over_those_it_has():
    summary = study(
        runs("adam", [[0.90], [0.92], [0.91], [0.93]]),
        runs("lion", [[0.901], [0.918], [0.911], [0.93]]),
        runs("sgd", [[0.5], [0.521]]),
        runs("nadam", [[0.9]]),
    )
    pairs = {frozenset(pair[:2]): pair for pair in summary.claims.pairs}
    assert pairs[frozenset(("adam", "sgd"))].repeats == 2
    assert pairs[frozenset(("adam", "sgd"))].separated
    assert math.isnan(pairs[frozenset(("adam", "nadam"))].p_value)


def test_unconfirmed_optimizers_stand_last_and_are_not_ranked():
    summary = study(
        runs("adam", [[0.5], [0.6]]), runs("sgd", [[0.99]], phase=Phase.SEARCH), finished=False
    )
    assert [row.optimizer for row in summary.rows] == ["adam", "sgd"]
    assert "sgd" not in summary.claims.places
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


def test_best_settings_are_the_best_repeats_and_show_what_the_others_found():
    low = runs("adam", [[0.8]], hyperparameters={"learning_rate": 0.01, "schedule": "cosine"})
    high = [
        dataclasses.replace(r, repeat=1, trial_id="b")
        for r in runs("adam", [[0.9]], hyperparameters={"learning_rate": 0.1, "schedule": "steps"})
    ]
    found = study(low, high).settings[0]
    assert found.run.repeat == 1 and found.values["learning_rate"] == 0.1
    assert found.others == {"learning_rate": "0.01 to 0.1", "schedule": "cosine, steps"}


def test_curves_end_where_most_runs_have_ended():
    short, long_, last = runs("adam", [[0.8], [0.9], [0.7]])
    longer = dataclasses.replace(
        long_, **{k: [0.5] * 9 for k in ("loss", "accuracy", "val_loss", "val_accuracy")}
    )
    curves = study([short, longer, last]).curves[0]
    assert curves.val_accuracy.mean.shape == (3,)
    assert curves.val_accuracy.mean[1] == pytest.approx((0.8 + 0.5 + 0.7) / 3)
    assert curves.val_accuracy.low[1] == 0.5 and curves.val_accuracy.high[1] == 0.8


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
        assert set(one.accuracy[one.diverged]) <= {1 / 40}
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


def test_a_best_value_at_the_edge_names_the_side_and_what_to_try():
    table = {
        "optimizers": {"adam": {"one_minus_beta_1": {"min": 1e-3, "max": 0.5, "scale": "log"}}}
    }
    found = study(
        runs("adam", [[0.9], [0.9]], hyperparameters={"learning_rate": 1e-3, "beta_1": 0.99899}),
        space={"name": "x", "table": table},
    )
    text = warned(found)["edge of range"]
    assert "one_minus_beta_1" in text and "lower edge of its range, 0.001; lower it" in text


def test_budgets_divergence_classes_and_overfitting_are_put_into_words():
    records = [
        *runs("adam", [[0.9, 0.8]], phase=Phase.SEARCH),
        *runs("sgd", [[0.9]], phase=Phase.SEARCH, status=TrialStatus.DIVERGED),
        *[dataclasses.replace(r, accuracy=[0.9, 1.0, 1.0]) for r in runs("adam", [[0.6]])],
    ]
    found = warned(study(records, class_counts=[50] + [10] * 39))
    assert "sgd for 3 epochs and adam for 6" in found["unequal budgets"]
    assert "sgd 1 of 1" in found["diverged"]
    assert "s0 has 50 images" in found["unbalanced classes"]
    assert "adam" in found["overfitting"]


def test_a_general_optimizer_that_loses_to_one_it_contains_is_called_under_tuned():
    found = study(
        runs("momentum", [[0.80], [0.82], [0.81]]), runs("sgd", [[0.95], [0.971], [0.961]])
    )
    assert "momentum can imitate sgd" in warned(found)["under-tuned"]


def test_a_validation_set_too_small_for_the_gap_is_named_with_its_error():
    found = study(runs("adam", [[0.90], [0.91]]), runs("sgd", [[0.895], [0.905]]))
    assert "160 images" in warned(found)["small validation set"]
    assert "standard error of 2.3 points" in warned(found)["small validation set"]


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
    table = {"optimizers": {"adam": {"learning_rate": {"min": 1e-4, "max": 1e-1, "scale": "log"}}}}

    def best_at(*rates):
        found = []
        for repeat, rate in enumerate(rates):
            (run,) = runs("adam", [[0.9]], hyperparameters={"learning_rate": rate})
            found.append(dataclasses.replace(run, repeat=repeat, trial_id=f"adam/{repeat}"))
        return warned(study(found, space={"name": "x", "table": table}))

    text = best_at(0.099, 0.097, 0.003)["edge of range"]
    assert "the best learning_rate (0.003 to 0.099) is at the upper edge of its range, 0.1" in text
    assert "raise it" in text
    assert "edge of range" not in best_at(0.099, 0.003, 0.002)


def test_an_end_that_no_range_can_leave_is_no_edge():
    table = {"head": {"dropout": {"min": 0.0, "max": 0.7}}}
    values = {"learning_rate": 1e-3, "dropout": 0.001}
    found = study(runs("adam", [[0.9]], hyperparameters=values), space={"table": table})
    assert "edge of range" not in warned(found)


def test_tuning_that_loses_to_the_defaults_is_named():
    found = study(
        runs("momentum", [[0.90], [0.91]], phase=Phase.DEFAULT), runs("momentum", [[0.86], [0.87]])
    )
    assert "momentum (90.5 % untuned, 86.5 % tuned)" in warned(found)["tuning lost"]


def test_repeats_on_one_split_are_said_to_leave_out_its_luck():
    found = study(runs("adam", [[0.9], [0.9]]), settings={"split": "keras"})
    assert "one split" in warned(found)


def test_a_test_accuracy_below_the_interval_warns_of_the_picked_epoch():
    found = study(runs("adam", [[0.90], [0.901], [0.902]], test_accuracy=0.8))
    assert "adam" in warned(found)["test below validation"]


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
