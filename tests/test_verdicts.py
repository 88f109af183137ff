"""Who is good enough, excluded, undecided; when a study stops; how often that is wrong."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulated import (
    SCENARIOS,
    STEP,
    as_results,
    draw,
    draw_pool,
    equal,
    looks_of,
    mistakes,
    one_ahead,
    race,
    results_on,
    until,
)
from synthetic import make_meta
from test_summary import CLASSES, runs

from study.common.errors import UserError
from study.common.metrics import ACCURACY
from study.records.predicted_classes import Labelled
from study.records.study_meta import Look
from study.records.trial_record import TrialRecord, TrialStatus
from study.verdicts.answer import Answer, Verdict, share_interval
from study.verdicts.bounds import compared
from study.verdicts.judge import answer_of, first_round, judge, next_round
from study.verdicts.looks import ALPHA, continued_looks, planned_looks
from study.verdicts.new_images import ConfirmationRun, Evidence

RNG = np.random.default_rng(1)
NOISE = RNG.normal(0, 0.002, (4, 27))


def table(*behind: float, repeats: int = 5, noise: float = 1.0) -> np.ndarray:
    """Optimizers so far behind 0.9, in easy and hard repeats."""
    hard = np.random.default_rng(2).normal(0, 0.05, repeats)
    return 0.9 - np.array(behind)[:, None] + hard + noise * NOISE[: len(behind), :repeats]


def answer(*behind: float, margin: float = 0.02, **more: float) -> Answer:
    return judge(as_results(table(*behind, **more)), looks_of(), margin=margin)


def verdicts(found: Answer) -> list[Verdict]:
    return [one.verdict for one in found.optimizers]


# ---- looks ----


def test_an_auto_study_looks_at_five_fixed_numbers_and_shares_the_error_rate() -> None:
    looks = planned_looks("auto", 27)
    assert [look.repeats for look in looks] == [5, 8, 12, 18, 27]
    assert sum(look.alpha for look in looks) == pytest.approx(ALPHA)
    assert [look.repeats for look in planned_looks("auto", 10)] == [5, 8, 10]
    assert [look.repeats for look in planned_looks("auto", 100)][-3:] == [60, 90, 100]


def test_a_fixed_study_never_spends_more_however_often_it_is_continued() -> None:
    looks = planned_looks(5, 27)
    for repeats in (6, 9, 20, 21):
        looks = continued_looks(looks, repeats, 27, fixed=True)
    assert [look.repeats for look in looks] == [5, 6, 9, 20, 21]
    assert [look.alpha for look in looks] == [ALPHA / 2**k for k in range(1, 6)]
    auto = continued_looks(looks[:1], "auto", 27, fixed=True)
    assert [look.repeats for look in auto] == [5, 8, 12, 18, 27]
    assert [look.alpha for look in auto] == [ALPHA / 2**k for k in range(1, 6)]


def test_more_reruns_are_another_look_at_the_same_repeats() -> None:
    looks = continued_looks(planned_looks(5, 27), 5, 27, fixed=True, again=True)
    assert looks == (Look(5, ALPHA / 2), Look(5, ALPHA / 4))


def test_a_study_that_could_claim_nothing_has_spent_nothing() -> None:
    assert continued_looks(planned_looks(1, 27), "auto", 27, fixed=True) == planned_looks(
        "auto", 27
    )


@pytest.mark.parametrize(("repeats", "most", "more"), [(10, 27, False), ("auto", 40, False)])
def test_the_looks_of_an_auto_study_cannot_be_changed(
    repeats: int | str, most: int, more: bool
) -> None:
    with pytest.raises(UserError, match="were fixed at 5, 8, 12, 18, 27 repeats when it began"):
        continued_looks(planned_looks("auto", 27), repeats, most, fixed=False, again=more)


def test_a_study_goes_on_to_more_repeats_than_it_has_and_can_be_resumed() -> None:
    fixed = planned_looks(30, 27)
    with pytest.raises(UserError, match="`most_repeats` 27: this study has 30 repeats already"):
        continued_looks(fixed, "auto", 27, fixed=True)
    for most in (30, 45):
        auto = continued_looks(fixed, "auto", most, fixed=True)
        assert continued_looks(auto, "auto", most, fixed=False) == auto


def test_repeats_cannot_be_taken_away() -> None:
    with pytest.raises(UserError, match="cannot be removed"):
        continued_looks(planned_looks(8, 27), 5, 27, fixed=True)


# ---- verdicts ----


def test_two_optimizers_at_one_look_are_judged_by_students_paired_test() -> None:
    two = table(0.0, 0.01)
    (bounds,) = compared(two, np.ones((2, 5), bool), [Look(5, 0.05)], step=0.0)
    wanted = stats.ttest_rel(two[0], two[1]).confidence_interval(0.90)  # one-sided 95 %
    assert (bounds.low()[0, 1], bounds.high()[0, 1]) == pytest.approx(wanted)


def test_the_quantiles_are_those_of_the_published_table() -> None:
    """The union bound, K = 12, five looks, d0 = 4: c = 4.57, 4.08, 3.78, 3.57, 3.42."""
    results = draw(equal(), np.random.default_rng(1))
    steps = compared(results.table, results.spent, looks_of(), step=0.0)
    found = [float(bounds.reach(joint=False)[0, 1]) for bounds in steps]
    assert found == pytest.approx([4.57, 4.08, 3.78, 3.57, 3.42], abs=0.005)


def test_near_ones_are_good_enough_and_a_far_one_is_excluded() -> None:
    found = answer(0.0, 0.001, 0.10)
    assert verdicts(found) == [Verdict.GOOD_ENOUGH, Verdict.GOOD_ENOUGH, Verdict.EXCLUDED]
    assert found.known
    far = found.about("o02")
    assert far.at_least_behind is not None and 0.08 < far.at_least_behind < 0.10
    assert far.excluded_by == found.leader


def test_what_luck_hides_is_undecided_with_its_bound() -> None:
    found = answer(0.0, 0.001, 0.002, noise=10)
    assert set(verdicts(found)) == {Verdict.UNDECIDED} and not found.known
    assert all(one.at_most_behind and one.at_most_behind > 0.02 for one in found.optimizers)
    assert answer(0.0, 0.001, 0.002, noise=10, margin=0.9).known  # a larger margin answers


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
def test_nothing_is_claimed_below_five_repeats(repeats: int) -> None:
    for looks in (looks_of(), looks_of(repeats)):
        found = judge(as_results(table(0.0, 0.5, repeats=repeats)), looks, margin=0.02)
        assert set(verdicts(found)) == {Verdict.UNDECIDED} and not found.known
        assert all(one.at_most_behind is None for one in found.optimizers)


def test_nobody_is_a_hundred_points_behind() -> None:
    wild = np.random.default_rng(1).choice([0.0, 1.0], (3, 5))
    found = judge(as_results(wild), looks_of(), margin=0.02)
    for one in found.optimizers:
        for bound in (one.at_most_behind, one.at_most_behind_new_images):
            assert bound is None or 0 <= bound < 1


def test_one_more_repeat_than_a_look_changes_nothing() -> None:
    """Else every reading of a running study would be a look of its own."""
    seven, five = answer(0.0, 0.003, repeats=7, noise=4), answer(0.0, 0.003, noise=4)
    assert [one.at_most_behind for one in seven.optimizers] == [
        one.at_most_behind for one in five.optimizers
    ]


def test_equal_results_are_not_infinitely_sure() -> None:
    steady = np.full((3, 5), 0.9)
    found = judge(as_results(steady), looks_of(), margin=0.02)
    assert found.bound is not None and found.bound > STEP


def test_a_pair_is_judged_on_the_repeats_that_both_have() -> None:
    wide = table(0.0, 0.001, 0.10, repeats=12)
    wide[2, 5:] = math.nan  # excluded at the first look, so it ran no further
    found = judge(as_results(wide), looks_of(), margin=0.02)
    assert verdicts(found)[2] is Verdict.EXCLUDED and found.about("o02").repeats == 5
    assert found.bounds.repeats[0, 2] == 5 and found.bounds.repeats[0, 1] == 12


def test_an_optimizer_that_is_excluded_on_these_images_may_be_ahead_on_new_ones() -> None:
    """Right on the same 70 of 80 images and on other 69: certain here, and nothing on new ones."""
    runs, labels = [], np.zeros(80, int)
    for number in range(25):
        rows = np.sort(np.random.default_rng(number).permutation(80)[:40])
        wrong = [rows < 10, (rows >= 60) & (rows < 75)]
        runs.append(ConfirmationRun(number // 5, rows, [one.astype(int) for one in wrong]))
    values = np.array([[1 - (one != 0).mean() for one in run.predicted] for run in runs])
    results = as_results(
        values.reshape(5, 5, 2).mean(axis=1).T,
        evidence=Evidence(Labelled(labels, np.arange(80), 2), ACCURACY, 20.0, runs),
    )
    found = judge(results, looks_of(5), margin=0.02)
    first, second = found.optimizers
    assert second.verdict is Verdict.EXCLUDED and first.at_most_behind == 0
    assert first.at_most_behind_new_images is not None and first.at_most_behind_new_images > 0.05


def test_the_leaders_value_on_new_images_lies_in_its_interval() -> None:
    """Of 120 collections of a kind in at most 5 %, and the interval is not needlessly wide."""
    rng = np.random.default_rng(8)
    found = [
        judge(results_on(draw_pool(rng, np.zeros(2)), rng, 5), looks_of(5), margin=0.02).reached
        for _ in range(120)
    ]
    value, low, high = np.array(found).T
    truth = value.mean()  # nothing tells the two apart, so the leader is picked by chance
    missed = int(((low > truth) | (high < truth)).sum())
    assert missed <= stats.binom(120, 0.05).ppf(0.995)
    assert 0.02 < np.median(high - low) < 0.2


@pytest.mark.parametrize(("images", "enough"), [(280, False), (6000, True)])
def test_more_images_are_asked_for_by_the_part_that_repeats_do_not_shrink(
    images: int, enough: bool
) -> None:
    rng = np.random.default_rng(3)
    results = results_on(draw_pool(rng, np.zeros(3), images), rng, 12)
    found = judge(results, looks_of(), margin=0.02)
    assert (found.images_needed < 1) == enough
    for one in found.optimizers:
        assert one.at_most_behind is not None and one.at_most_behind_new_images is not None
        assert one.at_most_behind_new_images > one.at_most_behind


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 15, 0.0, 0.181), (15, 15, 0.819, 1.0), (1, 15, 0.002, 0.32)],
)
def test_shares_have_clopper_and_pearsons_interval(
    count: int, of: int, low: float, high: float
) -> None:
    assert share_interval(count, of) == pytest.approx((low, high), abs=1e-3)
    if 0 < count < of:
        wanted = stats.binomtest(count, of).proportion_ci(0.95)
        assert share_interval(count, of) == pytest.approx((wanted.low, wanted.high))


# ---- divergence ----


BASE = [0.90, 0.92, 0.91, 0.89, 0.93]


def study(**changes: list[TrialRecord]) -> Answer:
    """adam, nadam and sgd with three reruns in each of five repeats."""
    near = [0.003, -0.002, 0.001, -0.004, 0.001]
    found = {
        "adam": runs("adam", [[v, v, v] for v in BASE]),
        "nadam": runs("nadam", [[v + e] * 3 for v, e in zip(BASE, near, strict=True)]),
        "sgd": runs("sgd", [[v - 0.1 + e / 4] * 3 for v, e in zip(BASE, near, strict=True)]),
    } | changes
    meta = make_meta([*found], CLASSES, looks=list(looks_of()))
    meta = replace(meta, settings={**meta.settings, "confirm": 3})
    return answer_of(meta, [record for group in found.values() for record in group])


def diverge(records: list[TrialRecord], *places: int) -> list[TrialRecord]:
    return [
        replace(record, status=TrialStatus.DIVERGED) if place in places else record
        for place, record in enumerate(records)
    ]


def test_one_diverged_rerun_changes_no_verdict_of_others_and_spoils_its_own() -> None:
    calm, burst = study(), study(nadam=diverge(runs("nadam", [[v] * 3 for v in BASE]), 4))
    assert calm.about("nadam").verdict is Verdict.GOOD_ENOUGH
    assert burst.about("nadam").verdict is Verdict.NOT_PURSUED
    assert burst.about("nadam").diverged == 1 and burst.about("nadam").diverging[1] > 0.2
    for name in ("adam", "sgd"):
        assert burst.about(name).verdict is calm.about(name).verdict
    assert burst.leader == "adam" and burst.known


def test_one_that_always_diverges_stands_apart_and_holds_nobody_up() -> None:
    burst = study(nadam=diverge(runs("nadam", [[0.9] * 3] * 5), *range(15)))
    assert burst.about("nadam").apart and burst.about("nadam").at_most_behind is None
    assert burst.known and burst.about("adam").verdict is Verdict.GOOD_ENOUGH
    assert "nadam" not in burst.contenders


def test_a_repeat_counts_once_all_its_reruns_have_ended() -> None:
    """A study that is read while it runs is judged on whole repeats."""
    half = study(nadam=runs("nadam", [[v] * 3 for v in BASE])[:-1])
    assert half.about("nadam").repeats == 4
    assert half.about("nadam").at_most_behind is None and "nadam" in half.contenders


# ---- the race ----


def test_only_the_leader_and_its_contenders_run_on() -> None:
    results = as_results(table(0.0, 0.001, 0.2, repeats=27, noise=5))
    ran = first_round(results.optimizers, looks_of(), race=True)
    assert set(ran.values()) == {5}
    found = judge(until(results, ran), looks_of(), margin=0.02)
    wanted = next_round(found, ran, looks_of())
    assert wanted == {"o00": 8, "o01": 8, "o02": 5}


def test_a_paused_one_that_is_a_contender_of_a_new_leader_catches_up_first() -> None:
    wide = table(0.0, 0.001, 0.002, repeats=27, noise=5)
    ran = {"o00": 8, "o01": 8, "o02": 5}
    found = judge(until(as_results(wide), ran), looks_of(), margin=0.0001)
    assert "o02" in found.contenders
    assert next_round(found, ran, looks_of()) == {"o00": 8, "o01": 8, "o02": 8}


def test_the_race_ends_when_the_answer_is_known_or_the_looks_are_spent() -> None:
    known, searches = race(as_results(table(0.0, 0.001, repeats=27)), looks_of(), margin=0.02)
    assert known[-1].known and len(known) == 1 and searches == 10
    never, searches = race(as_results(table(0.0, 0.0, repeats=27)), looks_of(), margin=1e-6)
    assert not never[-1].known and len(never) == 5 and searches == 2 * 27


def test_an_own_optimizer_runs_on_with_its_rivals_until_its_own_verdict_is_known() -> None:
    results = as_results(table(0.0, 0.001, 0.02, repeats=27, noise=5))
    ran = dict.fromkeys(results.optimizers, 5)
    found = judge(until(results, ran), looks_of(), margin=0.035)
    assert found.known and found.about("o02").verdict is Verdict.NOT_PURSUED
    assert next_round(found, ran, looks_of()) is None
    asked = judge(until(results, ran), looks_of(), margin=0.035, own=["o02"])
    assert set(asked.racing) >= {"o02", asked.leader}
    assert next_round(asked, ran, looks_of()) == {**ran, **dict.fromkeys(asked.racing, 8)}
    done = judge(results, looks_of(), margin=0.035, own=["o02"])
    assert done.about("o02").verdict is Verdict.GOOD_ENOUGH and not done.racing


def test_a_study_goes_on_until_each_verdict_that_was_asked_for_is_known() -> None:
    results = as_results(table(0.0, 0.001, 0.02, 0.03, repeats=27, noise=5))
    best, searches = race(results, looks_of(), margin=0.035)
    assert best[-1].known and len(best) == 1 and searches == 20
    answers, searches = race(results, looks_of(), margin=0.035, asked=["o02"])
    assert [one.known for one in answers] == [*[False] * (len(answers) - 1), True]
    assert answers[0].about("o02").verdict is Verdict.UNDECIDED
    assert answers[-1].about("o02").verdict is Verdict.EXCLUDED
    every, more = race(results, looks_of(), margin=0.01, asked=results.optimizers)
    assert every[-1].known and more > searches > 20
    assert not {Verdict.UNDECIDED, Verdict.NOT_PURSUED} & set(verdicts(every[-1]))


def test_what_the_answer_does_not_need_is_not_pursued_unless_all_looks_are_spent_on_it() -> None:
    results = as_results(table(0.0, 0.001, 0.02, repeats=27, noise=5))
    first = until(results, dict.fromkeys(results.optimizers, 5))
    found = judge(first, looks_of(), margin=0.035)
    assert found.known and found.about("o02").verdict is Verdict.NOT_PURSUED
    pursued = judge(first, looks_of(), margin=0.035, asked=["o02"])
    assert not pursued.known and pursued.about("o02").verdict is Verdict.UNDECIDED
    fixed = judge(first, looks_of()[:1], margin=0.035)  # no look remains
    assert fixed.known and fixed.about("o02").verdict is Verdict.UNDECIDED


def test_an_optimizer_of_which_no_verdict_is_possible_holds_no_study_up() -> None:
    lost = table(0.0, 0.001, repeats=27)
    lost[1] = math.nan
    answers, searches = race(as_results(lost), looks_of(), margin=0.02, asked=["o01"])
    assert not answers[-1].known and searches == 10


def test_a_larger_margin_afterwards_is_known_from_the_same_records_a_smaller_one_goes_on() -> None:
    results = draw(equal(4), np.random.default_rng(4))
    at_two, ran = race(results, looks_of(), margin=0.02)
    _, further = race(results, looks_of(), margin=0.005)
    assert at_two[-1].known and further > ran
    assert race(results, looks_of(), margin=0.05)[0][-1].known


# ---- how often it is wrong ----

STUDIES = 60


@pytest.mark.parametrize("name", SCENARIOS)
def test_at_most_five_percent_of_studies_claim_anything_false(name: str) -> None:
    """`tests/benchmarks/calibration.py` has thousands of each, and the rates."""
    truth, rng = SCENARIOS[name](), np.random.default_rng(7)
    counts: Counter[str] = Counter()
    for _ in range(STUDIES):
        answers, _ = race(draw(truth, rng), looks_of(), margin=0.02)
        counts += mistakes(answers, truth)
    limit = stats.binom(STUDIES, 0.05).ppf(0.995)
    for claim in ("best excluded", "false good enough", "a bound too small"):
        assert counts[claim] <= limit, (claim, counts)


def test_a_study_finds_who_is_ahead() -> None:
    rng = np.random.default_rng(8)
    truth = one_ahead(by=0.04)
    found = 0
    for _ in range(40):
        answers, _ = race(draw(truth, rng), looks_of(), margin=0.02)
        found += answers[-1].leader == "o11" and answers[-1].known
    assert found >= 36
