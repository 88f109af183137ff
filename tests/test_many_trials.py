"""Studies of very many runs: the same proposals, the same files, as those of few."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import make_record, make_records

from study.records.trial_record import (
    CURVES,
    Curve,
    Phase,
    TrialStatus,
    from_line,
    rounded,
    to_line,
)
from study.report.tables import listed_runs
from study.search.budget import Budget
from study.search.oracles import MOST_COLLISIONS, Search
from study.space.search_space import SearchSpace, load_space

STUDIES = Path(__file__).parent / "studies"
Proposed = tuple[str, dict[str, Any]]  # number, values

# ---- what is proposed ----


def score(number: str) -> float:
    """Equal ones among them."""
    return int(number) * 7919 % 101 / 101


def keras_tuners(space: SearchSpace, optimizer: str | None, kind: str, **own: Any) -> Any:
    """An oracle of Keras Tuner, kept from writing its state; all else is its own."""
    hp = keras_tuner.HyperParameters()
    space.declare(hp, optimizer)
    kinds = {
        "hyperband": keras_tuner.oracles.HyperbandOracle,
        "random": keras_tuner.oracles.RandomSearchOracle,
        "grid": keras_tuner.oracles.GridSearchOracle,
    }
    objective = keras_tuner.Objective("val_accuracy", "max")
    options = {"hyperparameters": hp, "allow_new_entries": False, "seed": 7}
    oracle = kinds[kind](objective=objective, **options, **own)
    oracle.verbose = 0
    oracle._max_collisions = MOST_COLLISIONS
    oracle.save = lambda: None
    oracle._save_trial = lambda trial: None
    return oracle


def proposed_by(oracle: Any) -> Iterator[Proposed]:
    """In waves: all trials that can start, then their results, the later ones first."""
    while True:
        wave = []
        while (trial := oracle.create_trial(f"slot{len(oracle.trials)}")).status == "RUNNING":
            wave.append(trial)
        if not wave:
            return
        yield from ((trial.trial_id, dict(trial.hyperparameters.values)) for trial in wave)
        for trial in reversed(wave):
            oracle.update_trial(trial.trial_id, {"val_accuracy": score(trial.trial_id)})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)


def proposed_here(search: Search) -> Iterator[Proposed]:
    while wave := search.ask():
        trials = search.oracle.trials
        yield from ((one.number, trials[one.number].hyperparameters.values) for one in wave)
        for one in reversed(wave):
            search.tell(one.number, score(one.number))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras Tuner's old names for threads
@pytest.mark.parametrize(
    ("kind", "optimizer", "own", "count"),
    [
        ("random", "adam", {"max_trials": 1500}, 1500),
        ("random", None, {"max_trials": 150}, 150),
        ("hyperband", "adam", {"max_epochs": 300, "factor": 3}, 725),
        ("hyperband", "sgd", {"max_epochs": 40, "factor": 2}, 186),
        ("hyperband", None, {"max_epochs": 10, "factor": 3}, 30),
        ("grid", "lion", {"max_trials": 500}, 500),
    ],
)
def test_proposals_are_keras_tuners_to_the_last_digit(
    kind: str, optimizer: str | None, own: dict[str, int], count: int
) -> None:
    space = load_space("default")
    budget = Budget(kind, own.get("max_epochs", 50), own.get("factor", 3), own.get("max_trials", 0))
    search = Search(space, optimizer, budget, seed=7)
    found = list(proposed_here(search))
    assert search.kind == kind and len(found) == count
    assert found == list(proposed_by(keras_tuners(space, optimizer, kind, **own)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_small_space_is_drawn_to_its_last_point_as_keras_tuner_would(tmp_path: Path) -> None:
    rates = [round(0.01 * number, 2) for number in range(1, 31)]
    path = tmp_path / "small.toml"
    path.write_text(f'[optimizers.sgd]\nclass = "SGD"\nlearning_rate = {{choices = {rates}}}\n')
    space = load_space(str(path))
    search = Search(space, "sgd", Budget("random", 5, 3, 29), seed=7)
    found = list(proposed_here(search))
    assert search.kind == "random" and len(found) == 29
    assert found == list(proposed_by(keras_tuners(space, "sgd", "random", max_trials=29)))


# ---- what is written ----

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.floats(9.7e-4, 1e-3)


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_a_line_is_read_and_written_again_to_the_last_letter(values: list[float]) -> None:
    made = make_record(np.random.default_rng(1), "adam", Phase.SEARCH, trial_id="x", epochs=1)
    shares = [min(abs(value), 1.0) for value in values]
    changes = dict.fromkeys(CURVES, values) | {"accuracy": shares, "val_accuracy": shares}
    changes |= {"best_epoch": len(values), "status": TrialStatus.DIVERGED, "epochs": len(values)}
    line = to_line(type(made)(**{**fields_of(made), **changes}))
    read = from_line(line.encode(), "here")
    assert to_line(read) == line
    wanted = [rounded(value) if math.isfinite(value) else math.nan for value in values]
    assert read.val_loss == wanted and repr(list(read.val_loss)) == repr(wanted)


def fields_of(record: object) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}  # type: ignore[attr-defined]


def test_the_lines_of_a_real_study_stay_as_they_are() -> None:
    lines = [
        line for path in STUDIES.glob("*/trials.jsonl") for line in path.read_bytes().splitlines()
    ]
    assert len(lines) > 100
    assert all(to_line(from_line(line, "here")).encode() == line for line in lines)


def test_a_curve_is_a_list_of_numbers_to_whoever_reads_it() -> None:
    curve = Curve([0.5, math.nan, 0.25])
    assert curve == [0.5, math.nan, 0.25] and curve == Curve(curve)
    assert curve != [0.5, 0.25, 0.25] and curve != [0.5] and curve != "abc"
    assert curve[0] == 0.5 and curve[-1] == 0.25 and len(curve) == 3 and not Curve()
    assert np.array([curve, curve]).shape == (2, 3)


def test_a_run_without_an_epoch_is_written_and_read_too() -> None:
    failed = make_record(
        np.random.default_rng(1), "adam", Phase.SEARCH, trial_id="x", status=TrialStatus.FAILED
    )
    assert from_line(to_line(failed).encode(), "here") == failed and failed.loss == []


# ---- what is shown ----


def test_a_page_lists_all_runs_or_the_best_of_too_many() -> None:
    records = make_records(["adam", "sgd"], repeats=2, confirm=2, trials=9)
    every = listed_runs(records, 0.025)
    assert sorted(r.trial_id for r in every) == sorted(r.trial_id for r in records)
    few = listed_runs(records, 0.025, most=10)
    assert few == every[:10]
    best = [max(r.val_accuracy, default=0) for r in records if r.status is TrialStatus.COMPLETED]
    least = sorted(best)[-10]
    assert all(max(record.val_accuracy) >= least for record in few)
