"""Class weights and label smoothing: in the programs, in plain Keras, with a stock tuner."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from test_population import (
    DATA,
    N_CLASSES,
    N_FEATURES,
    TOLERANCE,
    a_run,
    assert_parity,
    balanced,
    configuration,
    distance,
    last_weights,
    population,
    train,
)

from study.common.seeds import stream
from study.space.head_config import HeadConfig
from study.space.search_space import load_space
from study.training.head import Statistics, build_head, make_optimizer, rows_per_step
from study.training.hypermodel import HeadHyperModel
from study.training.loss import class_weights
from study.training.plain_keras import train_plainly
from study.training.population import LocalTrainer
from study.training.program_key import ProgramShape, key_of, signature_of
from study.training.runs import HeadRun, TrainingRules, TrainingTable

WEIGHED = {"class_weight": "balanced"}
SMOOTHED = {"label_smoothing": 0.2}
LOSSES = (WEIGHED, SMOOTHED, WEIGHED | SMOOTHED)
# Few rows of class 0 and none of class 4: weights from 0.4 to 3.3
UNEVEN = np.array(
    [row for row in DATA.train if DATA.labels[row] in (1, 2, 3)]
    + [row for row in DATA.train if DATA.labels[row] == 0][:4],
    np.int32,
)
EVEN = DATA.train[: len(UNEVEN)]
assert len(UNEVEN) % 16 and len(UNEVEN) % 10  # the last batch of an epoch is a part of one


def with_loss(loss: dict[str, object], **changes: object) -> HeadConfig:
    return configuration("momentum", loss_hyperparameters=loss, **changes)


@pytest.mark.parametrize(
    ("loss", "changes"),
    [
        (WEIGHED, {"batch_norm": False}),
        (SMOOTHED, {"batch_norm": False}),
        (WEIGHED | SMOOTHED, {"batch_norm": False, "normalize": True, "batch_size": 10}),
        (WEIGHED | SMOOTHED, {}),
    ],
    ids=str,
)
def test_training_equals_keras(loss: dict[str, object], changes: dict[str, object]) -> None:
    config = with_loss(loss, **changes)
    runs = [a_run(config, epochs=6, train=rows) for rows in (EVEN, UNEVEN)]  # in one program
    for run in runs:
        assert_parity(run, train(population(), [run])[0])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("adam", {"batch_norm": False}),
        ("lion", {"batch_norm": False}),
        ("adagrad", {"batch_size": "full"}),
    ],
)
def test_other_optimizers_and_whole_batches_too(name: str, changes: dict[str, object]) -> None:
    config = configuration(name, loss_hyperparameters=WEIGHED | SMOOTHED, **changes)
    run = a_run(config, train=UNEVEN)
    assert_parity(run, train(population(), [run])[0])


OWN = np.random.default_rng(9).uniform(0, 4, len(DATA.labels)).astype(np.float32)
OWN[UNEVEN[::5]] = 0
OWN_TABLE = DATA.table._replace(sample_weight=OWN)


@cache
def weighted() -> LocalTrainer:
    return LocalTrainer(OWN_TABLE, TrainingRules(30), size=2)


@pytest.mark.parametrize(
    ("own", "config"),
    [
        (False, with_loss(WEIGHED | SMOOTHED, batch_norm=False)),
        (True, configuration("adam", batch_norm=False, batch_size=10, normalize=True)),
        (True, configuration("adagrad", batch_size="full", loss_hyperparameters=LOSSES[2])),
        *[
            pytest.param(True, configuration(name, batch_norm=False), marks=pytest.mark.slow)
            for name in ("sgd", "nesterov", "rmsprop", "nadam", "lion")
        ],
    ],
)  # fmt: skip
def test_curves_and_weights_are_those_of_fit(own: bool, config: HeadConfig) -> None:
    """Not batch by batch: what Keras's own `fit` reports, with its own weights."""
    run = a_run(config, train=UNEVEN)
    (result,) = train(weighted() if own else population(), [run])
    statistics = Statistics.of(DATA.features[run.train])
    head = build_head(
        run.config, n_features=N_FEATURES, n_classes=N_CLASSES, seed=run.seed,
        statistics=statistics,
    )  # fmt: skip
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing)
    optimizer = make_optimizer(run.config, run.config.learning_rate)
    head.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    truth = np.eye(N_CLASSES)[DATA.labels]
    curves: dict[str, list[float]] = {}
    for epoch in range(run.epochs):
        rows = run.train[stream(run.seed, "order", epoch).permutation(len(run.train))]
        seen = head.fit(
            DATA.features[rows], truth[rows], shuffle=False, verbose=0,
            batch_size=rows_per_step(config, len(rows)), **weights_for_fit(run, rows, own),
            validation_data=(DATA.features[run.validation], truth[run.validation]),
        ).history  # fmt: skip
        for key, (value,) in seen.items():
            curves.setdefault(key, []).append(value)
    for key, curve in curves.items():
        assert distance(getattr(result.metrics, key), np.array(curve)) < TOLERANCE, key
    for found, wanted in zip(last_weights(result, run.config), head.get_weights(), strict=True):
        assert distance(found, wanted) < TOLERANCE


