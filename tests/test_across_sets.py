"""Which optimizer in general: bounds over data sets, by hand and with known truths."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from simulated_sets import SORTS, draw_sets, mistakes_here, mistakes_in_general

from study.compare.set_bounds import (
    SetResults,
    alpha_of,
    in_general,
    on_these_sets,
    set_means,
    sets_needed,
    span_of,
)
from study.verdicts.bounds import bounds_of
from study.verdicts.judge import behind_the_best

COLLECTIONS = 120


def results(*tables, step=1e-6):
    return [SetResults(np.array(table, float), step) for table in tables]


def drawn(sets, levels, seed=1, repeats=5):
    rng = np.random.default_rng(seed)
    effects = rng.normal(0, 0.01, (sets, levels, 1))
    return results(*(0.9 + effects + rng.normal(0, 0.01, (sets, levels, repeats))))


def test_in_general_the_data_set_is_what_is_counted():
    sets = drawn(6, 2)
    values = np.array([one.table.mean(axis=1) for one in sets])  # (M, 2)
    at_most, _ = behind_the_best(in_general(sets))
    gap = stats.ttest_rel(values[:, 0], values[:, 1], alternative="less")
    wanted = gap.confidence_interval(1 - alpha_of(6)).high
    assert at_most[1] == pytest.approx(max(wanted, 0))


def test_more_repeats_of_the_same_sets_do_not_make_it_certain_in_general():
    few, many = drawn(5, 2), results(*(np.tile(one.table, 20) for one in drawn(5, 2)))
    here = [on_these_sets(sets, 0.025).error[0, 1] for sets in (few, many)]
    general = [in_general(sets).error[0, 1] for sets in (few, many)]
    assert here[1] < here[0] / 4 and general[1] == pytest.approx(general[0])


def test_on_one_set_it_is_what_a_study_says():
    (one,) = drawn(1, 4)
    wanted, found = bounds_of(one.table, 0.025, step=one.step), on_these_sets([one], 0.025)
    for place in ("difference", "error", "freedom"):
        assert getattr(found, place) == pytest.approx(getattr(wanted, place))


def test_a_set_that_is_certain_counts_as_much_as_one_that_is_not():
    sure = 0.8 + np.array([[0.0], [0.04]]) + np.zeros((2, 5))
    rough = 0.8 + np.array([[0.02] * 5, [0.1, -0.1, 0.1, -0.1, 0.0]])
    found = on_these_sets(results(sure, rough), 0.025)
    assert found.difference[0, 1] == pytest.approx((-0.04 + 0.02) / 2)
    alone = bounds_of(rough, 0.025, step=1e-6)
    assert found.error[0, 1] == pytest.approx(alone.error[0, 1] / 2, rel=1e-3)
    assert found.freedom[0, 1] == pytest.approx(4, rel=1e-3)  # that of the rough one


def test_a_race_leaves_fewer_repeats_and_no_harder_ones():
    easy_later = np.array([[0.5, 0.5, 0.9, 0.9], [0.6, 0.6, math.nan, math.nan]])
    assert set_means(easy_later) == pytest.approx([0.7, 0.8])


def test_too_few_repeats_on_one_set_claim_nothing_of_the_sets():
    sets = [*drawn(4, 3), *drawn(1, 3, repeats=3)]
    assert np.isnan(behind_the_best(on_these_sets(sets, 0.025))[0]).all()
    assert math.isnan(span_of(sets, 0.025).high) and span_of(sets, 0.025).moves > 0


def test_the_forecast_is_where_the_bound_comes_to_the_margin():
    sets = drawn(5, 3, seed=4)
    general = in_general(sets)
    leader = int(np.mean([one.table.mean(axis=1) for one in sets], axis=0).argmax())
    everybody = np.ones(3, bool)
    numbers = [sets_needed(general, leader, everybody, margin) for margin in (0.005, 0.01, 0.02)]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] > 5
    few, many = numbers[0] - 1, numbers[0]
    ahead = np.delete(general.difference[:, leader], leader)
    spread = np.delete(general.error[:, leader], leader) * math.sqrt(5)
    bounds = [
        max(ahead + stats.t.ppf(1 - alpha_of(n) / 2, n - 1) * spread / math.sqrt(n))
        for n in (few, many)
    ]
    assert bounds[0] > 0.005 >= bounds[1]


def test_two_sets_allow_no_forecast():
    assert sets_needed(in_general(drawn(2, 3)), 0, np.ones(3, bool), 0.02) is None


def test_two_levels_have_the_interval_of_a_paired_difference():
    (one,) = drawn(1, 2)
    span = span_of([one], 0.03)
    test = stats.ttest_rel(one.table[span.best], one.table[span.worst])
    low, high = test.confidence_interval(0.97)
    assert (span.low, span.high) == pytest.approx((max(low, 0), high))


def test_the_span_of_many_levels_allows_for_picking_the_extremes():
    (one,) = drawn(1, 6)
    span = span_of([one], 0.03)
    bounds = bounds_of(one.table, 0.03, step=1e-6)
    assert span.moves == pytest.approx(bounds.difference.max())
    alone = span_of([one._replace(table=one.table[[span.worst, span.best]])], 0.03)
    usual = stats.t.ppf(1 - 0.015, bounds.freedom[0, 1]) * bounds.error[span.best, span.worst]
    assert span.low < max(span.moves - usual, 1e-9) or span.low == 0
    assert span.high >= span.moves + usual - 1e-12
    assert alone.moves == span.moves


@pytest.mark.parametrize(
    "name", ["3 equal", "3 equal, easy and hard sets", "3, one ahead by 2.01 points"]
)
def test_false_claims_stay_rare(name):
    """However often the report is read while sets are added; the rates are in docs/method.md."""
    rng = np.random.default_rng(1)
    sort = SORTS[name]()
    general: Counter[str] = Counter()
    here: Counter[str] = Counter()
    for _ in range(COLLECTIONS):
        sets, truth = draw_sets(sort, rng, 10)
        general += mistakes_in_general(sets, sort, (5, 7, 10), 0.02)
        here += mistakes_here(sets[:5], truth, 0.02)
    most = COLLECTIONS * 0.05
    assert max(general["best excluded"], general["good enough"], general["bound"]) <= most
    assert max(here.values(), default=0) <= most
    assert general["known"] > 0  # it is not silent either


def test_who_left_a_race_early_is_judged_on_the_repeats_that_it_had():
    (one,) = drawn(1, 3, repeats=12)
    table = one.table.copy()
    table[2] -= 0.1
    table[2, 5:] = math.nan
    span = span_of([one._replace(table=table)], 0.03)
    assert span.worst == 2 and span.repeats == 5 and span.low > 0.05
    table[2, 3:] = math.nan  # too few: bounds of the others would not hold for it
    span = span_of([one._replace(table=table)], 0.03)
    assert {span.worst, span.best} == {0, 1} and span.low <= span.moves <= span.high < 0.1
