"""The statistics: against textbooks, and how often they claim what is not there."""

import math

import numpy as np
import pytest
from scipy import stats

from study.report.analysis.statistics import (
    Spread,
    mean_interval,
    pair_error,
    pooled_spread,
    repeats_needed,
    tie_groups,
    tukey_p_value,
    tukey_reach,
)


def test_the_interval_of_a_mean_is_students():
    reach = 4.302652729911275 * 0.1 / math.sqrt(3)  # t(2, 0.975)
    assert mean_interval([0.1, 0.2, 0.3]) == pytest.approx((0.2 - reach, 0.2 + reach))
    assert all(map(math.isnan, mean_interval([0.1])))


@pytest.mark.parametrize(("count", "freedom"), [(2, 4), (4, 12), (12, 44), (12, 5.5), (30, 200)])
def test_the_studentized_range_is_scipys(count, freedom):
    wanted = stats.studentized_range(count, freedom)
    assert tukey_reach(count, freedom) == pytest.approx(wanted.ppf(0.95) / math.sqrt(2), rel=1e-4)
    for statistic in (0.5, 2.0, 4.0):
        p_value = wanted.sf(statistic * math.sqrt(2))
        assert tukey_p_value(-statistic, count, freedom) == pytest.approx(p_value, abs=1e-5)


def test_two_optimizers_give_the_paired_t_test():
    first, second = [0.1, 0.5, 0.3, 0.2], [0.0, 0.3, 0.3, 0.0]
    differences = np.subtract(first, second)
    spread = pooled_spread([first, second])
    statistic = differences.mean() / pair_error(list(differences), spread)
    assert spread.freedom == 3
    assert tukey_p_value(statistic, 2, spread.freedom) == pytest.approx(
        stats.ttest_rel(first, second).pvalue, abs=1e-5
    )


def test_the_repeats_own_effect_is_taken_out_also_where_results_are_missing():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, (6, 5))
    table = 0.9 + noise + np.linspace(-0.1, 0.1, 6)[:, None]
    hard = table + np.array([0.0, -0.3, 0.2, 0.1, -0.1])
    assert pooled_spread(table) == pytest.approx(pooled_spread(hard))
    hard[2, 3] = math.nan
    assert pooled_spread(hard).deviation == pytest.approx(0.01, rel=0.3)
    assert pooled_spread([[0.9], [0.8]]).freedom == 0
    assert math.isnan(pooled_spread([[0.9, math.nan], [math.nan, 0.8]]).deviation)


def test_equal_results_are_not_infinitely_sure():
    steady = [[0.9, 0.9, 0.9], [0.899, 0.899, 0.899]]
    spread = pooled_spread(steady, least=0.002)
    assert spread.deviation == 0.002
    assert tukey_p_value(0.001 / pair_error([0.001] * 3, spread), 2, spread.freedom) > 0.05


def test_an_erratic_pair_has_its_own_error():
    spread = Spread(0.01, 20.0)
    calm = pair_error([0.0, 0.001, -0.001], spread)
    assert calm == pytest.approx(0.01 * math.sqrt(2 / 3))
    assert pair_error([0.0, 0.3, -0.3], spread) == pytest.approx(0.3 / math.sqrt(3))
    assert pair_error([0.0, 0.001, -0.001], spread, ratio=1.0) == pytest.approx(2 * calm)
    assert math.isnan(pair_error([0.1], spread))


def claimed(table):
    """Whether any two of the optimizers in `table` (K, R) are called different."""
    spread = pooled_spread(table)
    statistics = [
        abs((first - second).mean()) / pair_error(first - second, spread)
        for i, first in enumerate(table)
        for second in table[i + 1 :]
    ]
    return tukey_p_value(max(statistics), len(table), spread.freedom) < 0.05


@pytest.mark.parametrize("count", [4, 12])
@pytest.mark.parametrize("kind", ["alike", "one erratic", "half calm", "rounded"])
def test_equal_optimizers_are_told_apart_in_at_most_five_percent_of_studies(count, kind):
    deviations = np.ones(count)
    if kind == "one erratic":
        deviations[0] = 5
    if kind == "half calm":
        deviations[: count // 2] = 0.2
    rng = np.random.default_rng(7)
    studies = 200
    wrong = 0
    for _ in range(studies):
        noise = rng.normal(size=(count, 5)) * deviations[:, None]
        table = 0.9 + 0.015 * noise + rng.normal(0, 0.02, 5)
        wrong += claimed(np.round(table * 160) / 160 if kind == "rounded" else table)
    assert wrong <= stats.binom(studies, 0.05).ppf(0.99)


def test_a_crippled_optimizer_is_found_among_twelve():
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(40):
        table = 0.9 + rng.normal(0, 0.015, (12, 5))
        table[0] -= 0.05
        spread = pooled_spread(table)
        error = pair_error(list(table[1] - table[0]), spread)
        found += tukey_p_value((table[1] - table[0]).mean() / error, 12, spread.freedom) < 0.05
    assert found >= 30


def test_tie_groups_join_exactly_the_pairs_that_are_not_separated():
    rng = np.random.default_rng(4)
    names = list("abcdefg")
    pairs = [frozenset((a, b)) for i, a in enumerate(names) for b in names[i + 1 :]]
    for _ in range(30):
        separated = {pair for pair in pairs if rng.random() < 0.4}
        groups = tie_groups(names, separated)
        joined = {p for p in pairs if any(p <= set(group) for group in groups)}
        assert joined == set(pairs) - separated
        assert {name for group in groups for name in group} == set(names)


def test_more_repeats_are_asked_for_only_where_they_help():
    few, many = repeats_needed(0.05, 0.015, 4), repeats_needed(0.02, 0.015, 4)
    assert few is not None and many is not None and 2 <= few < many
    assert repeats_needed(0.0001, 0.015, 4) is None
    assert repeats_needed(math.nan, 0.015, 4) is None
