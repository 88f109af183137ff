"""The code to paste: it runs, and trains the head that the study trained, curve for curve."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from synthetic import make_meta, make_record

from study.common.errors import UserError
from study.records.outcomes import TrainingLength
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord
from study.report.keras_code import keras_code
from study.space import schedule_table
from study.space.head_config import HeadConfig
from study.space.keras_optimizers import keras_optimizers
from study.space.schedule_table import SCHEDULES, ScheduleKind, schedule_keys
from study.space.search_space import load_space
from study.training.head import Statistics, make_optimizer
from study.training.hypermodel import HeadHyperModel
from study.training.loss import keras_class_weight, row_weights
from study.training.schedules import make_schedule

# What `eagerly` sets does not reach tf.data, which is all the same here.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")
CLASSES = ["a", "b", "c"]
EPOCHS, BEST, ROWS, FEATURES = 4, 3, 40, 6
RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 3, ROWS + 20).astype(np.int32)
ROWS_X = (RNG.normal(size=(ROWS + 20, FEATURES)) + np.eye(3, FEATURES)[LABELS]).astype(np.float32)
ROWS_X[:ROWS, -1] = 0.3  # a feature that never varies in the training rows
GIVEN = {"final_factor": 0.013, "power": 1.7, "drops": 3, "staircase": True}
GIVEN |= {"restarts": 1, "period_factor": 2, "peak_factor": 0.7}


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    """A few steps cost less than the tracing of them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def a_config(keras_class: str = "Adam", schedule: str = "constant", **changes: Any) -> HeadConfig:
    """A small head without dropout, trained by whole epochs: nothing random but its beginning."""
    settings = {key: GIVEN[key] for key in schedule_keys(schedule) if key in GIVEN}
    settings = {"schedule_hyperparameters": {**settings, "warmup": 0.0}}
    small = {"dense_width": 8, "dropout": 0.0, "batch_size": "full", "learning_rate": 0.0123}
    plain = {"keras_class": keras_class, "schedule": schedule, "optimizer_hyperparameters": {}}
    return replace(load_space("quick").default("adam"), **(plain | settings | small | changes))


def a_run(config: HeadConfig, epochs: int = BEST) -> tuple[StudyMeta, TrialRecord, TrainingLength]:
    """What the search would have written of a run with this configuration."""
    meta = make_meta(
        [config.optimizer],
        CLASSES,
        settings={"max_epochs": EPOCHS, "image_size": 32, "preprocess": "caffe"},
        split_sizes={"train": ROWS, "validation": 20, "test": 0},
        data={"images": ROWS + 20, "features": FEATURES},
        space={"name": "x", "table": {"optimizers": {config.optimizer: {
            "class": config.keras_class}}}},
    )  # fmt: skip
    record = make_record(
        np.random.default_rng(1), config.optimizer, Phase.CONFIRM, trial_id="x", epochs=EPOCHS,
        hyperparameters=config.hyperparameters(),
    )  # fmt: skip
    curve = np.eye(EPOCHS)[epochs - 1]
    return meta, record, TrainingLength(epochs, curve, 1)


def pasted(code: str, start: list[np.ndarray] | None = None) -> dict[str, Any]:
    """What running the code defines; `start` are the head's first weights."""
    if start is not None:
        code = code.replace("    ])\n", "    ])\n    head.set_weights(start)\n")
    # the only line that a test without a network cannot run as it is
    code = code.replace('pooling="avg")', 'pooling="avg", weights=None)')
    found: dict[str, Any] = {"start": start}
    exec(compile(code, "pasted", "exec"), found)
    return found


def assert_same_curves(config: HeadConfig, own: np.ndarray | None = None) -> None:
    """The pasted code and the study's own model, from the same weights; `own` are of the rows."""
    train, validation = (ROWS_X[:ROWS], LABELS[:ROWS]), (ROWS_X[ROWS:], LABELS[ROWS:])
    model = HeadHyperModel(
        load_space("quick"), n_features=FEATURES, n_classes=3, n_train=ROWS, max_epochs=EPOCHS,
        seed=3, statistics=Statistics.of(train[0]),
    ).build_config(config)  # fmt: skip
    meta, *run = a_run(config)
    weigh = {"class_weight": keras_class_weight(config, train[1])}
    given = () if own is None else (own,)
    if own is not None:
        meta = replace(meta, data={**meta.data, "sample_weight": "sample weights: 0 to 2"})
        weigh = {"sample_weight": row_weights(config, train[1], train[1], own)}
    code = pasted(keras_code(meta, *run), model.get_weights())
    size = ROWS if config.batch_size == "full" else int(config.batch_size)
    wanted = model.fit(
        *train, batch_size=size, epochs=BEST, validation_data=validation, shuffle=False, verbose=0,
        **weigh,
    ).history  # fmt: skip
    head = code["train"](*train, *given, validation_data=validation, shuffle=False, verbose=0)
    found = head.history.history
    assert len(found["loss"]) == BEST  # not as many as the schedule spans
    for key, curve in wanted.items():
        np.testing.assert_allclose(found[key], curve, rtol=1e-5, atol=1e-6, err_msg=key)
    assert wanted["loss"][0] != wanted["loss"][-1]


