"""Bounds on new images by image: influences, variances, what they assume, what they refuse."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from study.common.metrics import ACCURACY, BALANCED_ACCURACY, MACRO_F1
from study.records.predicted_classes import Labelled
from study.records.study_meta import Look
from study.records.trial_record import cross_fitted, cross_fitted_by_class
from study.training.epoch_metrics import EpochMetrics, cross_fitted_classes
from study.verdicts.bounds import Bounds, compared
from study.verdicts.new_images import (
    ConfirmationRun,
    Evidence,
    NewImages,
    judged_repeats,
    new_images,
    value_and_influences,
)
from study.verdicts.quantile import joint_quantile

METRICS = (ACCURACY, BALANCED_ACCURACY, MACRO_F1)
CLASSES = 4
LOOKS = [Look(5, 0.01), Look(8, 0.01)]


def by_sklearn(
    metric: str, labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None
) -> float:
    if metric == ACCURACY:
        return float(sk.accuracy_score(labels, predicted, sample_weight=weights))
    if metric == BALANCED_ACCURACY:
        return float(sk.balanced_accuracy_score(labels, predicted, sample_weight=weights))
    return float(
        sk.f1_score(labels, predicted, average="macro", zero_division=0, sample_weight=weights)
    )


def some_rows(count: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels of unequal classes, and what a head of two thirds names."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, count, p=[0.5, 0.3, 0.15, 0.05]).astype(np.uint8)
    return labels, np.where(rng.random(count) < 0.66, labels, rng.integers(0, CLASSES, count))


def collection(count: int = 40, *, metric: str = ACCURACY, group: int = 1) -> Evidence:
    examples = Labelled(np.arange(count) % CLASSES, np.arange(count) // group, CLASSES)
    return Evidence(examples, metric, 50.0, ())


def drawn_runs(
    images: Evidence, optimizers: int = 3, repeats: int = 5, reruns: int = 4, *, seed: int = 2
) -> list[ConfirmationRun]:
    """Runs on fresh halves of the units; the first optimizers are better."""
    rng = np.random.default_rng(seed)
    runs = []
    for repeat in range(repeats):
        for _ in range(reruns):
            units = rng.permutation(images.examples.units.max() + 1)[
                : (images.examples.units.max() + 1) // 2
            ]
            rows = np.flatnonzero(np.isin(images.examples.units, units))
            chance = np.linspace(0.9, 0.6, optimizers)
            predicted = [
                np.where(
                    rng.random(len(rows)) < right,
                    images.examples.labels[rows],
                    rng.integers(0, CLASSES, len(rows)),
                ).astype(np.uint8)
                for right in chance
            ]
            runs.append(ConfirmationRun(repeat, rows, predicted))
    return runs


def everywhere(size: int, repeats: int = 5) -> np.ndarray:
    return np.full((size, size), repeats)


def by_hand(images: Evidence, runs: list[ConfirmationRun]) -> tuple[float, float, int]:
    """raw, q^2 and G of the first two optimizers, written out image by image."""
    units = int(images.examples.units.max()) + 1
    totals, judging = np.zeros(units), np.zeros(units)
    seen: set[int] = set()
    values: dict[int, list[float]] = {}
    shares = []
    for run in runs:
        both = [
            value_and_influences(
                images.examples.labels[run.rows],
                run.predicted[k],
                images.examples.classes,
                images.metric,
            )
            for k in (0, 1)
        ]
        sums = np.zeros(units)
        for row, influence in zip(run.rows, both[0][1] - both[1][1], strict=True):
            sums[images.examples.units[row]] += influence
            seen.add(int(row))
        own = sorted(set(images.examples.units[run.rows].tolist()))
        judging[own] += 1
        totals += sums
        shares.append(len(own) / (len(own) - 1) * (sums**2).sum() / len(run.rows) ** 2)
        values.setdefault(run.repeat, []).append(both[0][0] - both[1][0])
    judged = int((judging > 0).sum())
    raw = (totals**2).sum() / (judging**2).sum() * judged**2 / (len(seen) ** 2 * (judged - 1))
    squares = sum(((np.array(v) - np.mean(v)) ** 2).sum() for v in values.values())
    within = squares / sum(len(v) - 1 for v in values.values())
    return raw, max(0.0, within - np.mean(shares) + raw), judged


# ---- influences ----


@pytest.mark.parametrize("metric", METRICS)
def test_a_runs_value_is_scikit_learns(metric: str) -> None:
    labels, predicted = some_rows()
    value, influence = value_and_influences(labels, predicted, CLASSES, metric)
    assert value == pytest.approx(by_sklearn(metric, labels, predicted))
    assert influence.sum() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_an_influence_is_the_derivative_by_the_images_weight(metric: str) -> None:
    labels, predicted = some_rows()
    value, influence = value_and_influences(labels, predicted, CLASSES, metric)
    for row in range(len(labels)):
        weights = np.ones(len(labels))
        weights[row] += 1e-6
        slope = (by_sklearn(metric, labels, predicted, weights) - value) / 1e-6
        assert influence[row] / len(labels) == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_leaving_an_image_out_changes_the_value_by_its_influence(metric: str) -> None:
    labels, predicted = some_rows(400)
    value, influence = value_and_influences(labels, predicted, CLASSES, metric)
    kept = [np.delete(np.arange(400), row) for row in range(400)]
    changes = [value - by_sklearn(metric, labels[rows], predicted[rows]) for rows in kept]
    assert stats.pearsonr(influence, changes).statistic > 0.999
    assert influence / 399 == pytest.approx(changes, rel=0.08, abs=1e-12)


def test_of_classes_without_rows_only_those_that_are_named_count_for_macro_f1() -> None:
    labels, predicted = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    for metric in METRICS:
        with np.errstate(all="raise"):
            value, influence = value_and_influences(labels, predicted, 9, metric)
        assert influence.sum() == pytest.approx(0)
        if metric == MACRO_F1:
            assert value == pytest.approx(by_sklearn(metric, labels, predicted))
        else:
            assert value == pytest.approx(0.75)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="'kappa' is unknown"):
        value_and_influences(np.array([0]), np.array([0]), 2, "kappa")


# ---- cross-fitted runs ----


@pytest.mark.parametrize("rows", [40, 41])
@pytest.mark.parametrize("metric", METRICS)
def test_classes_at_each_others_epochs_have_the_value_of_the_record(metric: str, rows: int) -> None:
    """Also with folds of unequal size: all rows count alike."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, rows)
    epochs = np.where(rng.random((6, rows)) < 0.6, labels, rng.integers(0, CLASSES, (6, rows)))
    hits, in_a = epochs == labels, np.arange(rows) % 2 == 0
    of_folds = [hits[:, fold].sum(axis=1) for fold in (in_a, ~in_a)]
    counts = np.array([[_counts(labels, one, fold) for fold in (in_a, ~in_a)] for one in epochs])
    curves = EpochMetrics(*[None] * 4, *of_folds, val_counts=counts)
    predicted = cross_fitted_classes(curves, metric, epochs.astype(np.uint8))
    value, _ = value_and_influences(labels, predicted, CLASSES, metric)
    if metric == ACCURACY:
        recorded = cross_fitted(*[fold.tolist() for fold in of_folds], rows)
    else:
        recorded = cross_fitted_by_class(metric, counts)
    assert value == pytest.approx(recorded, abs=1e-6)


