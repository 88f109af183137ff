"""The head, its schedules and its optimizer, against Keras and against closed formulas."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

from study.features.backbone import load_backbone
from study.space.head_config import HeadConfig
from study.space.schedule_table import SCHEDULES, schedule_keys
from study.space.search_space import load_space
from study.training.head import (
    Statistics,
    build_head,
    head_probabilities,
    rows_per_step,
    steps_per_epoch,
    whole_model,
)
from study.training.hypermodel import HeadHyperModel
from study.training.schedules import learning_rates, make_schedule
from study.training.warm_up import WarmUp

PEAK, STEPS, FACTOR = 0.5, 120, 0.01
BLOG = load_space("blog_t11").default("adam")


def config(schedule: str = "constant", *, peak: float = PEAK, **hyperparameters: Any) -> HeadConfig:
    known = {"final_factor": FACTOR, "power": 2.0, "drops": 2, "staircase": False, "warmup": 0.0}
    known |= {"restarts": 2, "period_factor": 2, "peak_factor": 1.0}
    given = {
        key: value for key, value in known.items() if key in schedule_keys(schedule)
    } | hyperparameters
    if "decay_steps" in hyperparameters:
        del given["final_factor"]
    return replace(BLOG, learning_rate=peak, schedule=schedule, schedule_hyperparameters=given)


# ---- the model ----


@pytest.fixture(scope="module")
def blog_models() -> tuple[keras.Model, keras.Model]:
    """The post's head for 17 classes, and the whole model from pixels of 336 x 336."""
    backbone = load_backbone("random", image_size=336, preprocess="rescale", device="cpu")
    head = build_head(BLOG, n_features=512, n_classes=17, seed=1)
    return head, whole_model(backbone.model, head)