@pytest.mark.parametrize("keras_class", keras_optimizers())
def test_every_class_is_trained_as_the_study_trains_it(keras_class: str) -> None:
    assert_same_curves(a_config(keras_class))


@pytest.mark.parametrize("warmup", [0.0, 0.3])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_is_followed_as_the_study_follows_it(schedule: str, warmup: float) -> None:
    config = a_config("SGD", schedule, batch_size=16)
    settings = {**config.schedule_hyperparameters, "warmup": warmup}
    assert_same_curves(replace(config, schedule_hyperparameters=settings))


@pytest.mark.parametrize("changes", [{}, {"batch_norm": False}, {"normalize": True}])
def test_the_head_is_the_studys_with_its_own_mean_and_variance(changes: dict[str, Any]) -> None:
    assert_same_curves(a_config("Adam", **changes))


@pytest.mark.parametrize(
    ("loss", "schedule"),
    [
        ({"class_weight": "balanced"}, "cosine"),
        ({"label_smoothing": 0.2}, "constant"),
        ({"class_weight": "balanced", "label_smoothing": 0.2}, "constant"),
        ({"class_weight": "balanced", "label_smoothing": 0.2}, "cosine"),
        ({"class_weight": "none", "label_smoothing": 0.0}, "constant"),
    ],
    ids=str,
)
def test_the_loss_is_the_studys(loss: dict[str, Any], schedule: str) -> None:
    config = a_config("Adam", schedule, batch_size=16, loss_hyperparameters=loss)
    settings = {**config.schedule_hyperparameters, "warmup": 0.3}
    assert_same_curves(replace(config, schedule_hyperparameters=settings))
    code = keras_code(*a_run(config))
    assert ("class_weight=class_weight" in code) == config.balanced
    assert ("SmoothedCrossentropy" in code) == (config.label_smoothing > 0)


def test_rows_weigh_as_they_did_in_the_study() -> None:
    weights = RNG.uniform(0, 2, ROWS).astype(np.float32)
    balanced = {"class_weight": "balanced"}
    assert_same_curves(a_config(batch_size=16, loss_hyperparameters=balanced), weights)


def test_the_code_says_why_it_trains_for_so_many_epochs() -> None:
    meta, run, _ = a_run(a_config("Adam"))
    curve = np.array([0.5, 0.7, 0.912, 0.901])
    text = keras_code(meta, run, TrainingLength(3, curve, 40))
    said = " ".join(line.removeprefix("# ") for line in text.partition("import")[0].splitlines())
    assert said.strip() == (
        "adam, with the settings of its typical winner. Train 3 epochs: there the mean validation "
        "accuracy of 40 confirmation runs (the winners of all repeats) is highest (91.2 %; 90.1 % "
        "at epoch 4)."
    )
    assert "epochs=3," in text
    whole = keras_code(meta, run, TrainingLength(1, curve[:1], 1))
    assert "Train 1 epoch: there the validation accuracy of this run is highest (50.0 %)." in (
        whole.replace("\n# ", " ")
    )


def test_a_pasted_model_with_smoothed_labels_is_saved_and_loaded(tmp_path: Path) -> None:
    config = a_config("Adam", loss_hyperparameters={"label_smoothing": 0.2})
    head = pasted(keras_code(*a_run(config)))["train"](ROWS_X[:ROWS], LABELS[:ROWS], verbose=0)
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    wanted = head.evaluate(ROWS_X, LABELS, verbose=0)
    assert again.evaluate(ROWS_X, LABELS, verbose=0) == pytest.approx(wanted, rel=1e-5)


