"""The winner: ranking, report, `best/` and predict must mean the same one, ties or not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_meta, make_record

from study.common.metrics import ACCURACY
from study.predict import outdated
from study.records.outcomes import (
    chance,
    incumbent,
    repeat_means,
    search_winner,
    training_length,
    winning_run,
)
from study.records.trial_record import Phase, TrialRecord, TrialStatus, cross_fitted, trial_id
from study.report.analysis.summary import load_study, summarize
from study.verdicts.judge import answer_of

NAMES = ["b", "a", "c"]  # the order of the search space decides ties
CLASSES = [f"s{number}" for number in range(4)]
STUDIES = Path(__file__).parent / "studies"


def confirmed(
    name: str, repeat: int, count: int, accuracy: float, status: TrialStatus = TrialStatus.COMPLETED
) -> TrialRecord:
    made = make_record(
        np.random.default_rng(1), name, Phase.CONFIRM, epochs=2, classes=4, status=status,
        trial_id=trial_id(name, repeat, Phase.CONFIRM, number="0001", confirm=count),
        repeat=repeat, number="0001", confirm=count,
    )  # fmt: skip
    if status is TrialStatus.FAILED:
        return made
    return replace(made, val_accuracy=[accuracy] * 2, best_epoch=1)


STATUS = st.sampled_from([*[TrialStatus.COMPLETED] * 6, TrialStatus.DIVERGED, TrialStatus.FAILED])
RESULTS = st.lists(  # few values, so that exact ties are common
    st.tuples(
        st.sampled_from(NAMES), st.integers(0, 2), st.integers(0, 1),
        st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.75]), STATUS,
    ),
    unique_by=lambda one: one[:3],
    max_size=18,
)  # fmt: skip


def leader(names: list[str], records: list[TrialRecord]) -> str:
    return answer_of(make_meta(names, CLASSES, settings={"confirm": 2}), records).leader


@given(RESULTS, st.randoms())
def test_ranking_and_winner_agree_in_every_order_of_the_records(results, random) -> None:
    records = [confirmed(*one) for one in results]
    meta = make_meta(NAMES, CLASSES, settings={"confirm": 2})
    best = leader(NAMES, records)
    random.shuffle(records)
    assert leader(NAMES, records) == best
    summary = summarize(meta, records)
    if best:
        assert summary.rows[0].optimizer == best == summary.settings[0].optimizer
    for found in summary.settings:  # the run whose hyperparameters are printed is in best/
        own = [record for record in records if record.optimizer == found.optimizer]
        run = winning_run(own)
        assert run is None or run.trial_id == found.run.trial_id


def whole(name: str, *values: float) -> list[TrialRecord]:
    """Repeats of two runs each."""
    return [confirmed(name, repeat, n, v) for repeat, v in enumerate(values) for n in (0, 1)]


def test_of_equals_the_first_in_the_search_space_leads() -> None:
    records = [record for name in sorted(NAMES) for record in whole(name, 0.5)]
    assert leader(NAMES, records) == "b"
    assert leader(sorted(NAMES), records) == "a"


def test_a_mean_over_repeats_decides_not_one_over_runs() -> None:
    """Two runs in a bad repeat weigh as much as one that converged in a good one."""
    records = [confirmed("b", 0, 0, 0.5), confirmed("b", 0, 1, 0.5), confirmed("b", 1, 0, 0.75)]
    records += [confirmed("b", 1, 1, 0.0, TrialStatus.FAILED), *whole("a", 0.6, 0.6)]
    assert leader(NAMES, records) == "b"  # 0.625, though its runs average 0.583


def test_only_converged_runs_are_compared_but_one_that_never_diverges_goes_first() -> None:
    lucky = [confirmed("b", 0, 0, 0.7), confirmed("b", 0, 1, 0.0, TrialStatus.DIVERGED)]
    assert repeat_means(lucky) == {0: 0.7}
    assert leader(NAMES, [*lucky, *whole("a", 0.6)]) == "a"


def test_an_optimizer_that_always_diverges_never_leads() -> None:
    burst = [confirmed("b", 0, n, 0.0, TrialStatus.DIVERGED) for n in (0, 1)]
    poor = whole("a", 0.0)  # below chance, but a model
    assert leader(NAMES, [*burst, *poor]) == "a"
    meta = make_meta(NAMES, CLASSES, settings={"confirm": 2})
    assert summarize(meta, [*burst, *poor]).rows[0].optimizer == "a"
    assert leader(NAMES, burst) == "" and leader(NAMES, []) == ""


def test_the_run_to_take_home_is_the_best_of_a_typical_repeat_not_of_the_luckiest() -> None:
    records = [*whole("b", 0.9, 0.7, 0.3), confirmed("b", 1, 2, 0.72)]
    found = winning_run(records)
    assert found is not None and found.trial_id == "b/1/confirm/0001-2"


def curved(repeat: int, count: int, curve: list[float], **changes: object) -> TrialRecord:
    made = confirmed("b", repeat, count, 0.5)
    best = 1 + curve.index(max(curve))
    return replace(made, val_accuracy=curve, epochs=len(curve), best_epoch=best, **changes)


def test_to_take_home_one_trains_as_long_as_the_mean_of_all_confirmation_runs_says() -> None:
    runs = [curved(0, 0, [0.9, 0.2, 0.8]), curved(0, 1, [0.1, 0.2, 0.8]), curved(1, 0, [0.1] * 3)]
    burst = curved(1, 1, [1.0, 0.0, 0.0], status=TrialStatus.DIVERGED)
    found = training_length(runs[0], [*runs, burst, *whole("b", 0.3)[4:]])
    assert runs[0].best_epoch == 1 and found.epochs == 3 and found.runs == 3
    assert found.curve.tolist() == pytest.approx([1.1 / 3, 0.5 / 3, 1.7 / 3])


def test_runs_of_other_lengths_count_as_far_as_they_tell_of_the_one_to_train() -> None:
    short, long = curved(0, 0, [0.4, 0.5]), curved(1, 0, [0.9, 0.2, 1.0])
    assert training_length(short, [short, long])[::2] == (1, 2)
    assert training_length(long, [short, long])[::2] == (3, 1)


def test_without_a_confirmation_run_a_trial_is_trained_to_its_own_best_epoch() -> None:
    trial = curved(0, 0, [0.4, 0.5, 0.5], phase=Phase.SEARCH)  # of equals the first
    assert training_length(trial, [trial, curved(0, 1, [0.9, 0.1, 0.1], phase=Phase.SEARCH)])[
        ::2
    ] == (2, 1)


def test_each_half_is_judged_at_the_epoch_that_the_other_half_chose() -> None:
    # A is best in epoch 2, where B has 5 right; B in epoch 3, where A has 6
    assert cross_fitted([4, 9, 6], [6, 5, 8], rows=20) == (5 + 6) / 20
    assert cross_fitted([9, 9], [1, 7], rows=20) == (1 + 9) / 20  # of equals the first


def test_what_a_search_had_found_by_then_is_the_best_that_its_epochs_paid_for() -> None:
    trials = [
        replace(confirmed("a", 0, 0, value), phase=Phase.SEARCH, trial_id=f"a/0/search/{number}")
        for number, value in enumerate((0.5, 0.8, 0.6))
    ]  # two epochs each
    assert incumbent(trials, 1) is None
    assert incumbent(trials, 3) == trials[0]
    assert incumbent(trials, 4) == incumbent(trials, 6) == trials[1]


def test_a_searchs_winner_has_the_lower_loss_among_equals_then_the_lower_number() -> None:
    trials = [
        replace(
            confirmed("a", 0, 0, 0.5), phase=Phase.SEARCH, trial_id=f"a/0/search/{number}",
            val_loss=[loss, 9.0],
        )
        for number, loss in (("3", 2.0), ("2", 1.0), ("1", 1.0))
    ]  # fmt: skip
    found = search_winner(trials)
    assert found is not None and found.trial_id == "a/0/search/1"
    assert search_winner(replace(t, status=TrialStatus.DIVERGED) for t in trials) is None
    smoothed = [  # the one with the lowest number has the higher loss for its smoother labels
        replace(t, val_loss=[1.0 + part, 9.0], hyperparameters={"label_smoothing": part})
        for t, part in zip(trials, (0.0, 0.1, 0.2), strict=True)
    ]
    assert search_winner(smoothed) == smoothed[-1]


def test_predict_says_when_its_model_is_not_the_winners(tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(STUDIES / "faces", folder)
    assert outdated(folder) == ""
    path = folder / "best" / "predictions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"winner": "adam"}))
    assert "holds adam, but sign leads by the records" in outdated(folder)
    confusion = load_study(folder).confusion  # the report speaks of the winner all the same
    assert confusion is not None and confusion.optimizer == "sign" and not confusion.mistakes


@pytest.mark.parametrize("classes", [1, 3, 7])
def test_chance_has_the_digits_of_a_record(classes: int) -> None:
    assert chance(ACCURACY, [5] * classes) == float(f"{1 / classes:.7g}")
