"""The population trainer against Keras training the same head: same weights, same batches."""

import gc
import time
from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from study.common.seeds import stream
from study.space.head_config import ACTIVATIONS, HeadConfig
from study.space.keras_optimizers import keras_arguments, keras_optimizers
from study.space.search_space import load_space
from study.training.epochs import dropout_noise, threefry
from study.training.head import Statistics, build_head
from study.training.hypermodel import HeadHyperModel
from study.training.population import LocalTrainer
from study.training.program_key import WIDTHS, ProgramShape, few_widths
from study.training.programs import Programs, compiled_ahead
from study.training.runs import HeadResult, HeadRun, TrainingRules, TrainingTable
from study.training.stateless_optimizers import stateless_optimizer

N_FEATURES, N_CLASSES, MAX_EPOCHS = 24, 5, 30
SPACE = load_space("default")
# Both sides compute in float32 and differ in the order of sums only: 6e-8 a step and weight, which
# 200 steps of a stable run amplify a hundredfold. Optimizers that divide by the gradient's own size
# (Adam's first steps are lr * g / |g|) turn noise in tiny gradients into steps of full size.
TOLERANCE = 1e-4
RATES = {  # where 200 steps are stable, so that rounding is not amplified by chaos
    "sgd": 0.05, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.02, "adadelta": 0.5,
    "rmsprop": 1e-3, "adam": 2e-3, "amsgrad": 2e-3, "adamw": 2e-3, "nadam": 2e-3, "adamax": 2e-3,
    "lion": 3e-4,
}  # fmt: skip
SCHEDULES = {
    "exponential": {"final_factor": 0.05, "staircase": True, "warmup": 0.0},
    "cosine": {"final_factor": 0.01, "warmup": 0.1},
    "linear": {"final_factor": 0.1, "warmup": 0.0},
    "polynomial": {"final_factor": 0.1, "power": 2.0, "warmup": 0.0},
    "inverse_time": {"final_factor": 0.1, "warmup": 0.05},
    "steps": {"final_factor": 0.1, "drops": 2, "warmup": 0.0},
    "cosine_restarts": {
        "final_factor": 0.01, "restarts": 2, "period_factor": 2, "peak_factor": 0.8, "warmup": 0.1,
    },
    "constant": {"warmup": 0.0},
}  # fmt: skip


class Data:
    """Separable by a linear map with noise, positive like pooled features."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.labels = rng.integers(0, N_CLASSES, 230).astype(np.int32)
        centres = rng.normal(size=(N_CLASSES, N_FEATURES))
        noise = rng.normal(size=(230, N_FEATURES))
        self.features = np.maximum(centres[self.labels] + noise, 0).astype(np.float32)
        rows = rng.permutation(230).astype(np.int32)
        self.train, self.validation = rows[:106], rows[106:]  # 106 = 6 * 16 + 10: a partial batch
        self.table = TrainingTable(self.features, self.labels, N_CLASSES)


DATA = Data()


def configuration(name: str, **changes: object) -> HeadConfig:
    """The space's default of an optimizer, small, stable and without dropout."""
    changes = {"dense_width": 24, "dropout": 0.0, "learning_rate": RATES[name]} | changes
    return replace(SPACE.default(name), **changes)


def of_class(keras_class: str, **changes: object) -> HeadConfig:
    """Any class of keras.optimizers at Keras's defaults."""
    base = {
        "keras_class": keras_class,
        "optimizer_hyperparameters": {},
        "optimizer": keras_class.lower(),
    }
    return configuration("adam", **(base | changes))


@cache  # tests share compiled programs
def population(size: int = 2, widths: tuple[int, ...] = WIDTHS) -> LocalTrainer:
    return LocalTrainer(DATA.table, TrainingRules(MAX_EPOCHS, widths), size)