def weights_for_fit(run: HeadRun, rows: np.ndarray, own: bool) -> dict[str, object]:
    """Keras takes weights of classes or of rows: both are the product."""
    of_class = balanced(run)
    if not own:
        return {"class_weight": of_class}
    factors = [(of_class or {}).get(label, 1.0) for label in DATA.labels[rows].tolist()]
    return {"sample_weight": OWN[rows] * np.array(factors)}


def test_weights_and_smoothing_ride_along_in_one_program() -> None:
    trainer = population(3)
    before = trainer.compilations
    losses = [
        {"class_weight": weight, "label_smoothing": smoothing}
        for weight in ("none", "balanced")
        for smoothing in (0.0, 0.4)
    ]
    configs = [with_loss(loss, batch_norm=False) for loss in losses]
    runs = [a_run(c, train=rows) for c in configs for rows in (DATA.train[:60], UNEVEN[:60])]
    results = train(trainer, runs)
    assert trainer.compilations == before + 1
    assert len({tuple(result.metrics.loss.tolist()) for result in results}) == len(runs)
    for run, result in zip(runs, results, strict=True):
        assert_parity(run, result)
    plain = a_run(with_loss({}, batch_norm=False), train=DATA.train[:60])
    (wanted,) = train(trainer, [plain])  # a program of its own
    assert distance(results[0].metrics.loss, wanted.metrics.loss) < 1e-6


@pytest.mark.parametrize(
    ("loss", "own"), [*[(loss, False) for loss in LOSSES], (LOSSES[2], True)], ids=str
)
def test_keras_alone_trains_the_same(loss: dict[str, object], own: bool) -> None:
    """The way of optimizers that cannot be mapped."""
    run, rules = a_run(with_loss(loss, batch_norm=False), train=UNEVEN), TrainingRules(30)
    plain = train_plainly(run, OWN_TABLE if own else DATA.table, rules)
    (mapped,) = train(weighted() if own else population(), [run])
    for found, wanted in zip(plain.metrics[:6], mapped.metrics[:6], strict=True):
        assert distance(found, wanted) < TOLERANCE
    for found, wanted in zip(plain.weights, mapped.weights, strict=True):
        assert distance(found, wanted) < TOLERANCE


def test_balanced_classes_weigh_the_same_and_absent_ones_nothing() -> None:
    labels = np.array([0] * 6 + [1] * 2 + [3] * 4)
    weights = class_weights(with_loss(WEIGHED), labels, 5)
    assert weights.tolist() == pytest.approx([12 / 18, 12 / 6, 0, 12 / 12, 0])
    assert weights[labels].mean() == pytest.approx(1)  # so the loss keeps its unit
    assert class_weights(with_loss({}), labels, 5).tolist() == [1] * 5