def _counts(labels: np.ndarray, predicted: np.ndarray, half: np.ndarray) -> np.ndarray:
    """As training counts a half: rows of a class predicted rightly, predicted as it, there."""
    labels, predicted = labels[half], predicted[half]
    return np.stack(
        [
            np.bincount(x, minlength=CLASSES)
            for x in (labels[labels == predicted], predicted, labels)
        ]
    ).astype(float)


# ---- variances ----


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("group", [1, 5])
def test_variances_are_those_of_the_formulas_image_by_image(metric: str, group: int) -> None:
    images = collection(metric=metric, group=group)
    runs = drawn_runs(images)
    found = new_images(images._replace(runs=runs), everywhere(3))
    raw, beyond, units = by_hand(images, runs)
    for got, wanted in zip(found, (raw, 0.15 * beyond, units), strict=True):
        assert got[0, 1] == got[1, 0] == pytest.approx(wanted)
    assert found.variance[0, 1] == pytest.approx(raw + 4 / units**2 + 0.15 * beyond)
    assert all(np.isnan(np.diag(got)).all() for got in found)


def test_a_pair_is_judged_on_the_runs_that_converged_for_both_and_on_its_repeats() -> None:
    images = collection()
    runs = drawn_runs(images, repeats=8)
    lost = [
        run._replace(predicted=[None if place in (0, 5) else run.predicted[0], *run.predicted[1:]])
        for place, run in enumerate(runs)
    ]
    repeats = everywhere(3, 8)
    repeats[0, 1] = repeats[1, 0] = 5
    found = new_images(images._replace(runs=lost), repeats)
    both = [run for run in lost if run.predicted[0] is not None]
    assert found.raw[0, 1] == pytest.approx(by_hand(images, [r for r in both if r.repeat < 5])[0])
    others = [run._replace(predicted=run.predicted[::2]) for run in both]
    assert found.raw[0, 2] == pytest.approx(by_hand(images, others)[0])
    others = [run._replace(predicted=run.predicted[1:]) for run in runs]
    assert found.raw[1, 2] == pytest.approx(by_hand(images, others)[0])


