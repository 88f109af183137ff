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

from study.predict import outdated
from study.records.outcomes import chance, search_winner, winner, winning_run
from study.records.trial_record import Phase, TrialRecord, TrialStatus, trial_id
from study.report.analysis.summary import load_study, summarize

NAMES = ["b", "a", "c"]  # the order of the search space decides ties
CLASSES = [f"s{number}" for number in range(4)]
GUESS = chance(len(CLASSES))
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


@given(RESULTS, st.randoms())
def test_ranking_and_winner_agree_in_every_order_of_the_records(results, random) -> None:
    records = [confirmed(*one) for one in results]
    meta = make_meta(NAMES, CLASSES)
    best = winner(NAMES, records, GUESS)
    random.shuffle(records)
    assert winner(NAMES, records, GUESS) == best
    summary = summarize(meta, records)
    ranked = [row.optimizer for row in summary.rows if row.converged]
    assert (ranked[0] if ranked else None) == best
    for found in summary.settings:  # the run whose hyperparameters are printed is in best/
        own = [record for record in records if record.optimizer == found.optimizer]
        run = winning_run(own, GUESS)
        assert run is None or run.trial_id == found.run.trial_id


def test_of_equals_the_first_in_the_search_space_wins() -> None:
    records = [confirmed(name, 0, 0, 0.5) for name in sorted(NAMES)]
    assert winner(NAMES, records, GUESS) == "b"
    assert winner(sorted(NAMES), records, GUESS) == "a"


def test_a_mean_over_repeats_decides_not_one_over_runs() -> None:
    """Two runs in a bad repeat weigh as much as one in a good one."""
    records = [confirmed("b", 0, 0, 0.5), confirmed("b", 0, 1, 0.5), confirmed("b", 1, 0, 0.75)]
    records += [confirmed("a", 0, 0, 0.6), confirmed("a", 1, 0, 0.6)]
    assert winner(NAMES, records, GUESS) == "b"  # 0.625, though its runs average 0.583


def test_diverged_runs_count_as_guessing_and_failed_ones_not_at_all() -> None:
    lucky = [confirmed("b", 0, 0, 0.7), confirmed("b", 0, 1, 0.0, TrialStatus.DIVERGED)]
    steady = [confirmed("a", 0, 0, 0.6), confirmed("a", 0, 1, 0.0, TrialStatus.FAILED)]
    assert winner(NAMES, [*lucky, *steady], GUESS) == "a"


def test_an_optimizer_that_always_diverges_never_wins() -> None:
    burst = confirmed("b", 0, 0, 0.0, TrialStatus.DIVERGED)
    poor = confirmed("a", 0, 0, 0.0)  # below chance, but a model
    assert winner(NAMES, [burst, poor], GUESS) == "a"
    assert summarize(make_meta(NAMES, CLASSES), [burst, poor]).rows[0].optimizer == "a"
    assert winner(NAMES, [burst], GUESS) is None
    assert winner(NAMES, [], GUESS) is None


def test_the_run_to_take_home_is_the_best_of_the_best_repeat() -> None:
    lucky = [confirmed("b", 0, 0, 0.9), confirmed("b", 0, 1, 0.3)]
    steady = [confirmed("b", 1, 0, 0.7), confirmed("b", 1, 1, 0.8)]
    found = winning_run([*lucky, *steady], GUESS)
    assert found is not None and found.trial_id == "b/1/confirm/0001-1"


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


def test_predict_says_when_its_model_is_not_the_winners(tmp_path: Path) -> None:
    folder = tmp_path / "finished"
    shutil.copytree(STUDIES / "format_0" / "finished", folder)
    assert outdated(folder) == ""
    path = folder / "best" / "predictions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"winner": "lion"}))
    assert "holds lion, but adam wins by the records" in outdated(folder)
    confusion = load_study(folder).confusion  # the report speaks of the winner all the same
    assert confusion is not None and confusion.optimizer == "adam" and not confusion.mistakes


@pytest.mark.parametrize("classes", [1, 3, 7])
def test_chance_has_the_digits_of_a_record(classes: int) -> None:
    assert chance(classes) == float(f"{1 / classes:.7g}")
