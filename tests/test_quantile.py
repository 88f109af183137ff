"""The joint quantile for all rivals of an optimizer, against tables and SciPy."""

import numpy as np
import pytest
from scipy import stats

from study.verdicts.quantile import joint_quantile, union_quantile

# One-sided upper points for 1 to 9 rivals (Dunnett 1955, tables 1a and 1b).
TABLE = {
    (0.05, 5): (2.02, 2.44, 2.68, 2.85, 2.98, 3.08, 3.16, 3.24, 3.30),
    (0.05, 10): (1.81, 2.15, 2.34, 2.47, 2.56, 2.64, 2.70, 2.76, 2.81),
    (0.05, 20): (1.72, 2.03, 2.19, 2.30, 2.39, 2.46, 2.51, 2.56, 2.60),
    (0.05, 10_000_000): (1.64, 1.92, 2.06, 2.16, 2.23, 2.29, 2.34, 2.38, 2.42),
    (0.01, 5): (3.37, 3.90, 4.21, 4.43, 4.60, 4.73, 4.85, 4.94, 5.03),
    (0.01, 10): (2.76, 3.11, 3.31, 3.45, 3.56, 3.64, 3.71, 3.78, 3.83),
}


def joint(alpha: float, rivals: int, freedom: float) -> float:
    return float(joint_quantile(np.array([alpha]), rivals, np.array([freedom]))[0])


@pytest.mark.parametrize(("alpha", "freedom"), TABLE)
def test_quantiles_are_those_of_dunnetts_table(alpha: float, freedom: int) -> None:
    found = [joint(alpha, rivals, float(freedom)) for rivals in range(1, 10)]
    assert found == pytest.approx(TABLE[alpha, freedom], abs=0.01)


@pytest.mark.parametrize(
    ("rivals", "freedom", "alpha"), [(2, 1.0, 0.01), (3, 4.0, 0.01), (11, 8.0, 0.01)]
)
def test_the_chance_of_exceeding_it_is_alpha_by_scipys_multivariate_t(
    rivals: int, freedom: float, alpha: float
) -> None:
    correlations = np.full((rivals, rivals), 0.5) + 0.5 * np.eye(rivals)
    point = np.full(rivals, joint(alpha, rivals, freedom))
    inside = stats.multivariate_t(shape=correlations, df=freedom).cdf(point, random_state=1)
    assert 1 - inside == pytest.approx(alpha, rel=0.02)


def test_it_is_the_quantile_behind_scipys_dunnett() -> None:
    """Samples of one size; the p-value at the joint quantile is alpha."""
    rng = np.random.default_rng(1)
    samples = [rng.normal(mean, 1, 8) for mean in (0, 0, 0, 1)]
    found = stats.dunnett(*samples[1:], control=samples[0], alternative="greater", rng=rng)
    freedom = 4 * 8 - 4.0
    largest = int(np.argmax(found.statistic))
    alpha = float(found.pvalue[largest])
    assert joint(alpha, 3, freedom) == pytest.approx(found.statistic[largest], abs=0.01)


def test_one_rival_takes_students_quantile_and_more_take_less_than_the_union_bound() -> None:
    alpha, freedom = np.full((2, 3), 0.01), np.array([[4.0, 7.0, 200.0]] * 2)
    assert joint_quantile(alpha, 1, freedom) == pytest.approx(stats.t.ppf(0.99, freedom))
    assert union_quantile(alpha, 11, freedom) == pytest.approx(stats.t.ppf(1 - 0.01 / 11, freedom))
    assert (joint_quantile(alpha, 11, freedom) < union_quantile(alpha, 11, freedom)).all()
    assert (joint_quantile(alpha, 11, freedom) > joint_quantile(alpha, 10, freedom)).all()


def test_what_was_not_compared_stays_without_a_quantile() -> None:
    gaps = np.array([[np.nan, 5.0], [5.0, np.nan]])
    assert np.isnan(joint_quantile(np.full((2, 2), 0.05), 3, gaps)).tolist() == [
        [True, False],
        [False, True],
    ]
    assert np.isnan(joint_quantile(gaps * np.nan, 3, np.full((2, 2), 5.0))).all()
