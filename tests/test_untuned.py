"""Keras's default settings over data sets: which are safe, and what tuning gains."""

import numpy as np
import pytest
from scipy import stats
from test_several_studies import LEVELS, study

from study.compare.set_bounds import alpha_of
from study.compare.several import several_studies
from study.records.trial_record import Phase


def of_sets(*untuned):
    """Studies of as many data sets; on each tuning gains so much."""
    studies = [study(f"s{n}", data=f"d{n}", untuned=one) for n, one in enumerate(untuned)]
    return several_studies(studies).across.untuned


def test_gains_are_means_over_sets_and_the_best_defaults_come_first():
    found = of_sets(0.10, 0.20, 0.30)
    assert [one.optimizer for one in found.gains] == ["adam", "sgd"]
    assert [one.gain for one in found.gains] == pytest.approx([0.2, 0.2])
    assert found.gains[0].by_set == pytest.approx((0.10, 0.20, 0.30))
    assert found.gains[0].untuned - found.gains[1].untuned == pytest.approx(LEVELS["adam"])
    assert all(one.low < one.gain < one.high for one in found.gains)
    assert all(np.isnan(one.general_low) for one in found.gains)


def test_in_general_a_gain_has_students_interval_over_the_sets():
    gains = (0.10, 0.12, 0.08, 0.11, 0.09, 0.13)
    one = of_sets(*gains).gains[0]
    test = stats.ttest_1samp(gains, 0).confidence_interval(1 - alpha_of(6) / 2)  # two optimizers
    assert (one.general_low, one.general_high) == pytest.approx((test.low, test.high), rel=1e-6)


def test_defaults_stand_beside_the_tuned_leader():
    found = of_sets(0.10, 0.10)
    assert [gap.level for gap in found.gaps] == ["adam, tuned", "adam", "sgd"]
    assert [gap.behind for gap in found.gaps] == pytest.approx([0, 0.10, 0.12])
    assert found.gaps[1].at_least > 0.05


def test_an_optimizer_without_a_repeat_of_both_is_left_out():
    one = study("s0", data="d0")
    rows = [
        row._replace(
            by_repeat={r: v for r, v in row.by_repeat.items() if r or row.optimizer == "sgd"}
        )
        for row in one.rows
    ]
    records = [r for r in one.records if r.phase is not Phase.DEFAULT or r.repeat == 0]
    lost = one._replace(rows=tuple(rows), records=tuple(records))
    found = several_studies([lost, study("s1", data="d1")]).across.untuned
    assert [gain.optimizer for gain in found.gains] == ["sgd"]


def test_defaults_that_beat_the_winners_come_first():
    assert of_sets(-0.05, -0.05).gaps[0].level == "adam"
