"""Which repeats of an optimizer collapsed, and how often the rule is wrong."""

import math

import numpy as np
import pytest
from scipy import stats
from simulated import draw, equal, one_erratic

from study.verdicts.collapse import collapsed_repeats, fall

STEADY = np.array([0.90, 0.91, 0.89, 0.90, 0.92])


def test_a_repeat_far_below_the_others_of_its_optimizer_collapsed() -> None:
    table = np.array([STEADY, STEADY - 0.3, STEADY])
    table[2, 3] = 0.45
    assert np.argwhere(collapsed_repeats(table)).tolist() == [[2, 3]]
    assert fall(table[2], collapsed_repeats(table)[2]) == pytest.approx(
        np.delete(STEADY, 3).mean() - 0.45
    )


def test_a_poor_optimizer_and_a_high_repeat_are_no_collapse() -> None:
    assert not collapsed_repeats(np.array([STEADY, STEADY - 0.5])).any()
    assert not collapsed_repeats(np.array([STEADY - [0.4, 0.4, 0.4, 0.4, 0]])).any()


@pytest.mark.parametrize(("fall", "wanted"), [(0.19, False), (0.22, True)])
def test_a_fall_of_less_than_twenty_points_is_none(fall: float, wanted: bool) -> None:
    table = np.array([STEADY, [0.9, 0.9, 0.9, 0.9, 0.9 - fall]])
    assert collapsed_repeats(table).any() == wanted


def test_an_erratic_optimizer_may_fall_further() -> None:
    falling, erratic = [0.9, 0.91, 0.89, 0.9, 0.6], [0.9, 0.7, 0.6, 0.8, 0.4]
    table = np.array([STEADY, STEADY, falling, erratic])
    assert collapsed_repeats(table).sum(axis=1).tolist() == [0, 0, 1, 0]


def test_where_all_are_erratic_one_with_steady_repeats_so_far_may_fall_as_well() -> None:
    others = np.array([[0.5, 0.6, 0.7, 0.8, 0.9]] * 5)
    steady = np.array([[0.9, 0.9, 0.9, 0.9, 0.65]])
    assert collapsed_repeats(steady).any()
    assert not collapsed_repeats(np.concatenate([steady, others]))[0].any()


def test_repeats_without_a_result_are_neither_collapsed_nor_counted() -> None:
    table = np.array([[*STEADY, 0.3, math.nan], [0.9, 0.3] + [math.nan] * 5, [math.nan] * 7])
    assert collapsed_repeats(table).sum(axis=1).tolist() == [1, 0, 0]
    assert not collapsed_repeats(np.full((2, 3), math.nan)).any()
    assert fall(table[2], np.zeros(7, bool)) == 0.0


@pytest.mark.parametrize("truth", [equal(), equal(2), equal(spread=0.04), one_erratic()])
def test_without_collapses_hardly_any_study_has_one_and_with_them_hardly_any_is_missed(
    truth: object,
) -> None:
    """`tests/benchmarks/collapses.py` has thousands, and the rates."""
    rng, studies = np.random.default_rng(2), 100
    false = found = there = 0
    for _ in range(studies):
        table = draw(truth, rng).table[:, :12]  # type: ignore[arg-type]
        false += bool(collapsed_repeats(table).any())
        fallen = rng.random(table.shape) < 0.02
        found += int((collapsed_repeats(table - 0.4 * fallen) & fallen).sum())
        there += int(fallen.sum())
    assert false <= stats.binom(studies, 0.01).ppf(0.995)
    assert found > 0.9 * there
