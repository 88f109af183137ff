"""Importance, slices, parallel coordinates, on searches made by hand."""

import dataclasses

import numpy as np
from synthetic import make_meta, make_record

from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.importance import importance, parallel, score_trials, slices

CLASSES = [f"s{i}" for i in range(40)]


def trials(name, values, accuracies, *, epochs=3, repeat=0, **more):
    """Search records with the given hyperparameters and validation accuracies."""
    rng = np.random.default_rng(1)
    found = []
    for number, (table, accuracy) in enumerate(zip(values, accuracies, strict=True)):
        record = make_record(
            rng,
            name,
            Phase.SEARCH,
            trial_id=f"{name}/{repeat}/search/{epochs}-{number}",
            repeat=repeat,
            epochs=epochs,
            hyperparameters={"learning_rate": 1e-3, **table},
            **more,
        )
        curve = [0.0] * (epochs - 1) + [accuracy]
        found.append(dataclasses.replace(record, val_accuracy=curve, best_epoch=epochs))
    return found


def test_a_trial_is_scored_against_those_trained_as_long():
    short = trials("adam", [{}, {}, {}], [0.1, 0.2, 0.2], epochs=3)
    long_ = trials("adam", [{}, {}], [0.9, 0.8], epochs=9)
    failed = trials("adam", [{}], [0.5], epochs=4, status=TrialStatus.FAILED)
    scored = score_trials(make_meta(["adam"], CLASSES), [*short, *long_, *failed])["adam"]
    assert [one.beaten for one in scored] == [0.0, 0.75, 0.75, 1.0, 0.0]


def rate_study(count=60):
    """`rate` decides, `other` does nothing."""
    rng = np.random.default_rng(2)
    rates, others = rng.uniform(1e-4, 1e-1, count), rng.uniform(0, 1, count)
    values = [{"rate": float(a), "other": float(b)} for a, b in zip(rates, others, strict=True)]
    return trials("adam", values, np.clip(rates * 9, 0, 1).tolist())


def test_the_hyperparameter_that_decides_is_the_important_one():
    scored = score_trials(make_meta(["adam"], CLASSES), rate_study())
    found = importance(scored)
    assert found is not None and found.optimizers == ("adam",)
    shares = dict(zip(found.hyperparameters, found.share[0], strict=True))
    assert shares["rate"] > 0.9 and shares["other"] < 0.15
    assert (
        found.hyperparameters[0] == "rate" and "learning_rate" not in found.hyperparameters
    )  # one value only
    assert importance({"adam": scored["adam"][:10]}) is None  # too few to say anything


def test_a_hyperparameter_that_an_optimizer_does_not_have_is_left_empty():
    plain = trials("sgd", [{"momentum": 0.5 + i / 50} for i in range(24)], np.linspace(0, 1, 24))
    meta = make_meta(["adam", "sgd"], CLASSES)
    found = importance(score_trials(meta, [*rate_study(), *plain]))
    assert found is not None
    assert np.isnan(found.share[1, found.hyperparameters.index("rate")])
    assert found.share[1, found.hyperparameters.index("momentum")] > 0.8


def test_slices_follow_the_hyperparameter_and_turn_averages_round():
    records = trials(
        "sgd", [{"momentum": 0.5 + i / 60} for i in range(24)], np.linspace(0.1, 0.9, 24)
    )
    scored = score_trials(make_meta(["sgd"], CLASSES), records)
    (found,) = slices(scored, without=("learning_rate",))
    assert found.hyperparameter == "1 - momentum" and found.log
    (line,) = found.lines
    assert np.all(np.diff(line.values) < 0) and np.all(np.diff(line.beaten) > 0)
    assert slices(scored, without=("momentum",)) == []


def test_parallel_lines_run_over_the_shared_hyperparameters_and_end_in_the_accuracy():
    values = [{"width": 64 * (1 + i % 3), "rate": 10.0 ** -(i % 6)} for i in range(40)]
    meta = make_meta(["adam", "sgd"], CLASSES)
    records = [
        *trials("adam", values, np.linspace(0, 1, 40)),
        *trials("sgd", [{**v, "momentum": 0.9} for v in values], np.linspace(1, 0, 40)),
    ]
    axes, lines = parallel(meta, records)
    assert [axis.hyperparameter for axis in axes] == ["width", "rate", "accuracy"]
    assert (axes[0].low, axes[0].high) == ("64", "192")
    assert [line.optimizer for line in lines] == ["adam", "sgd"]
    assert lines[0].places.shape == (40, 3) and lines[0].best.sum() == 4
    assert lines[0].best[-4:].all() and lines[1].best[:4].all()
    assert lines[0].places.min() >= 0 and lines[0].places.max() <= 1
    assert parallel(meta, trials("adam", [{}] * 40, np.linspace(0, 1, 40))) == ((), ())
