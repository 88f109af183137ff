"""A configuration to start from: chosen on all data sets but one, judged on that one."""

import dataclasses

import numpy as np
import pytest
from synthetic import make_meta
from test_several_studies import SETTINGS, SPLITS, data_of
from test_summary import CLASSES, runs

from study.compare.data_sets import data_sets
from study.compare.starts import space_of, starting_points
from study.records.trial_record import Phase
from study.report.analysis.summary import summarize
from study.space.search_space import load_space
from study.verdicts.looks import planned_looks

SEARCHED = SETTINGS | {"tuner": "random", "trials": 4, "max_epochs": 3}
RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def study(data, values, *, tuned=0.90, name="a", **settings):
    """Adam, five repeats of four trials with the same rates everywhere; `values` by rate."""
    records = runs("adam", [[tuned]] * 5)
    for place, value in enumerate(values):
        for record in runs("adam", [[value]] * 5, phase=Phase.SEARCH):
            hyperparameters = {
                **record.hyperparameters,
                "learning_rate": RATES[place] * (1 + record.repeat),  # each repeat its own
            }
            curve = [0.1, 0.99, value]  # the last epoch counts, not the best
            records.append(
                dataclasses.replace(
                    record,
                    trial_id=f"adam/{record.repeat}/search/{place}",
                    search="adam",
                    number=str(place),
                    confirm=None,
                    hyperparameters=hyperparameters,
                    val_accuracy=curve,
                )
            )
    meta = make_meta(
        ["adam"], CLASSES, name=name, settings=SEARCHED | settings, data=data_of(data),
        split_digests=SPLITS, looks=list(planned_looks(5, 27)),
    )  # fmt: skip
    return summarize(meta, records)


def starts(*studies):
    return starting_points(data_sets(studies))


def test_the_configuration_that_loses_least_on_average_is_named():
    values = [(0.70, 0.88, 0.80, 0.10), (0.60, 0.86, 0.89, 0.10), (0.75, 0.89, 0.70, 0.10)]
    found = starts(*(study(str(n), one) for n, one in enumerate(values)))
    assert found.sets == ("0", "1", "2")
    (start,) = found.found
    assert start.tried == 20 and start.agree == 3
    rates = {rate * (1 + repeat) for rate in RATES[1:2] for repeat in range(5)}
    assert start.hyperparameters["learning_rate"] in rates
    # winners end at 0.89, too: the last epoch counts on both sides
    assert start.behind == pytest.approx(np.mean([0.01, 0.03, 0.00]))
    assert np.isnan(start.low)  # three sets allow no bound


def test_no_data_set_judges_a_configuration_that_was_chosen_by_it():
    """On each set another configuration is best by luck, and fails on all others."""
    values = np.full((4, 4), 0.50) + 0.4 * np.eye(4)
    found = starts(*(study(str(n), one) for n, one in enumerate(values.tolist())))
    (start,) = found.found
    assert start.behind == pytest.approx(0.39)  # chosen and judged on the same sets: 0.29
    assert start.agree < 4


def test_the_best_of_all_optimizers_is_chosen_without_the_set_that_judges():
    values = [(0.70, 0.88, 0.80, 0.10), (0.60, 0.86, 0.89, 0.10), (0.75, 0.89, 0.70, 0.10)]
    one, two = ([study(str(n), v) for n, v in enumerate(values)] for _ in range(2))
    assert starts(*one).overall is None  # of one optimizer there is nothing to choose
    both = []
    for first, second in zip(one, two, strict=True):
        sgd = [
            dataclasses.replace(
                record,
                optimizer="sgd",
                search="sgd" if record.search else "",
                trial_id=record.trial_id.replace("adam", "sgd"),
                val_accuracy=[v - 0.1 for v in record.val_accuracy],
            )
            for record in second.records
        ]
        meta = dataclasses.replace(first.meta, optimizers=["adam", "sgd"])
        both.append(summarize(meta, [*first.records, *sgd]))
    overall = starts(*both).overall
    assert overall.optimizers == ("adam",) * 3
    assert overall.behind == pytest.approx(np.mean([0.01, 0.03, 0.00]), abs=1e-6)


def test_from_five_data_sets_on_there_are_bounds():
    rng = np.random.default_rng(2)
    values = [(0.7, 0.88 + e, 0.8, 0.1) for e in rng.normal(0, 0.01, 6)]
    (start,) = starts(*(study(str(n), one) for n, one in enumerate(values))).found
    assert start.low < start.behind < start.high
    assert start.high - start.low < 0.1


def test_studies_that_searched_otherwise_are_no_part_of_it():
    one = (0.7, 0.88, 0.8, 0.1)
    others = [study("3", one, seed=2), study("4", one, max_epochs=4)]
    assert starts(study("0", one), study("1", one), *others).found == ()
    assert starts(study("0", one), study("1", one), study("2", one), *others).sets == (
        *("0", "1", "2"),
    )


def test_the_configuration_is_a_search_space(tmp_path):
    one = (0.7, 0.88, 0.8, 0.1)
    found = starts(*(study(str(n), one) for n in range(3)))
    path = tmp_path / "adam.toml"
    path.write_text(space_of(found.found[0], found.studies[0]))
    config = load_space(str(path)).default("adam")
    assert config.learning_rate == found.found[0].hyperparameters["learning_rate"]
    assert config.dense_width == found.found[0].hyperparameters["dense_width"]