def test_a_pair_without_a_common_run_and_one_that_is_not_judged_claim_nothing() -> None:
    images = collection()
    runs = [
        run._replace(predicted=[None if place == run.repeat % 2 else one for place, one in found])
        for run in drawn_runs(images)
        for found in [list(enumerate(run.predicted))]
    ]
    repeats = everywhere(3)
    repeats[1, 2] = repeats[2, 1] = 0
    raw = new_images(images._replace(runs=runs), repeats).raw
    assert np.isnan(raw[0, 1]) and np.isnan(raw[1, 2]) and raw[0, 2] > 0
    assert np.isnan(new_images(images._replace(runs=[]), repeats).raw).all()


def test_nothing_is_claimed_where_all_repeats_share_one_split() -> None:
    images = collection()
    rows = np.arange(0, 40, 2)
    runs = [
        ConfirmationRun(
            repeat, rows, [np.roll(images.examples.labels[rows], shift) for shift in (0, repeat)]
        )
        for repeat in range(5)
    ]
    found = new_images(images._replace(runs=runs), everywhere(2))
    assert np.isnan(found.variance).all() and np.isnan(found.half_width(bounds(2))).all()


def test_with_few_training_images_a_class_more_of_the_spread_stays() -> None:
    images = collection()._replace(runs=drawn_runs(collection()))
    many, few = (new_images(images._replace(training=t), everywhere(3)) for t in (8.0, 2.0))
    assert few.training[0, 1] == pytest.approx(4 * many.training[0, 1])
    assert few.raw[0, 1] == many.raw[0, 1]


def test_images_that_no_run_judges_drop_out() -> None:
    images = collection(40)
    runs = drawn_runs(images)
    labels = np.concatenate([images.examples.labels, np.zeros(25, int)])
    more = Evidence(Labelled(labels, np.arange(65), CLASSES), ACCURACY, 50.0, runs)
    images = images._replace(runs=runs)
    for one, other in zip(
        new_images(images, everywhere(3)), new_images(more, everywhere(3)), strict=True
    ):
        assert one == pytest.approx(other, nan_ok=True)


def test_one_run_a_repeat_counts_chance_in_the_search_as_the_runs_own() -> None:
    images = collection()
    runs = drawn_runs(images, reruns=1, repeats=6)
    found = new_images(images._replace(runs=runs), everywhere(3, 6))
    together = [run._replace(repeat=0) for run in runs]
    assert found.training[0, 1] == pytest.approx(0.15 * by_hand(images, together)[1])


def test_two_optimizers_that_name_the_same_are_not_infinitely_alike() -> None:
    images = collection()
    runs = [run._replace(predicted=[run.predicted[0]] * 2) for run in drawn_runs(images)]
    found = new_images(images._replace(runs=runs), everywhere(2))
    assert found.raw[0, 1] == found.training[0, 1] == 0 and found.variance[0, 1] == 4 / 40**2


