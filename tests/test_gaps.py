"""How far each level of a choice is behind the best level: by hand, and with a known truth."""

import math

import numpy as np
import pytest
from scipy import stats

from study.compare.gaps import gaps
from study.compare.set_bounds import SetResults, alpha_of

ALPHA = 0.025


def results(*tables):
    return [SetResults(np.array(table, float), 1e-6) for table in tables]


def test_the_best_comes_first_and_a_clear_loser_is_certainly_behind():
    base = np.array([0.80, 0.81, 0.79, 0.80, 0.80])
    one = base + np.array([[0.0], [-0.10], [0.02]]) + np.array([[0, 1e-3, 0, -1e-3, 0]] * 3)
    found = gaps(["a", "b", "c"], results(one), ALPHA)
    assert [gap.level for gap in found] == ["c", "a", "b"]
    assert [gap.behind for gap in found] == pytest.approx([0.0, 0.02, 0.12])
    assert found[2].at_least > 0.1 and found[0].at_least == 0
    assert math.isnan(found[0].general_at_most)  # one data set says nothing of others


def test_of_two_levels_in_general_it_is_students_interval():
    rng = np.random.default_rng(4)
    tables = 0.8 + rng.normal(0, 0.01, (6, 2, 5)) + np.array([[0.0], [-0.05]])
    found = gaps(["a", "b"], results(*tables), ALPHA)
    means = tables.mean(axis=2)
    test = stats.ttest_rel(means[:, 0], means[:, 1])
    high = test.confidence_interval(1 - alpha_of(6)).high  # half of the rate on each side
    low = test.confidence_interval(1 - alpha_of(6) / 2).low  # of two ordered pairs
    assert found[1].general_at_most == pytest.approx(high, rel=1e-6)
    assert found[1].general_at_least == pytest.approx(max(low, 0), rel=1e-6)


def test_a_level_without_a_result_on_some_set_is_left_out():
    whole = np.full((2, 5), 0.8) + np.arange(5) * 1e-3
    missing = whole.copy()
    missing[1] = math.nan
    assert [gap.level for gap in gaps(["a", "b"], results(whole, missing), ALPHA)] == ["a"]


def test_draws_that_all_sets_share_do_not_average_out_over_them():
    """Level b is lucky in the draws of all sets alike; more sets do not make that a merit."""
    rng = np.random.default_rng(6)
    wrong = np.zeros(2, int)
    for _ in range(300):
        luck = rng.normal(0, 0.02, (1, 2, 5))  # of the draws, the same on each set
        tables = results(*(0.8 + luck + rng.normal(0, 0.003, (8, 2, 5))))
        for place, same in enumerate((False, True)):
            found = gaps(["a", "b"], tables, 0.05, same_draws=same)
            wrong[place] += any(gap.at_least > 0 for gap in found)
    assert wrong[0] > 300 * 0.2 and wrong[1] <= 300 * 0.05 + 2 * math.sqrt(300 * 0.05 * 0.95)


def test_false_bounds_stay_rare():
    """Four levels, one 2 points ahead, on six sets that differ: bounds of both kinds hold."""
    rng = np.random.default_rng(5)
    behind = np.array([0.0, 0.02, 0.02, 0.02])
    names, wrong = list("abcd"), np.zeros(4, int)
    for _ in range(200):
        own = -behind[:, None] + rng.normal(0, 0.01, (6, 4, 1))
        tables = 0.8 + own + rng.normal(0, 0.012, (6, 4, 5)) + rng.normal(0, 0.01, (6, 1, 5))
        here = (-own[:, :, 0]).mean(axis=0)
        here -= here.min()
        for gap in gaps(names, results(*tables), 0.05):
            place = names.index(gap.level)
            wrong += [
                gap.at_least > here[place] + 1e-12,
                gap.at_most < here[place],
                gap.general_at_least > behind[place] + 1e-12,
                gap.general_at_most < behind[place],
            ]
    assert (wrong <= 200 * 0.05 + 2 * math.sqrt(200 * 0.05 * 0.95)).all(), wrong