def count(variables: list[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def test_the_whole_model_has_the_posts_parameters(blog_models: tuple[keras.Model, keras.Model]):
    _, whole = blog_models
    assert whole.input_shape == (None, 336, 336, 3)
    assert whole.output_shape == (None, 17)
    assert whole.count_params() == count(whole.weights) == 14_805_485
    assert count(whole.trainable_variables) == 90_457
    assert count(whole.non_trainable_weights) == 14_715_028


def test_the_head_has_the_posts_layers(blog_models: tuple[keras.Model, keras.Model]):
    head, _ = blog_models
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds == ["Dense", "BatchNormalization", "Dropout", "Dense"]
    dense, _, dropout, last = head.layers
    assert (dense.units, dense.activation.__name__) == (170, "relu")
    assert dropout.rate == 0.5
    assert (last.units, last.activation.__name__) == (17, "softmax")


def test_the_whole_model_from_pixels_reloads_in_plain_keras(tmp_path: Path):
    backbone = load_backbone("random", image_size=32, preprocess="caffe", device="cpu")
    head = build_head(BLOG, n_features=512, n_classes=5, seed=2)
    whole = whole_model(backbone.model, head)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    whole.save(tmp_path / "winner.keras")
    again = keras.saving.load_model(tmp_path / "winner.keras", safe_mode=True)
    assert np.allclose(
        again.predict(pixels, verbose=0), whole.predict(pixels, verbose=0), atol=1e-6
    )
    assert np.allclose(whole.predict(pixels, verbose=0).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_saved_head_reloads_in_plain_keras(normalize: bool, tmp_path: Path):
    rows = np.random.default_rng(1).normal(3, 2, size=(40, 16)).astype("float32")
    wanted = replace(BLOG, normalize=normalize, dense_width=9)
    head = build_head(wanted, n_features=16, n_classes=4, seed=3, statistics=Statistics.of(rows))
    head.save(tmp_path / "head.keras")
    again = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True)
    probabilities = head.predict(rows, verbose=0)
    assert np.allclose(again.predict(rows, verbose=0), probabilities, atol=1e-6)
    direct = head_probabilities(wanted, head.get_weights(), rows, Statistics.of(rows))
    assert np.allclose(direct, probabilities, atol=1e-6)


def test_a_feature_that_never_varied_in_training_does_not_drown_the_others():
    rows = np.random.default_rng(1).normal(size=(120, 6)).astype(np.float32)
    rows[:, 1] = 0.3
    statistics = Statistics.of(rows)
    wanted = replace(BLOG, normalize=True)
    head = build_head(wanted, n_features=6, n_classes=3, seed=1, statistics=statistics)
    new = rows[:4].copy()
    new[:, 1] = 0.8
    found = keras.ops.convert_to_numpy(head.get_layer("normalize")(new))
    others = np.arange(6) != 1
    np.testing.assert_allclose(found[:, 1], 0.5, atol=1e-6)
    plainly = (new - rows.mean(axis=0)) / rows.std(axis=0)
    np.testing.assert_allclose(found[:, others], plainly[:, others], atol=1e-5)


def test_normalizing_uses_the_training_rows_and_refuses_to_do_without():
    rows = np.random.default_rng(1).normal(3, 2, size=(400, 16)).astype("float32")
    wanted = replace(BLOG, normalize=True)
    head = build_head(wanted, n_features=16, n_classes=4, seed=3, statistics=Statistics.of(rows))
    standardized = keras.ops.convert_to_numpy(head.layers[0](rows))
    assert np.allclose(standardized.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(standardized.std(axis=0), 1, atol=1e-3)
    with pytest.raises(ValueError, match="needs the statistics of the training rows"):
        build_head(wanted, n_features=16, n_classes=4, seed=3)


def test_the_seed_decides_the_initial_weights():
    a, b, c = (
        build_head(BLOG, n_features=8, n_classes=3, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], c[0]) and not np.array_equal(a[-2], c[-2])


# ---- steps and batches ----


@pytest.mark.parametrize(
    ("batch_size", "n_train", "rows", "steps"),
    [
        (16, 1440, 16, 90),  # the post's
        (16, 120, 16, 8),
        (16, 121, 16, 8),
        (16, 10, 10, 1),
        (1, 120, 1, 120),  # stochastic gradient descent
        ("full", 120, 120, 1),  # batch gradient descent
    ],
)
def test_an_epoch_has_the_steps_that_the_batch_size_gives(
    batch_size: int | str, n_train: int, rows: int, steps: int
):
    wanted = replace(BLOG, batch_size=batch_size)
    assert rows_per_step(wanted, n_train) == rows
    assert steps_per_epoch(wanted, n_train) == steps


@pytest.mark.parametrize(("batch_size", "steps"), [("full", 2), (1, 48), (10, 6)])
def test_training_takes_these_steps(batch_size: int | str, steps: int):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 8)).astype("float32"), rng.integers(0, 3, 24)
    space = load_space("quick")
    space = replace(
        space,
        head={**space.head, "batch_size": space.head["batch_size"]._replace(choices=(batch_size,))},
    )
    hypermodel = HeadHyperModel(
        space, n_features=8, n_classes=3, n_train=24, max_epochs=2, seed=1, optimizer="sgd"
    )
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    hypermodel.fit(hp, model, x, y, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == steps


def test_building_a_head_makes_no_vgg16():
    hypermodel = HeadHyperModel(
        load_space("default"), n_features=512, n_classes=40, n_train=120, max_epochs=30, seed=1
    )
    model = hypermodel.build(keras_tuner.HyperParameters())
    assert model.count_params() < 200_000
    assert {type(layer).__name__ for layer in model.layers} <= {
        "Dense", "BatchNormalization", "Dropout", "Normalization",
    }  # fmt: skip
    assert model.input_shape == (None, 512)


# ---- schedules ----


def formula(schedule: str, s: np.ndarray) -> np.ndarray:
    """The learning rate at step `s` of STEPS, by the definitions."""
    part = s / STEPS
    match schedule:
        case "constant":
            return np.full(len(s), PEAK)
        case "exponential":
            return PEAK * FACTOR**part
        case "cosine":
            return PEAK * (FACTOR + (1 - FACTOR) * 0.5 * (1 + np.cos(np.pi * part)))
        case "cosine_restarts":  # periods of 1, 2 and 4 sevenths
            part = s / (STEPS - 0.5)
            start = np.select([part < 1 / 7, part < 3 / 7], [0, 1 / 7], 3 / 7)
            length = np.select([part < 1 / 7, part < 3 / 7], [1 / 7, 2 / 7], 4 / 7)
            cosine = 0.5 * (1 + np.cos(np.pi * (part - start) / length))
            return PEAK * (FACTOR + (1 - FACTOR) * cosine)
        case "linear":
            return PEAK * (FACTOR + (1 - FACTOR) * (1 - part))
        case "polynomial":
            return PEAK * (FACTOR + (1 - FACTOR) * (1 - part) ** 2)
        case "inverse_time":
            return PEAK / (1 + (1 / FACTOR - 1) * part)
        case _:  # steps: two drops, at a third and at two thirds
            return PEAK * FACTOR ** (np.floor(part * 3 + 1e-9) / 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_follows_its_formula_from_the_peak(schedule: str):
    rates = learning_rates(config(schedule), STEPS)
    assert rates.dtype == np.float32 and rates.shape == (STEPS,)
    assert math.isclose(rates[0], PEAK, rel_tol=1e-6)
    assert np.allclose(rates, formula(schedule, np.arange(STEPS)), rtol=1e-4)
    assert (np.diff(rates) > 1e-9).sum() == (2 if schedule == "cosine_restarts" else 0)


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "constant"])
@pytest.mark.parametrize("staircase", [False, True])
def test_a_schedule_ends_at_the_final_factor(schedule: str, staircase: bool):
    hyperparameters = {"staircase": staircase} if schedule == "exponential" else {}
    made = make_schedule(config(schedule, **hyperparameters), STEPS)
    end = STEPS - 0.51 if schedule == "cosine_restarts" else STEPS  # before it would restart
    assert math.isclose(float(made(end)), PEAK * FACTOR, rel_tol=1e-4)  # where the study ends


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("peak", [1.0, 0.5])
def test_restarts_are_as_many_as_asked_for_each_from_its_peak(times: int, peak: float):
    given = {"restarts": 3, "period_factor": times, "peak_factor": peak, "final_factor": 1e-6}
    rates = learning_rates(config("cosine_restarts", **given), 4000)
    starts = [0, *(np.flatnonzero(np.diff(rates) > 0) + 1)]
    assert np.allclose(rates[starts], [PEAK * peak**i for i in range(4)], rtol=0.02)
    lengths = np.diff([*starts, 4000])
    assert np.allclose(lengths[1:] / lengths[:-1], times, rtol=0.05) and rates[-1] < PEAK / 1000


def test_a_staircase_has_ten_equal_drops():
    rates = learning_rates(config("exponential", staircase=True), STEPS)
    stairs = PEAK * FACTOR ** (np.floor(np.arange(STEPS) / 12) / 10)
    assert np.allclose(rates, stairs, rtol=1e-4)
    assert len(set(rates.tolist())) == 10


@pytest.mark.parametrize("drops", [1, 2, 3, 7])
def test_steps_drop_by_equal_factors_at_equal_distances(drops: int):
    rates = learning_rates(config("steps", drops=drops), STEPS)
    levels = [PEAK * FACTOR ** (drop / drops) for drop in range(drops + 1)]
    assert np.allclose(sorted(set(rates.tolist()), reverse=True), levels, rtol=1e-5)
    lengths = [int(np.isclose(rates, level, rtol=1e-4).sum()) for level in levels]
    assert max(lengths) - min(lengths) <= 1


def test_the_posts_staircase_is_kerass_own():
    """ExponentialDecay(1e-4, decay_steps=60, decay_rate=0.96, staircase=True)."""
    space = load_space("blog_t11")
    rates = learning_rates(space.default("adam_staircase"), 90 * 50)
    assert np.allclose(rates, 1e-4 * 0.96 ** (np.arange(4500) // 60), rtol=1e-5)
    assert len(set(rates[:60].tolist())) == 1 and rates[60] < rates[59]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_rises_to_the_peak_and_then_the_schedule_begins(schedule: str):
    rates = learning_rates(config(schedule, warmup=0.25), STEPS)
    rising = STEPS // 4
    assert np.allclose(rates[:rising], PEAK * (np.arange(rising) + 1) / rising, rtol=1e-5)
    assert np.allclose(rates[rising:], learning_rates(config(schedule), STEPS - rising), rtol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.1])
@pytest.mark.parametrize("staircase", [False, True])
def test_the_table_is_the_schedule_called_step_by_step(
    schedule: str, warmup: float, staircase: bool
):
    hyperparameters = {"staircase": staircase} if schedule == "exponential" else {}
    wanted = config(schedule, warmup=warmup, **hyperparameters)
    made = make_schedule(wanted, STEPS)
    one_by_one = [float(made(step)) if callable(made) else made for step in range(STEPS)]
    assert np.allclose(learning_rates(wanted, STEPS), one_by_one, rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_run_of_few_steps_has_a_schedule_too(schedule: str, steps: int):
    for warmup in (0.0, 0.5, 0.99):
        rates = learning_rates(config(schedule, warmup=warmup), steps)
        assert rates.shape == (steps,)
        assert np.isfinite(rates).all() and (rates > 0).all() and (rates <= PEAK * 1.00001).all()


def test_no_decay_is_no_decay():
    for schedule in SCHEDULES:
        wanted = config(schedule)
        if "final_factor" in wanted.schedule_hyperparameters:
            wanted = config(schedule, final_factor=1.0)
        assert np.allclose(learning_rates(wanted, STEPS), PEAK, rtol=1e-6)


def test_an_optimizer_with_warm_up_is_saved_and_loaded():
    made = make_schedule(config("cosine", warmup=0.25), STEPS)
    assert isinstance(made, WarmUp)
    again = WarmUp.from_config(made.get_config())
    assert [float(again(step)) for step in (0, 29, 30, 119)] == [
        float(made(step)) for step in (0, 29, 30, 119)
    ]


def test_the_horizon_is_the_studys_and_not_a_rungs():
    space = load_space("default")
    short, long = (
        HeadHyperModel(
            space, n_features=8, n_classes=3, n_train=160, max_epochs=epochs, seed=1
        ).build_config(config("linear"))
        for epochs in (10, 30)
    )
    rates = [float(model.optimizer._learning_rate(100)) for model in (short, long)]
    expected = [PEAK * (FACTOR + (1 - FACTOR) * (1 - 100 / steps)) for steps in (100, 300)]
    assert np.allclose(rates, expected, rtol=1e-5)
