"""Importance and slices, on searches made by hand."""

import dataclasses

import numpy as np
from synthetic import make_meta, make_record

from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.importance import importance, ranges, score_trials, slices

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


def test_slices_take_their_axis_from_the_search_space_not_from_the_samples():
    values = [{"momentum": 0.5 + i / 60, "dropout": 0.002 * 1.3**i} for i in range(24)]
    records = trials("sgd", values, np.linspace(0.1, 0.9, 24))
    scored = score_trials(make_meta(["sgd"], CLASSES), records)
    rate = {"min": 5e-3, "max": 0.5, "scale": "log"}
    space = {"head": {"dropout": {"min": 0.0, "max": 0.7}, "activation": "relu"}}
    space["optimizers"] = {"sgd": {"class": "SGD", "one_minus_momentum": rate}}
    dropout, momentum = slices(scored, space, without=("learning_rate",))
    assert (dropout.hyperparameter, dropout.across) == ("dropout", (0.0, 0.7, False))
    assert (momentum.hyperparameter, momentum.across) == ("1 - momentum", (5e-3, 0.5, True))
    (line,) = momentum.lines
    assert np.all(np.diff(line.values) > 0) and np.all(np.diff(line.beaten) < 0)
    assert slices(scored, space, without=("one_minus_momentum", "dropout")) == []


def test_the_axis_of_optimizers_together_covers_the_range_of_each():
    space = {
        "schedules": {"cosine": {"warmup": {"choices": [0.0, 0.05]}}, "linear": {"warmup": 0.1}},
        "optimizers": {
            "adam": {"learning_rate": {"min": 1e-5, "max": 0.1, "scale": "log"}},
            "sgd": {"learning_rate": {"choices": [0.1, 10.0]}, "nesterov": {"choices": [True]}},
        },
    }
    found = ranges(space, ["adam", "sgd"])
    assert found == {"warmup": (0.0, 0.1, False), "learning_rate": (1e-5, 10.0, True)}
    assert ranges(space, ["sgd"])["learning_rate"] == (0.1, 10.0, True)
