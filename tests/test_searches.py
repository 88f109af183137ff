"""What the choices inside a search are worth: budget, schedule, width, read from its own runs."""

import dataclasses

import numpy as np
import pytest
from synthetic import make_meta, make_records
from test_several_studies import SETTINGS, SPLITS, data_of
from test_summary import CLASSES

from study.compare.data_sets import data_sets
from study.compare.searches import BUDGET, EPOCH, SCHEDULE, WIDTH, choices_inside
from study.records.trial_record import Phase, TrialStatus
from study.report.analysis.summary import summarize
from study.verdicts.looks import planned_looks

NAMES = ["adam", "sgd"]


def block(change=lambda record: record, *, tuner="random"):
    records = map(change, make_records(NAMES, repeats=5, confirm=1, trials=24))
    meta = make_meta(
        NAMES, CLASSES, settings=SETTINGS | {"tuner": tuner}, data=data_of("faces"),
        split_digests=SPLITS, looks=list(planned_looks(5, 27)),
    )  # fmt: skip
    (found,) = data_sets([summarize(meta, list(records))])
    return found.blocks[0]


def with_schedule(record):
    """Every second trial has a cosine schedule, and ends 5 points better."""
    if record.phase is not Phase.SEARCH:
        return record
    cosine = int(record.number) % 2 == 1
    values = {**record.hyperparameters, "schedule": "cosine" if cosine else "constant"}
    curve = [0.80 + 0.05 * cosine] * len(record.val_accuracy)
    return dataclasses.replace(
        record, hyperparameters=values, val_accuracy=curve, best_epoch=1, epochs=27, continues=None
    )


def test_levels_are_judged_by_good_trials_of_each_repeat():
    found = {one.choice: one for one in choices_inside(block(with_schedule))}
    schedule = found[SCHEDULE]
    assert schedule.levels == ("constant", "cosine")
    assert schedule.table.shape == (2, 5)
    assert schedule.same_draws
    assert schedule.table[1] - schedule.table[0] == pytest.approx(np.full(5, 0.05))


def test_a_trial_that_diverged_says_nothing_of_its_schedule():
    """It tells of its learning rate."""

    def diverging(record):
        record = with_schedule(record)
        if record.phase is Phase.SEARCH and int(record.number) % 2 and int(record.number) < 20:
            return dataclasses.replace(record, status=TrialStatus.DIVERGED)
        return record

    schedule = {one.choice: one for one in choices_inside(block(diverging))}[SCHEDULE]
    assert schedule.table[1] - schedule.table[0] == pytest.approx(np.full(5, 0.05))


def test_a_smaller_budget_is_judged_by_what_it_had_found_trained_again():
    found = {one.choice: one for one in choices_inside(block())}
    budget = found[BUDGET]
    assert budget.levels == ("an eighth", "a quarter", "half", "whole")
    assert np.isfinite(budget.table[-1]).any()
    assert budget.same_draws


def test_hyperband_stops_what_does_badly_so_its_full_trials_say_nothing_of_a_schedule():
    found = {one.choice for one in choices_inside(block(with_schedule, tuner="hyperband"))}
    assert not {SCHEDULE, WIDTH} & found


def test_the_last_epoch_is_compared_with_one_that_was_chosen_on_other_images():
    def ending(record):
        if record.phase is not Phase.CONFIRM:
            return record
        curve = [*record.val_accuracy[:-1], 0.91]
        return dataclasses.replace(record, val_accuracy=curve, cross_fitted_accuracy=0.90)

    found = {one.choice: one for one in choices_inside(block(ending))}
    assert found[EPOCH].levels == ("best on validation", "last")
    assert found[EPOCH].table == pytest.approx(np.array([[0.90] * 5, [0.91] * 5]))
    assert not found[EPOCH].same_draws  # what winners reach owes little to the draws of a search


def test_a_choice_that_was_not_searched_has_no_levels():
    def plain(record):
        values = {**record.hyperparameters, "schedule": "constant", "dense_width": 170}
        return dataclasses.replace(record, hyperparameters=values)

    assert not {SCHEDULE, WIDTH} & {one.choice for one in choices_inside(block(plain))}