def test_balanced_raises_the_recall_of_a_rare_class() -> None:
    """Two overlapping classes, 1 in 12 of the rare one."""
    rng = np.random.default_rng(5)
    labels = (np.arange(600) % 12 == 0).astype(np.int32)
    features = rng.normal(size=(600, 6)).astype(np.float32)
    features[:, 0] += 1.5 * labels
    rows = rng.permutation(600).astype(np.int32)
    trainer = LocalTrainer(TrainingTable(features, labels, 2), TrainingRules(10), size=2)
    runs = [
        HeadRun(
            with_loss(loss, dense_width=8, batch_norm=False), rows[:400], rows[400:],
            seed=1, epochs=10,
        )
        for loss in ({"class_weight": "none"}, WEIGHED)
    ]  # fmt: skip
    results = train(trainer, runs)
    rare = rows[400:][labels[rows[400:]] == 1]
    recall = []
    for run, result in zip(runs, results, strict=True):
        head = build_head(run.config, n_features=6, n_classes=2, seed=1)
        head.set_weights(result.weights)
        recall.append(float((np.asarray(head(features[rare])).argmax(axis=1) == 1).mean()))
    assert recall[1] > recall[0] + 0.3, recall


def test_programs_with_weights_have_names_of_their_own() -> None:
    plain = replace(load_space("quick").default("adam"), dense_width=16)
    shape = ProgramShape((50, 6), n_classes=3, size=2)
    names = {
        key_of(signature_of(config, 40, 10), one)
        for config in (plain, replace(plain, loss_hyperparameters=WEIGHED))
        for one in (shape, shape._replace(weighted=True))
    }
    assert len(names) == 4


X, Y = DATA.features, DATA.labels
STOCK = """
[head]
dense_width = 8
dropout = 0.0
batch_norm = false
class_weight = "balanced"
label_smoothing = {smoothing}
[optimizers.sgd]
class = "SGD"
learning_rate = 0.1
"""


def stock(folder: Path, smoothing: float, n_train: int) -> HeadHyperModel:
    path = folder / "space.toml"
    path.write_text(STOCK.format(smoothing=smoothing))
    return HeadHyperModel(
        load_space(str(path)), n_features=N_FEATURES, n_classes=N_CLASSES, n_train=n_train,
        max_epochs=3, seed=1, statistics=Statistics.of(X),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:getName:DeprecationWarning")
@pytest.mark.parametrize(("smoothing", "own"), [(0.0, False), (0.3, False), (0.0, True)])
def test_a_stock_tuner_weighs_the_training_rows(
    smoothing: float, own: bool, tmp_path: Path
) -> None:
    model = stock(tmp_path, smoothing, 115)
    hp = keras_tuner.HyperParameters()
    head, again = model.build(hp), model.build(hp)
    given = {"sample_weight": OWN} if own else {}
    found = model.fit(
        hp, head, X, Y, validation_split=0.5, shuffle=False, verbose=0, **given
    ).history  # fmt: skip
    again.compile(
        again.optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=smoothing),
        metrics=["accuracy"],
    )  # fmt: skip
    run = a_run(model.space.resolve(hp.values), train=np.arange(115))
    truth = np.eye(N_CLASSES)[Y]
    wanted = again.fit(
        X[:115], truth[:115], batch_size=16, shuffle=False, verbose=0,
        validation_data=(X[115:], truth[115:], *([OWN[115:]] if own else ())),
        **weights_for_fit(run, run.train, own),
    ).history  # fmt: skip
    for key, curve in wanted.items():
        assert found[key] == pytest.approx(curve, rel=1e-5), key


def test_a_smoothed_model_is_saved_and_loaded(tmp_path: Path) -> None:
    head = stock(tmp_path, 0.3, 230).build(keras_tuner.HyperParameters())
    head.fit(X, Y, verbose=0)
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    wanted = head.evaluate(X, Y, verbose=0)
    assert again.evaluate(X, Y, verbose=0) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.filterwarnings("default:class_weight is ignored")
def test_a_class_weight_given_beside_the_space_is_not_dropped_silently(tmp_path: Path) -> None:
    model, hp = stock(tmp_path, 0.0, 230), keras_tuner.HyperParameters()
    head = model.build(hp)
    with pytest.warns(UserWarning, match="class_weight is ignored: the search space decides"):
        model.fit(hp, head, X, Y, class_weight={0: 2.0}, verbose=0)
