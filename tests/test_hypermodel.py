"""`HeadHyperModel` in the hands of a stock Keras Tuner."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from study.space.schedule_table import SCHEDULES
from study.space.search_space import SearchSpace, load_space
from study.training.hypermodel import HeadHyperModel

# Keras Tuner uses old names for threads.
pytestmark = pytest.mark.filterwarnings(
    "ignore:currentThread:DeprecationWarning",
    "ignore:getName:DeprecationWarning",
    "ignore:Even though the `tf.config:UserWarning",  # of `eagerly`, all the same here
)
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 4, 150).astype("int32")
X = (RNG.normal(size=(150, 20)) + 2.4 * np.eye(4, 20)[Y]).astype("float32")
TRAIN, VALIDATION = (X[:100], Y[:100]), (X[100:], Y[100:])


@pytest.fixture(autouse=True)
def eagerly() -> Iterator[None]:
    """A few steps cost less than the tracing of them."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def read(folder: Path, text: str) -> SearchSpace:
    path = folder / "space.toml"
    path.write_text(
        f"[head]\ndense_width = 16\n{text}\n"
        '[optimizers.adam]\nclass = "Adam"\nlearning_rate = 1e-3\n'
    )
    return load_space(str(path))


def hypermodel(space: SearchSpace) -> HeadHyperModel:
    return HeadHyperModel(space, n_features=20, n_classes=4, n_train=100, max_epochs=4, seed=1)


def search(folder: Path, space: SearchSpace, *data: Any, executions: int = 1, **more: Any) -> Any:
    """A stock grid search; what it was given at the end of every epoch."""
    seen: list[dict[str, float]] = []

    class Seen(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            seen.append(dict(logs or {}))

        def __deepcopy__(self, memo: object) -> "Seen":
            return self

    tuner = keras_tuner.GridSearch(
        hypermodel(space), "val_accuracy", executions_per_trial=executions, directory=folder
    )
    tuner.search(*data, validation_data=VALIDATION, epochs=1, verbose=0, callbacks=[Seen()], **more)
    return seen


def test_executions_of_one_trial_begin_with_different_weights(tmp_path: Path) -> None:
    seen = search(tmp_path, read(tmp_path, "dropout = 0.0"), *TRAIN, executions=2, shuffle=False)
    assert len({round(logs["val_loss"], 6) for logs in seen}) == 2


def test_executions_are_the_same_again_in_another_process(tmp_path: Path) -> None:
    space, hp = read(tmp_path, ""), keras_tuner.HyperParameters()
    kernels: list[list[bytes]] = []
    for model in (hypermodel(space), hypermodel(space)):
        kernels.append([])
        for _ in range(3):
            built = model.build(hp)
            kernels[-1].append(built.get_weights()[0].tobytes())
            model.fit(hp, built, *TRAIN, verbose=0)
    assert kernels[0] == kernels[1] and len(set(kernels[0])) == 3


def test_the_first_execution_has_the_weights_of_the_seed(tmp_path: Path) -> None:
    model = hypermodel(read(tmp_path, ""))
    hp = keras_tuner.HyperParameters()
    built = [model.build(hp).get_weights() for _ in range(3)]  # builds without training
    config = model.space.resolve(hp.values)
    for weights in built:
        assert np.array_equal(weights[0], model.build_config(config).get_weights()[0])


@pytest.mark.filterwarnings(
    "default:the data are already in batches", "ignore:`shuffle=True` was passed"
)
def test_of_data_in_batches_it_is_said_that_their_size_cannot_be_tuned(tmp_path: Path) -> None:
    ready = tf.data.Dataset.from_tensor_slices(TRAIN).batch(16)
    with pytest.warns(UserWarning, match="so this trial's batch_size = .* is ignored"):
        search(tmp_path, read(tmp_path, "batch_size = {choices = [4, 50]}"), ready)


@pytest.mark.filterwarnings("default:batch_size=8 is ignored")
def test_a_batch_size_given_beside_the_space_is_not_dropped_silently(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="batch_size=8 is ignored: .* this trial has 16"):
        search(tmp_path, read(tmp_path, ""), *TRAIN, batch_size=8)
    search(tmp_path / "same", read(tmp_path, ""), *TRAIN, batch_size=16)  # no warning


@pytest.mark.parametrize("warmup", [0.0, 0.2])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_saved_model_is_loaded_and_trained_on(
    schedule: str, warmup: float, tmp_path: Path
) -> None:
    space = read(tmp_path, f"[schedules.{schedule}]\nwarmup = {warmup}")
    model = hypermodel(space).build(keras_tuner.HyperParameters())
    model.fit(*TRAIN, batch_size=50, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, again):
        one.fit(*TRAIN, batch_size=50, shuffle=False, verbose=0)
    assert int(again.optimizer.iterations) == 4
    for found, wanted in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.allclose(found, wanted, atol=0.1)  # dropout draws anew
    rates = [one.optimizer._learning_rate for one in (model, again)]
    assert all(
        float(rates[0](step)) == float(rates[1](step)) if callable(rates[0]) else True
        for step in range(28)
    )
