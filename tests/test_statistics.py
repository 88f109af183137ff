"""Intervals of single numbers against textbooks, and the spread behind the verdicts."""

import math

import numpy as np
import pytest
from scipy import stats

from study.report.analysis.ranking import mean_interval, wilson_interval
from study.verdicts.bounds import pooled_deviation


def test_the_interval_of_a_mean_is_students():
    reach = 4.302652729911275 * 0.1 / math.sqrt(3)  # t(2, 0.975)
    assert mean_interval([0.1, 0.2, 0.3]) == pytest.approx((0.2 - reach, 0.2 + reach))
    assert all(map(math.isnan, mean_interval([0.1])))


@pytest.mark.parametrize(("count", "of"), [(0, 5), (3, 5), (5, 5), (13, 27)])
def test_the_interval_of_a_share_is_wilsons(count, of):
    wanted = stats.binomtest(count, of).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count / of, of) == pytest.approx((wanted.low, wanted.high))


def test_shares_of_repeats_are_covered():
    """The unit is a repeat of five correlated runs; the truth is one half."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        chances = rng.beta(2, 2, 8)
        low, high = wilson_interval(float((rng.binomial(5, chances) / 5).mean()), 8)
        covered += low <= 0.5 <= high
    assert covered >= 380


def test_the_repeats_own_effect_is_taken_out_also_where_results_are_missing():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, (6, 5))
    table = 0.9 + noise + np.linspace(-0.1, 0.1, 6)[:, None]
    hard = table + np.array([0.0, -0.3, 0.2, 0.1, -0.1])
    assert pooled_deviation(table) == pytest.approx(pooled_deviation(hard))
    hard[2, 3] = math.nan
    assert pooled_deviation(hard) == pytest.approx(0.01, rel=0.3)
    assert math.isnan(pooled_deviation(np.array([[0.9], [0.8]])))
    assert math.isnan(pooled_deviation(np.array([[0.9, math.nan], [math.nan, 0.8]])))


def fitted_at_once(table: np.ndarray) -> float:
    """The definition: optimizers and repeats are fitted together, one column each."""
    optimizers, repeats = np.nonzero(np.isfinite(table))
    design = np.hstack([np.eye(len(table))[optimizers], np.eye(table.shape[1])[repeats]])
    results = table[optimizers, repeats]
    fit, _, rank, _ = np.linalg.lstsq(design, results, rcond=None)
    freedom = len(results) - int(rank)
    return math.sqrt(((results - design @ fit) ** 2).sum() / freedom) if freedom else math.nan


def test_taking_the_repeats_out_first_is_fitting_both_at_once():
    """Also where tables fall apart into optimizers that share no repeat."""
    rng = np.random.default_rng(1)
    for missing in (0.0, 0.2, 0.5, 0.7) * 20:
        table = 0.9 + rng.normal(0, 0.01, rng.integers(1, 9, 2))
        table[rng.random(table.shape) < missing] = math.nan
        wanted = fitted_at_once(table)
        assert pooled_deviation(table) == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True)
