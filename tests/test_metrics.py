"""Balanced accuracy and macro F1 against scikit-learn: formulas, programs, Keras's training."""

from dataclasses import replace
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from study.common.metrics import (
    BALANCED_ACCURACY,
    MACRO_F1,
    constant_class,
    from_counts,
    guessing,
    steps,
)
from study.common.seeds import stream
from study.records.trial_record import cross_fitted_by_class
from study.search.budget import Budget
from study.search.oracles import Search
from study.space.head_config import HeadConfig
from study.space.search_space import load_space
from study.training.head import head_probabilities
from study.training.hypermodel import HeadHyperModel
from study.training.plain_keras import train_plainly
from study.training.population import LocalTrainer
from study.training.runs import HeadResult, HeadRun, TrainingRules, TrainingTable

pytestmark = [  # scikit-learn says that classes are missing, which is what is tested
    pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true"),
    pytest.mark.filterwarnings("ignore:A single label was found"),
]
BY_CLASS = (BALANCED_ACCURACY, MACRO_F1)
SPACE = load_space("default")
N_FEATURES, CLASSES, EPOCHS = 12, 5, 4
TIPS = 2e-3  # two trainings differ in the order of sums: a row of a large class may tip over


def by_sklearn(metric: str, labels: np.ndarray, said: np.ndarray) -> float:
    if metric == MACRO_F1:
        return float(f1_score(labels, said, average="macro", zero_division=0))
    return float(balanced_accuracy_score(labels, said))