def a_run(config: HeadConfig, seed: int = 11, epochs: int = 3, **more: object) -> HeadRun:
    given = {"train": DATA.train, "validation": DATA.validation, "state": None} | more
    return HeadRun(config, seed=seed, epochs=epochs, **given)


def train(trainer: LocalTrainer, runs: list[HeadRun]) -> list[HeadResult]:
    found = {index: result for part in trainer.train(runs) for index, result in part}
    return [found[index] for index in range(len(runs))]


def keras_training(
    run: HeadRun, *, compiled: bool = False
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Curves and weights of `HeadHyperModel.build_config`, trained batch by batch by Keras.

    With `compiled` its sums are taken as the population takes them: XLA compiles the step, and
    batch norm takes Keras's way for masked rows, with a mask of all rows.
    """
    model = HeadHyperModel(
        SPACE,
        n_features=N_FEATURES,
        n_classes=N_CLASSES,
        n_train=len(run.train),
        max_epochs=MAX_EPOCHS,
        seed=run.seed,
        statistics=Statistics.of(DATA.features[run.train]),
    ).build_config(run.config)
    if compiled and run.config.batch_norm:
        take_masked_moments(model.get_layer("batch_norm"))
    labels, weights = DATA.labels, None
    if run.config.has_own_loss:
        labels, weights = np.eye(N_CLASSES, dtype=np.float32)[labels], balanced(run)
        smoothed = keras.losses.CategoricalCrossentropy(label_smoothing=run.config.label_smoothing)
        model.compile(model.optimizer, smoothed, metrics=["accuracy"])
    model.jit_compile = compiled  # without it seconds less to compile
    batch = len(run.train) if run.config.batch_size == "full" else run.config.batch_size
    curves: dict[str, list[float]] = {}
    for epoch in range(run.epochs):
        order = run.train[stream(run.seed, "order", epoch).permutation(len(run.train))]
        seen = {"loss": 0.0, "accuracy": 0.0}
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            step = model.train_on_batch(
                DATA.features[rows], labels[rows], class_weight=weights, return_dict=True
            )
            seen = {key: seen[key] + step[key] * len(rows) / len(order) for key in seen}
        held = (DATA.features[run.validation], labels[run.validation])
        held_out = model.test_on_batch(*held, return_dict=True)  # as `evaluate`, sooner
        seen |= {f"val_{key}": value for key, value in held_out.items()}
        for key, value in seen.items():
            curves.setdefault(key, []).append(float(value))
    return {key: np.array(values) for key, values in curves.items()}, model.get_weights()


def balanced(run: HeadRun) -> dict[int, float] | None:
    """n / (C n_c), as scikit-learn has it, for `class_weight` of Keras's fit."""
    if not run.config.balanced:
        return None
    present, counts = np.unique(DATA.labels[run.train], return_counts=True)
    weights = len(run.train) / (len(present) * counts)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def take_masked_moments(layer: keras.layers.BatchNormalization) -> None:
    plain = layer.call

    def call(inputs: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:
        return plain(inputs, training=training, mask=tf.ones(tf.shape(inputs)[:1], tf.bool))

    layer.call = call


def last_weights(result: HeadResult, config: HeadConfig) -> list[np.ndarray]:
    """The weights after the last epoch, in the order of `get_weights()`, without the padding."""
    head = build_head(replace(config, normalize=False), n_features=N_FEATURES,
                      n_classes=N_CLASSES, seed=1)  # fmt: skip
    trainable = [weight.trainable for weight in head.weights]
    order = np.argsort([not flag for flag in trainable], kind="stable")  # trainable ones first
    found: list[np.ndarray] = [np.empty(0)] * len(head.weights)
    for array, index in zip(result.state.arrays, order, strict=False):
        found[index] = array[tuple(slice(0, size) for size in head.weights[index].shape)]
    return found


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, relative to the largest entry."""
    return float(np.max(np.abs(found - wanted)) / max(np.max(np.abs(wanted)), 1e-3))


def assert_parity(run: HeadRun, result: HeadResult) -> None:
    """Curves and weights equal Keras's own training of the same head.

    If not to rounding, then with Keras's sums taken in the population's order, but for what
    rounding decides: batch norm cancels the bias of units that are active on every row (the moving
    mean goes with it), its gradient is noise, and an optimizer that divides by the gradient's size
    walks with it; and Lion takes the sign of gradients that may be zero.
    """
    for compiled in (False, True):
        curves, weights = keras_training(run, compiled=compiled)
        for key in ("accuracy", "val_accuracy"):  # one row may tip over
            rows = run.validation if key.startswith("val") else run.train
            assert np.allclose(getattr(result.metrics, key), curves[key], atol=1.01 / len(rows))
        losses = (
            distance(result.metrics.loss, curves["loss"]),
            distance(result.metrics.val_loss, curves["val_loss"]),
        )
        found = last_weights(result, run.config)
        gaps = [distance(ours, keras) for ours, keras in zip(found, weights, strict=True)]
        if max(*losses, *gaps) < TOLERANCE:
            return
    assert run.config.batch_norm, f"{losses}, {gaps} from Keras"
    assert max(losses) < TOLERANCE, f"losses are {losses} from Keras's"
    names = ("kernel", "bias", "gamma", "beta", "mean", "variance", "kernel", "bias")
    for name, ours, wanted in zip(names, found, weights, strict=True):
        if name not in ("mean", "variance") and ours is not found[1]:
            off = np.abs(ours - wanted) > TOLERANCE * np.abs(wanted).max()
            assert off.mean() < 0.01, f"{off.mean():.1%} of {name} {ours.shape} are off"


def scheduled(name: str, schedule: str, width: int, **changes: object) -> HeadConfig:
    hyperparameters = SCHEDULES[schedule]
    return configuration(
        name,
        schedule=schedule,
        schedule_hyperparameters=hyperparameters,
        dense_width=width,
        **changes,
    )


def of_each_kind(name: str, **changes: object) -> HeadConfig:
    """Over the optimizers: every schedule, three widths, with and without batch norm."""
    number = list(RATES).index(name)
    given = {"batch_norm": number % 4 > 0, "normalize": number % 2 > 0} | changes
    schedule = list(SCHEDULES)[number % len(SCHEDULES)]
    return scheduled(name, schedule, (24, 64, 70)[number % 3], **given)


SLOW = ("amsgrad", "adamw", "adamax")  # with their hyperparameters they train below, too


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in RATES]
)
def test_200_steps_equal_keras(name: str) -> None:
    run = a_run(of_each_kind(name), epochs=29)  # 29 * 7 = 203 steps, every seventh a partial batch
    assert_parity(run, train(population(), [run])[0])


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("name", RATES)
def test_every_optimizer_schedule_and_width_equals_keras(name: str, batch_norm: bool) -> None:
    runs = [
        a_run(scheduled(name, schedule, width, batch_norm=batch_norm), epochs=29)
        for schedule in SCHEDULES
        for width in (24, 64, 70)
    ]
    for run, result in zip(runs, train(population(7), runs), strict=True):
        assert_parity(run, result)


@pytest.mark.parametrize("batch_size", ["full", 1])
def test_batches_of_all_rows_and_of_one_equal_keras(batch_size: int | str) -> None:
    run = a_run(configuration("adam", batch_size=batch_size), epochs=3)
    assert_parity(run, train(population(), [run])[0])


HYPERPARAMETERS = {  # every real-valued hyperparameter of every class, away from its default
    "momentum": 0.8, "rho": 0.8, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-4,
    "weight_decay": 0.01, "clipnorm": 0.05, "initial_accumulator_value": 0.3,
    "learning_rate_power": -0.6,
    "l1_regularization_strength": 1e-3, "l2_regularization_strength": 1e-2, "beta": 0.1,
    "l2_shrinkage_regularization_strength": 1e-3, "beta_2_decay": -0.7, "epsilon_1": 1e-20,
    "epsilon_2": 1e-2, "clip_threshold": 0.8, "adam_beta_1": 0.8, "adam_beta_2": 0.9,
    "adam_weight_decay": 0.01, "muon_a": 3.4, "muon_b": -4.7, "muon_c": 2.0, "rms_rate": 0.1,
    "adam_lr_ratio": 1,
}  # fmt: skip


def all_hyperparameters(keras_class: str, **changes: object) -> HeadConfig:
    arguments = keras_arguments(keras_class)
    given = {key: value for key, value in HYPERPARAMETERS.items() if key in arguments}
    base = {"optimizer_hyperparameters": given, "learning_rate": 1e-3, "batch_norm": False}
    return of_class(keras_class, **(base | changes))


@pytest.mark.parametrize("keras_class", sorted(set(keras_optimizers()) - {"ScheduleFreeAdamW"}))
def test_every_class_and_hyperparameter_rides_along(keras_class: str) -> None:
    run = a_run(all_hyperparameters(keras_class))
    assert_parity(run, train(population(), [run])[0])


def test_schedule_free_adamw_keeps_the_published_rule() -> None:
    """Keras's TensorFlow backend does not: `momentum_old` there is the variable, already updated.

    Defazio et al. 2024: gradients at y = (1 - beta) z + beta x, steps of z, x the mean of the z.
    """
    optimizer = stateless_optimizer(keras.optimizers.ScheduleFreeAdamW)(0.1, warmup_steps=0)
    rng = np.random.default_rng(3)
    y = z = x = rng.normal(size=(3, 2)).astype(np.float32)
    variable = keras.Variable(y)
    optimizer.build([variable])
    state, found, moment = [v.value for v in optimizer.variables], tf.constant(y), np.zeros((3, 2))
    for step in range(1, 9):
        gradient = rng.normal(size=(3, 2)).astype(np.float32)
        (found,), state = optimizer.stateless_apply(state, [tf.constant(gradient)], [found])
        moment = 0.999 * moment + 0.001 * gradient**2
        z = z - 0.1 * gradient / (np.sqrt(moment / (1 - 0.999**step)) + optimizer.epsilon)
        x = x + (z - x) / step
        y = (1 - optimizer.beta_1) * z + optimizer.beta_1 * x
        assert distance(found.numpy(), y) < 1e-5
    config = of_class("ScheduleFreeAdamW", dense_width=70, batch_norm=False)
    wide, narrow = (
        train(population(2, widths=widths), [a_run(config)])[0] for widths in ((96,), (70,))
    )
    assert distance(wide.metrics.loss, narrow.metrics.loss) < 1e-5


@pytest.mark.parametrize("hyperparameter", ["clipvalue", "global_clipnorm"])
def test_other_ways_of_clipping_equal_keras(hyperparameter: str) -> None:
    hyperparameters = {"momentum": 0.9, hyperparameter: 0.01}
    run = a_run(
        configuration("momentum", optimizer_hyperparameters=hyperparameters, batch_norm=False)
    )
    assert_parity(run, train(population(), [run])[0])


def padded_run(activation: str) -> None:
    config = configuration("adamw", activation=activation, batch_norm=False, dense_width=20)
    run = a_run(config)
    assert_parity(run, train(population(), [run])[0])


def test_padding_changes_nothing_where_an_idle_unit_is_not_zero() -> None:
    padded_run("softplus")


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_equals_keras(activation: str) -> None:
    padded_run(activation)


def test_padded_units_never_move() -> None:
    run = a_run(all_hyperparameters("Lion", dense_width=20), epochs=4)  # with weight decay
    kernel, bias = train(population(), [run])[0].state.arrays[:2]
    assert kernel[:, :20].all() and not kernel[:, 20:].any() and not bias[20:].any()


@pytest.mark.parametrize("name", RATES)
def test_continuing_from_a_state_is_one_uninterrupted_run(name: str) -> None:
    trainer = population()
    run = a_run(of_each_kind(name, dropout=0.3), epochs=5)
    whole, first = train(trainer, [run, run._replace(epochs=2)])
    compiled = trainer.compilations
    (rest,) = train(trainer, [run._replace(state=first.state)])
    assert trainer.compilations == compiled
    curves = [
        np.stack([*(one for one in run.metrics if one is not None), run.learning_rate])
        for run in (first, rest, whole)
    ]
    assert np.array_equal(np.concatenate(curves[:2], axis=1), curves[2])
    for found, wanted in zip(rest.state.arrays, whole.state.arrays, strict=True):
        assert np.array_equal(found, wanted)
    for found, wanted in zip(rest.weights, whole.weights, strict=True):
        assert np.array_equal(found, wanted)


def test_programs_compiled_ahead_are_used_and_change_nothing() -> None:
    trainer, run = population(), a_run(configuration("adam"))
    (wanted,) = train(trainer, [run])
    programs = Programs(ProgramShape(DATA.features.shape, N_CLASSES, size=2))
    others = [run._replace(config=configuration(name)) for name in ("sgd", "momentum", "lion")]
    listed = [(trainer.signature(one), one.config) for one in (run, *others)]
    with compiled_ahead(programs, listed) as ahead:
        while not programs.compilations:  # as long as something else is done
            time.sleep(0.001)
    given = LocalTrainer(DATA.table, TrainingRules(MAX_EPOCHS), 2, programs)
    (found,) = train(given, [run])
    assert next(iter(programs.ready)) == listed[0][0]
    assert np.array_equal(found.metrics.loss, wanted.metrics.loss)
    ahead.result()
    assert len(programs.compilations) <= 2  # what it was at when it was closed, no further


def test_a_program_keeps_neither_its_head_nor_numbers_of_it() -> None:
    def heads() -> int:
        gc.collect()
        return sum(type(thing) is keras.layers.Dense for thing in gc.get_objects())

    before, trainer, run = heads(), population(), a_run(configuration("adam", dense_width=48))
    train(trainer, [run])
    program = trainer.programs.of(trainer.signature(run), run.config, trainer._rows)
    arrays = [array for array in tf.nest.flatten(program.state_shape.template) if np.ndim(array)]
    assert sum(array.size for array in arrays) > 4 * N_FEATURES * 48
    assert sum(array.itemsize if not any(array.strides) else array.nbytes for array in arrays) < 200
    assert heads() == before


def a_mixture() -> list[HeadRun]:
    return [
        a_run(
            scheduled("adam", list(SCHEDULES)[seed % 7], 16 + 8 * seed, dropout=0.1 * seed),
            seed=seed,
            epochs=2 + seed % 3,
            train=stream(seed, "split").permutation(DATA.train),
        )
        for seed in range(1, 6)
    ]


def test_neighbours_and_order_change_nothing() -> None:
    trainer, runs = population(3), a_mixture()
    before = trainer.compilations
    together = train(trainer, runs)
    assert trainer.compilations - before <= 1  # one program for all of them
    backwards = train(trainer, runs[::-1])[::-1]
    alone = [train(trainer, [run])[0] for run in runs]
    for others in (backwards, alone):
        for found, wanted in zip(others, together, strict=True):
            assert np.array_equal(found.metrics.loss, wanted.metrics.loss)
            assert np.array_equal(found.metrics.val_loss, wanted.metrics.val_loss)
            for one, other in zip(found.weights, wanted.weights, strict=True):
                assert np.array_equal(one, other)


def test_the_size_changes_rounding_only() -> None:
    runs = a_mixture()
    three, one = train(population(3), runs), train(population(1), runs)
    for found, wanted in zip(three, one, strict=True):
        assert distance(found.metrics.loss, wanted.metrics.loss) < TOLERANCE
        assert distance(found.metrics.val_loss, wanted.metrics.val_loss) < TOLERANCE


@pytest.mark.filterwarnings("ignore:overflow|invalid value")
def test_a_diverging_head_leaves_the_others_alone() -> None:
    trainer, calm = population(), a_run(configuration("sgd", batch_norm=False), seed=3)
    wild = a_run(configuration("sgd", learning_rate=1e30, batch_norm=False), seed=4)
    (alone,) = train(trainer, [calm])
    burst, beside = train(trainer, [wild, calm])
    assert not np.isfinite(burst.metrics.loss[-1]) and len(burst.metrics.loss) == 3
    assert (
        np.array_equal(alone.metrics.loss, beside.metrics.loss)
        and np.isfinite(beside.metrics.val_loss).all()
    )


@pytest.mark.parametrize(("name", "batch_norm"), [("adam", True), ("sgd", False)])
def test_heads_begin_with_the_weights_of_build_head(name: str, batch_norm: bool) -> None:
    run = a_run(configuration(name, batch_norm=batch_norm), seed=5, epochs=0)
    (result,) = train(population(), [run])
    built = build_head(run.config, n_features=N_FEATURES, n_classes=N_CLASSES, seed=5)
    for found, wanted in zip(result.weights, built.get_weights(), strict=True):
        assert np.array_equal(found, wanted)
    assert len(result.metrics.loss) == 0


def test_best_weights_are_those_of_the_first_best_epoch() -> None:
    config = configuration("sgd", learning_rate=2.0, batch_norm=False)  # restless
    trainer = population()
    (result,) = train(trainer, [a_run(config, epochs=8)])
    best = int(np.argmax(result.metrics.val_accuracy)) + 1
    (short,) = train(trainer, [a_run(config, epochs=best)])
    for found, wanted in zip(result.weights, last_weights(short, config), strict=True):
        assert np.array_equal(found, wanted)
    head = build_head(config, n_features=N_FEATURES, n_classes=N_CLASSES, seed=1)
    head.set_weights(result.weights)
    said = head(DATA.features[DATA.validation], training=False).numpy().argmax(axis=1)
    accuracy = np.mean(said == DATA.labels[DATA.validation])
    assert accuracy == pytest.approx(result.metrics.val_accuracy.max())


def test_hits_are_counted_apart_for_rows_at_even_and_at_odd_places() -> None:
    config = configuration("sgd", learning_rate=0.1, batch_norm=False)
    (result,) = train(population(), [a_run(config, epochs=1)])
    head = build_head(config, n_features=N_FEATURES, n_classes=N_CLASSES, seed=1)
    head.set_weights(result.weights)
    said = head(DATA.features[DATA.validation], training=False).numpy().argmax(axis=1)
    hits = said == DATA.labels[DATA.validation]
    assert result.metrics.val_hits_a.tolist() == [hits[::2].sum()]
    assert result.metrics.val_hits_b.tolist() == [hits[1::2].sum()]


def test_the_rows_come_in_another_order_every_epoch_and_for_every_seed() -> None:
    orders = {
        tuple(stream(seed, "order", epoch).permutation(9)) for seed in (1, 2) for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_threefry_gives_the_published_words() -> None:
    def words(*values: int) -> tuple[tf.Tensor, ...]:
        return tuple(tf.constant(value, tf.uint32) for value in values)

    for key, counter, wanted in [  # Random123, kat_vectors, threefry2x32 20
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]:
        assert tuple(int(word) for word in threefry(words(*key), words(*counter))) == wanted


def test_dropout_has_its_rate_its_scale_and_no_pattern() -> None:
    rates = tf.constant([0.0, 0.3, 0.3, 0.7])
    seeds = tf.constant([[1, 2], [3, 4], [5, 6], [3, 4]], tf.uint32)
    noise = np.stack(
        [dropout_noise(seeds, tf.fill([4], step), rates, 33, 256).numpy() for step in range(8)]
    )  # (steps, heads, rows, units)
    assert (noise[:, 0] == 1).all()
    for head, rate in ((1, 0.3), (2, 0.3), (3, 0.7)):
        assert set(np.unique(noise[:, head])) == {
            np.float32(0),
            np.float32(1 / (1 - np.float32(rate))),
        }
        count = noise[:, head].size
        kept = np.mean(noise[:, head] > 0)
        assert abs(kept - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / count)
    kept = noise[:, 1:3] > 0
    for one, other in [  # steps, heads, rows, units
        (kept[:-1], kept[1:]),
        (kept[:, 0], kept[:, 1]),
        (kept[:, :, :-1], kept[:, :, 1:]),
        (kept[..., :-1], kept[..., 1:]),
    ]:
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(one.size)
    narrow = dropout_noise(seeds, tf.fill([4], 5), rates, 33, 100).numpy()
    assert np.array_equal(narrow, noise[5, ..., :100])  # padding does not change it


def test_dropout_reaches_training_and_not_validation() -> None:
    runs = [
        a_run(configuration("adam", dropout=rate, learning_rate=1e-9, dense_width=64), epochs=1)
        for rate in (0.0, 0.6)
    ]
    plain, dropped = train(population(), runs)
    assert dropped.metrics.loss[0] > plain.metrics.loss[0] * 1.02
    assert dropped.metrics.val_loss[0] == pytest.approx(plain.metrics.val_loss[0], rel=1e-5)


def test_closing_the_iterator_ends_the_training() -> None:
    trainer = population(1)
    results = trainer.train([a_run(configuration("adam"), seed=seed) for seed in range(1, 9)])
    (index, _), *_ = next(results)
    results.close()
    assert index in range(8)
    assert train(trainer, [a_run(configuration("adam"))])[0].metrics.loss.shape == (
        3,
    )  # and may go on


def test_what_ended_while_nobody_asked_comes_together() -> None:
    trainer = population(1)
    train(trainer, [a_run(configuration("adam"))])  # compiled
    found = []
    for part in trainer.train([a_run(configuration("adam"), seed=seed) for seed in range(1, 9)]):
        found.append([index for index, _ in part])
        time.sleep(0.5)  # as a slow disk would
    assert len(found) < 8 and sorted(index for part in found for index in part) == list(range(8))


def test_an_error_of_our_own_stops_everything() -> None:
    with pytest.raises(ValueError, match="31 epochs, but the schedules end at 30"):
        train(population(), [a_run(configuration("adam"), epochs=31)])


def test_few_widths_cover_all_with_least_work() -> None:
    assert few_widths([170]) == (176,)
    assert few_widths([64, 128, 170, 256, 512]) == (128, 256, 512)
    assert few_widths([64, 128, 170, 256, 512], levels=2) == (256, 512)
    assert few_widths([64, 128, 170, 256, 512], levels=1) == (512,)
    assert few_widths(range(32, 513))[-1] == 512 and len(few_widths(range(32, 513))) == 3


def test_equal_programs_in_one_process_do_not_disturb_each_other() -> None:
    """They are named alike, and TensorFlow keeps functions by name."""
    run = a_run(configuration("sgd", dense_width=8, batch_norm=False), epochs=2)

    def made(n_classes: int) -> LocalTrainer:
        labels = DATA.labels % n_classes
        table = TrainingTable(DATA.features, labels, n_classes)
        return LocalTrainer(table, TrainingRules(2, (16,)), size=1)

    first, second = made(N_CLASSES), made(N_CLASSES)
    losses = [train(one, [run])[0].metrics.loss for one in (first, made(N_CLASSES - 1), second)]
    del first
    gc.collect()
    assert np.array_equal(losses[0], losses[2]) and not np.array_equal(losses[0], losses[1])
    assert np.array_equal(train(second, [run])[0].metrics.loss, losses[0])