def test_repeats_do_not_shrink_what_the_collection_leaves_open() -> None:
    """Each optimizer is right on its own images, always: more runs say nothing new."""
    images = collection(80)
    rng = np.random.default_rng(5)
    right = rng.random((2, 80)) < 0.7
    wrong = (images.examples.labels + 1) % CLASSES
    found = []
    for repeats in (5, 40):
        runs = []
        for number in range(3 * repeats):
            rows = rng.permutation(80)[:40]
            predicted = [np.where(own, images.examples.labels, wrong)[rows] for own in right]
            runs.append(ConfirmationRun(number // 3, rows, predicted))
        found.append(
            float(new_images(images._replace(runs=runs), everywhere(2, repeats)).raw[0, 1])
        )
    wanted = np.var(right[0].astype(float) - right[1], ddof=1) / 80
    assert found == pytest.approx([wanted, wanted], rel=0.1)


# ---- bounds ----


def bounds(size: int, *, repeats: int = 5) -> Bounds:
    table = 0.9 + np.random.default_rng(4).normal(0, 0.01, (size, repeats))
    return compared(table, np.ones(table.shape, bool), LOOKS, step=0.0)[-1]


def joint(freedom: float) -> float:
    """The quantile for two rivals at a look of 1 %."""
    return float(joint_quantile(np.array([0.01]), 2, np.array([freedom]))[0])


def test_half_widths_add_both_variances_each_with_its_own_quantile() -> None:
    images = collection()
    here = bounds(3)
    found = new_images(images._replace(runs=drawn_runs(images)), everywhere(3))
    c, c_images = joint(here.freedom[0, 1]), joint(39.0)
    wanted = math.hypot(c * here.error[0, 1], c_images * math.sqrt(found.variance[0, 1]))
    assert found.half_width(here)[0, 1] == pytest.approx(wanted)
    assert found.high(here)[0, 1] == pytest.approx(here.difference[0, 1] + wanted)


@pytest.mark.parametrize("margin", [0.01, 0.05, 0.2])
def test_so_many_times_as_many_images_bring_the_part_of_the_images_to_the_margin(
    margin: float,
) -> None:
    images, here = collection(group=2), bounds(3)
    found = new_images(images._replace(runs=drawn_runs(images)), everywhere(3))
    times = float(found.times_as_many(here, margin)[0, 1])
    more = NewImages(found.raw / times, found.training / times, found.units * times)
    quantile = joint(found.units[0, 1] - 1)
    assert quantile * math.sqrt(more.variance[0, 1]) == pytest.approx(margin)


def test_pairs_are_judged_at_the_look_at_which_they_are_compared() -> None:
    rng = np.random.default_rng(6)
    table = 0.9 + rng.normal(0, 0.01, (4, 8))
    spent = np.ones(table.shape, bool)
    spent[2, 6:] = False  # waits after the first look
    table[3, :4] = math.nan  # too few results
    found = judged_repeats(table, spent, LOOKS)
    assert found.tolist() == [[0, 8, 5, 0], [8, 0, 5, 0], [5, 5, 0, 0], [0, 0, 0, 0]]
    now = compared(table, spent, LOOKS, step=0.0)[-1]
    assert (np.isfinite(now.repeats) == (found > 0)).all()


# ---- how often it is wrong ----


def test_a_pair_is_rarely_further_apart_than_its_bound_on_the_kind_of_images() -> None:
    """Equal on the kind, each right on its own images of a collection of 60; one look of 5 %."""
    rng = np.random.default_rng(7)
    false, collections = np.zeros(2, int), 120
    for _ in range(collections):
        images = collection(60)
        chance = rng.beta(4, 1, (2, 60))  # of a hit, by optimizer and image
        runs, table = [], np.zeros((2, 5))
        for repeat in range(5):
            for _ in range(3):
                rows = rng.permutation(60)[:30]
                hits = rng.random((2, 30)) < chance[:, rows]
                labels = images.examples.labels[rows]
                runs.append(ConfirmationRun(repeat, rows, [*np.where(hits, labels, labels + 1)]))
                table[:, repeat] += hits.mean(axis=1) / 3
        here = compared(table, np.ones((2, 5), bool), [Look(5, 0.05)], step=0.0)[-1]
        high = new_images(images._replace(runs=runs), everywhere(2)).high(here)
        false += [high[0, 1] < 0, high[1, 0] < 0]
    assert false.max() <= stats.binom(collections, 0.05).ppf(0.995)