def test_the_posts_own_decay_is_pasted_in_steps() -> None:
    settings = {"decay_steps": 4, "decay_rate": 0.96, "staircase": True, "warmup": 0.0}
    config = a_config("Adam", "exponential", schedule_hyperparameters=settings, batch_size=16)
    code = keras_code(*a_run(config))
    assert all(words in code for words in ("decay_steps=4", "decay_rate=0.96", "staircase=True"))
    assert_same_curves(config)


@pytest.mark.parametrize("name", list(load_space("default").optimizers))
def test_the_optimizer_has_the_hyperparameters_of_the_study(name: str) -> None:
    config = load_space("default").default(name)
    code = pasted(keras_code(*a_run(config, epochs=1)))
    head = code["train"](ROWS_X[:ROWS], LABELS[:ROWS], verbose=0)
    wanted = make_optimizer(config, config.learning_rate)
    assert type(head.optimizer) is type(wanted)
    assert head.optimizer.get_config() | {"name": ""} == wanted.get_config() | {"name": ""}


@pytest.mark.parametrize("preprocess", ["caffe", "rescale"])
def test_the_whole_model_goes_from_pixels_to_probabilities(preprocess: str) -> None:
    meta, run, length = a_run(load_space("quick").default("sgd"))
    meta = replace(meta, settings={**meta.settings, "preprocess": preprocess})
    meta = replace(meta, data={"features": 512})
    found = pasted(keras_code(meta, run, length))
    rows = np.zeros((3, 512), np.float32)
    head = found["train"](rows, np.arange(3), verbose=0)
    model = found["from_pixels"](head)
    assert model.input_shape == (None, 32, 32, 3) and model.output_shape == (None, 3)
    assert model.count_params() == 14_714_688 + head.count_params()
    assert len(model.trainable_weights) == len(head.trainable_weights)


def test_a_pasted_model_with_a_warmup_is_saved_loaded_and_trained_on(tmp_path: Path) -> None:
    config = a_config("Adam", "cosine")
    settings = {**config.schedule_hyperparameters, "warmup": 0.5}
    code = keras_code(*a_run(replace(config, schedule_hyperparameters=settings)))
    head = pasted(code)["train"](ROWS_X[:ROWS], LABELS[:ROWS], verbose=0)
    head.save(tmp_path / "head.keras")
    again = keras.models.load_model(tmp_path / "head.keras")
    rates = [model.optimizer._learning_rate for model in (head, again)]
    for step in range(EPOCHS):
        assert float(rates[0](step)) == float(rates[1](step))
    again.fit(ROWS_X[:ROWS], LABELS[:ROWS], verbose=0)
    assert int(again.optimizer.iterations) == int(head.optimizer.iterations) + 2  # two batches


def test_a_new_kind_of_schedule_is_one_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The space reads it, training builds it, the report prints it."""
    restarts = ScheduleKind(
        {"final_factor": schedule_table.FINAL_FACTOR},
        "CosineDecayRestarts",
        lambda peak, steps, settings: {
            "initial_learning_rate": peak,
            "first_decay_steps": max(steps // 3, 1),
            "alpha": float(settings["final_factor"]),
        },
    )
    monkeypatch.setitem(SCHEDULES, "restarts", restarts)
    path = tmp_path / "space.toml"
    path.write_text('[schedules.restarts]\nfinal_factor = 0.1\n[optimizers.sgd]\nclass = "SGD"\n')
    config = load_space(str(path)).default("sgd")
    assert config.schedule == "restarts"
    assert type(make_schedule(config, 30)).__name__ == "CosineDecayRestarts"
    assert_same_curves(a_config("SGD", "restarts", batch_size=16))


def test_what_cannot_be_printed_is_named() -> None:
    meta, run, length = a_run(a_config("Adam"))
    other = {"optimizers": {run.optimizer: {"class": "Adamant"}}}
    with pytest.raises(UserError, match="class 'Adamant' of optimizer adam cannot be printed"):
        keras_code(replace(meta, space={"name": "x", "table": other}), run, length)
    strange = {**run.hyperparameters, "schedule": "zigzag"}
    with pytest.raises(UserError, match="no such schedule: 'zigzag'"):
        keras_code(meta, replace(run, hyperparameters=strange), length)
    less = {key: value for key, value in run.hyperparameters.items() if key != "dropout"}
    with pytest.raises(UserError, match="lacks the hyperparameter 'dropout'"):
        keras_code(meta, replace(run, hyperparameters=less), length)
