"""The code to paste: it runs, and gives the head, rates and optimizer that the study trained."""

import dataclasses

import keras
import numpy as np
import pytest
from synthetic import make_meta

from study.report.analysis.winners import Settings
from study.report.keras_code import snippet
from study.space.head_config import HeadConfig
from study.space.space import load_space
from study.training.head import build_head, steps_per_epoch
from study.training.hypermodel import make_optimizer
from study.training.schedules import make_schedule

CLASSES = ["a", "b", "c"]
EPOCHS, ROWS = 7, 100
SCHEDULES = {
    "constant": {},
    "exponential": {"final_factor": 0.013, "staircase": True},
    "cosine": {"final_factor": 0.2, "warmup": 0.1},
    "linear": {"final_factor": 0.1, "warmup": 0.05},
    "polynomial": {"final_factor": 0.1, "power": 1.7},
    "inverse_time": {"final_factor": 0.3},
    "steps": {"final_factor": 0.01, "drops": 3},
}


def pasted(config: HeadConfig, **settings):
    """What running the snippet of `config` defines."""
    table = {"optimizers": {config.optimizer: {"class": config.keras_class}}}
    meta = make_meta(
        [config.optimizer],
        CLASSES,
        settings={"max_epochs": EPOCHS, "image_size": 32, "preprocess": "caffe"} | settings,
        split_sizes={"train": ROWS, "validation": 20, "test": 0},
        space={"name": "x", "table": table},
    )
    values = config.hyperparameters()
    code = snippet(meta, Settings(config.optimizer, 0, values, {}, {0: values}, EPOCHS))
    # the only line that a test without a network cannot run as it is
    code = code.replace('pooling="avg")', 'pooling="avg", weights=None)')
    found: dict = {}
    exec(compile(code, "snippet", "exec"), found)
    return found


def rates(schedule, total: int) -> np.ndarray:
    steps = [schedule(step) if callable(schedule) else schedule for step in range(total)]
    return np.array([float(keras.ops.convert_to_numpy(rate)) for rate in steps])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("batch_size", [16, "full"])
def test_the_learning_rates_are_those_of_the_study(schedule, batch_size):
    config = dataclasses.replace(
        load_space("quick").default("adam"),
        schedule=schedule,
        schedule_hyperparameters=SCHEDULES[schedule],
        batch_size=batch_size,
        learning_rate=0.0123,
    )
    total = EPOCHS * steps_per_epoch(config, ROWS)
    wanted = rates(make_schedule(config, total), total)
    assert rates(pasted(config)["schedule"], total) == pytest.approx(wanted, rel=1e-6)


def test_the_posts_own_decay_is_pasted_in_steps():
    config = dataclasses.replace(
        load_space("quick").default("adam"),
        schedule="exponential",
        schedule_hyperparameters={"decay_steps": 60, "decay_rate": 0.96, "staircase": True},
    )
    schedule = pasted(config)["schedule"]
    assert schedule.get_config()["decay_steps"] == 60 and schedule.get_config()["staircase"]


@pytest.mark.parametrize("name", list(load_space("default").optimizers))
def test_the_optimizer_and_its_hyperparameters_are_those_of_the_study(name):
    config = load_space("default").default(name)
    found = pasted(config)["optimizer"]
    wanted = make_optimizer(config, config.learning_rate)
    assert type(found) is type(wanted)
    assert found.get_config() | {"name": ""} == wanted.get_config() | {"name": ""}


@pytest.mark.parametrize("changes", [{}, {"batch_norm": False}, {"normalize": True}])
def test_the_head_has_the_layers_and_parameters_of_the_study(changes):
    config = dataclasses.replace(
        load_space("quick").default("sgd"), dense_width=64, dropout=0.31, **changes
    )
    head = pasted(config)["head"]
    plain = dataclasses.replace(config, normalize=False)
    wanted = build_head(plain, n_features=512, n_classes=3, seed=1)
    assert head.count_params() == wanted.count_params()
    kinds = [type(layer).__name__ for layer in head.layers]
    assert kinds[-len(wanted.layers) :] == [type(layer).__name__ for layer in wanted.layers]
    assert ("Normalization" in kinds) == config.normalize
    assert head.get_layer(index=-2).rate == 0.31


@pytest.mark.parametrize("preprocess", ["caffe", "rescale"])
def test_the_whole_model_goes_from_pixels_to_probabilities(preprocess):
    found = pasted(load_space("quick").default("sgd"), preprocess=preprocess)
    model = found["from_pixels"](found["head"])
    assert model.input_shape == (None, 32, 32, 3) and model.output_shape == (None, 3)
    assert model.count_params() == 14_714_688 + found["head"].count_params()
    assert len(model.trainable_weights) == len(found["head"].trainable_weights)