def counted(labels: np.ndarray, said: np.ndarray, classes: int = CLASSES) -> np.ndarray:
    """(3, classes), counted in the plainest way."""
    right = labels[labels == said]
    return np.array([np.bincount(of, minlength=classes) for of in (right, said, labels)], float)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_a_metric_has_scikit_learns_value_also_where_classes_are_missing(metric: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(400):
        classes, rows = int(rng.integers(1, 9)), int(rng.integers(1, 30))
        labels = rng.integers(0, classes, rows)  # of few rows some classes have none
        said = np.where(rng.random(rows) < 0.5, labels, rng.integers(0, classes, rows))
        found = from_counts(metric, counted(labels, said, classes))
        assert found == pytest.approx(by_sklearn(metric, labels, said), abs=1e-6)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_always_naming_the_largest_class_has_scikit_learns_value(metric: str) -> None:
    for counts in ([90, 10], [5, 5, 5], [3, 40, 2, 2]):
        labels = np.repeat(np.arange(len(counts)), counts)
        said = np.full(len(labels), np.argmax(counts))
        wanted = by_sklearn(metric, labels, said)
        assert constant_class(metric, counts) == pytest.approx(wanted, abs=1e-6)
        assert guessing(metric, counts) == constant_class(metric, counts)
    share, classes = 0.9, 2
    assert constant_class(MACRO_F1, [90, 10]) == pytest.approx(
        2 * share / (1 + share) / classes, abs=1e-6
    )


def test_one_image_moves_all_metrics_alike_where_classes_have_one_size() -> None:
    for metric in ("accuracy", *BY_CLASS):
        assert steps(metric, [20, 20, 20, 20], 40) == 40
    rare = counted(np.array([0] * 9 + [1]), np.array([0] * 9 + [1]), 2)
    wrong = counted(np.array([0] * 9 + [1]), np.array([0] * 10), 2)
    moved = from_counts(BALANCED_ACCURACY, rare) - from_counts(BALANCED_ACCURACY, wrong)
    assert moved == pytest.approx(1 / steps(BALANCED_ACCURACY, [90, 10], 10))


def test_a_metric_that_is_not_made_of_counts_is_refused() -> None:
    with pytest.raises(ValueError, match="accuracy is not computed from counts"):
        from_counts("accuracy", np.ones((3, 2)))


class Data:
    """Unbalanced, noisy; class 4 has training rows only, class 3 no row at all."""

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        sizes = {0: 640, 1: 150, 2: 40, 4: 30}
        self.labels = np.repeat(list(sizes), list(sizes.values())).astype(np.int32)
        centres = rng.normal(size=(CLASSES, N_FEATURES))
        noise = rng.normal(scale=2.0, size=(len(self.labels), N_FEATURES))
        self.features = (centres[self.labels] + noise).astype(np.float32)
        rows = np.arange(len(self.labels), dtype=np.int32)
        held = np.flatnonzero(self.labels != 4)
        # 697 rows: more than one piece of validation, the last one padded
        self.validation = np.sort(rng.choice(held, 697, replace=False)).astype(np.int32)
        self.train = np.setdiff1d(rows, self.validation).astype(np.int32)


DATA = Data()


def population(metric: str) -> LocalTrainer:
    table = TrainingTable(DATA.features, DATA.labels, CLASSES)
    return LocalTrainer(table, TrainingRules(EPOCHS, (16,), metric=metric), size=2)


def a_run(**changes: object) -> HeadRun:
    """Batches of 16 do not divide its rows."""
    given = {"dropout": 0.0, "batch_norm": False, "learning_rate": 0.05} | changes
    config: HeadConfig = replace(SPACE.default("sgd"), dense_width=16, **given)
    assert len(DATA.train) % config.batch_size
    return HeadRun(config, DATA.train, DATA.validation, seed=3, epochs=EPOCHS)


def train(metric: str, *runs: HeadRun) -> list[HeadResult]:
    found = {index: one for part in population(metric).train(runs) for index, one in part}
    return [found[index] for index in range(len(runs))]


def said(config: HeadConfig, weights: list[np.ndarray]) -> np.ndarray:
    rows = DATA.features[DATA.validation]
    return head_probabilities(config, weights, rows, None).argmax(axis=1)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_the_program_keeps_the_weights_that_scikit_learn_finds_best(metric: str) -> None:
    restless = a_run(learning_rate=1.5)
    (found, other) = train(metric, a_run(), restless)
    for run, result in ((a_run(), found), (restless, other)):
        names = said(run.config, result.weights)
        wanted = by_sklearn(metric, DATA.labels[DATA.validation], names)
        assert result.metrics.val_metric.max() == pytest.approx(wanted, abs=1e-6)
        best = int(result.metrics.val_metric.argmax())
        accuracy = np.mean(DATA.labels[DATA.validation] == names)
        assert result.metrics.val_accuracy[best] == pytest.approx(accuracy)
    assert other.metrics.val_metric.argmax() != other.metrics.val_accuracy.argmax()


@pytest.mark.parametrize("metric", BY_CLASS)
def test_counts_of_both_halves_hold_every_row_once_and_no_padding(metric: str) -> None:
    run = a_run()._replace(epochs=1)
    (result,) = train(metric, run)
    labels, names = DATA.labels[DATA.validation], said(run.config, result.weights)
    halves = [counted(labels[at::2], names[at::2]) for at in (0, 1)]
    assert np.array_equal(result.metrics.val_counts[0], halves)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_a_run_that_continues_is_judged_as_one_uninterrupted_run(metric: str) -> None:
    run = a_run(learning_rate=1.5)  # restless
    trainer = population(metric)

    def only(one: HeadRun) -> HeadResult:
        ((_, result),) = next(trainer.train([one]))
        return result

    whole, first = only(run), only(run._replace(epochs=2))
    rest = only(run._replace(state=first.state))
    for key in ("train_metric", "val_metric", "val_counts", "val_accuracy"):
        parts = [getattr(part.metrics, key) for part in (first, rest)]
        assert np.array_equal(np.concatenate(parts), getattr(whole.metrics, key))
    for found, wanted in zip(rest.weights, whole.weights, strict=True):
        assert np.array_equal(found, wanted)


def test_accuracy_and_losses_are_the_same_whatever_judges() -> None:
    plainly, other = (train(metric, a_run())[0].metrics for metric in ("accuracy", MACRO_F1))
    assert plainly.val_metric is None
    for key in ("loss", "accuracy", "val_loss", "val_accuracy", "val_hits_a"):
        assert np.allclose(getattr(plainly, key), getattr(other, key), atol=1e-6)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_keras_training_reports_the_same_curves_to_stock_tuners(metric: str) -> None:
    run = a_run(dropout=0.0)
    model = HeadHyperModel(
        SPACE, n_features=N_FEATURES, n_classes=CLASSES, n_train=len(run.train),
        max_epochs=EPOCHS, seed=run.seed, metric=metric,
    ).build_config(run.config)  # fmt: skip
    (found,) = train(metric, run)
    held = DATA.features[run.validation], DATA.labels[run.validation]
    for epoch in range(EPOCHS):
        rows = run.train[stream(run.seed, "order", epoch).permutation(len(run.train))]
        told = model.fit(
            DATA.features[rows], DATA.labels[rows], batch_size=16, shuffle=False, verbose=0,
            validation_data=held,
        ).history  # fmt: skip
        assert found.metrics.train_metric[epoch] == pytest.approx(told[metric][0], abs=TIPS)
        assert found.metrics.val_metric[epoch] == pytest.approx(told[f"val_{metric}"][0], abs=TIPS)


def test_a_model_with_a_metric_is_saved_and_loaded(tmp_path: Path) -> None:
    run = a_run()
    model = HeadHyperModel(
        SPACE, n_features=N_FEATURES, n_classes=CLASSES, n_train=len(run.train),
        max_epochs=EPOCHS, seed=run.seed, metric=MACRO_F1,
    ).build_config(run.config)  # fmt: skip
    held = DATA.features[run.validation], DATA.labels[run.validation]
    told = model.evaluate(*held, verbose=0, return_dict=True)
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras")
    assert loaded.evaluate(*held, verbose=0, return_dict=True) == pytest.approx(told)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_a_run_that_keras_trains_alone_has_the_same_curves(metric: str) -> None:
    # rows weigh differently in the loss, and count one each here
    run = a_run(loss_hyperparameters={"class_weight": "balanced"})
    (together,) = train(metric, run)
    table = TrainingTable(DATA.features, DATA.labels, CLASSES)
    alone = train_plainly(run, table, TrainingRules(EPOCHS, metric=metric))
    assert np.allclose(alone.metrics.train_metric, together.metrics.train_metric, atol=TIPS)
    assert np.allclose(alone.metrics.val_metric, together.metrics.val_metric, atol=TIPS)
    assert alone.metrics.val_counts.shape == together.metrics.val_counts.shape == (EPOCHS, 2, 3, 5)
    names = said(run.config, alone.weights)
    wanted = by_sklearn(metric, DATA.labels[DATA.validation], names)
    assert alone.metrics.val_metric.max() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("metric", BY_CLASS)
def test_the_epoch_is_chosen_on_one_half_and_judged_on_the_other(metric: str) -> None:
    rng = np.random.default_rng(2)
    labels = np.sort(rng.choice(3, 60, p=[0.6, 0.3, 0.1]))
    named = [np.where(rng.random(60) < 0.6, labels, rng.integers(0, 3, 60)) for _ in range(6)]
    halves = [slice(0, None, 2), slice(1, None, 2)]
    counts = np.array([[counted(labels[h], n[h], 3) for h in halves] for n in named])
    values = [[by_sklearn(metric, labels[h], n[h]) for n in named] for h in halves]
    by_a, by_b = (int(np.argmax(half)) for half in values)
    assert by_a != by_b
    judged = named[by_b].copy()  # what each half says at the epoch that the other chose
    judged[halves[1]] = named[by_a][halves[1]]
    wanted = by_sklearn(metric, labels, judged)
    assert cross_fitted_by_class(metric, counts) == pytest.approx(wanted, abs=1e-6)


def test_keras_tuners_objective_has_the_metrics_name() -> None:
    search = Search(SPACE, "adam", Budget("random", 3, 3, 4, MACRO_F1), seed=1)
    assert search.oracle.objective == keras_tuner.Objective("val_macro_f1", "max")
    proposals = search.ask()
    for place, proposal in enumerate(proposals):
        search.tell(proposal.number, place / 10)
    assert search.oracle.get_best_trials(1)[0].score == (len(proposals) - 1) / 10
