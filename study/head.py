"""Hyperparameter values come in; a Keras head, its optimizer and its schedule go out.

The head is the blog post's: dense, batch normalization, dropout, softmax, over the pooled features
of the frozen base. `HeadHyperModel` is an ordinary `keras_tuner.HyperModel`: stock tuners run with
it, and it is the reference that the population trainer is tested against. `build` never touches
VGG16, so the dozens of builds that conditional scopes cost are cheap.
"""

import functools
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np
from keras import layers

from study.space import HeadConfig, SearchSpace

LOSS = "sparse_categorical_crossentropy"


class Statistics(NamedTuple):
    """Mean and variance of the training rows, each (512,), for `normalize = true`."""

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> "Statistics":
        """Those of `rows`, (n, 512)."""
        return cls(rows.mean(axis=0), rows.var(axis=0))


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rise linearly to the peak in `steps` steps, then follow `schedule` from its beginning."""

    def __init__(self, peak: float, steps: int, schedule: Any) -> None:
        self.peak, self.steps, self.schedule = peak, steps, schedule

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rising = self.peak * (step + 1.0) / self.steps
        after = keras.ops.maximum(step - self.steps, 0.0)
        settled = self.schedule(after) if callable(self.schedule) else self.schedule
        return keras.ops.where(step < self.steps, rising, settled)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"peak": self.peak, "steps": self.steps, "schedule": self.schedule}


def steps_per_epoch(config: HeadConfig, n_train: int) -> int:
    """Steps an epoch of `n_train` rows takes; the last one may hold fewer rows."""
    return -(-n_train // rows_per_step(config, n_train))


def rows_per_step(config: HeadConfig, n_train: int) -> int:
    """The batch size in rows, at most all of them."""
    return n_train if isinstance(config.batch_size, str) else min(config.batch_size, n_train)


def make_schedule(config: HeadConfig, total_steps: int) -> Any:
    """The learning rate over `total_steps`: a number, or one of Keras's schedules.

    Every schedule falls from the peak to `final_factor` times the peak at the end of the study's
    `--max-epochs`; `exponential` may instead be given in steps, as Keras has it.
    """
    warmup = float(config.schedule_knobs.get("warmup", 0.0))
    rising = round(warmup * total_steps)
    schedule = _after_warmup(config, max(total_steps - rising, 1))
    return WarmUp(config.learning_rate, rising, schedule) if rising else schedule


def _after_warmup(config: HeadConfig, steps: int) -> Any:
    schedules = keras.optimizers.schedules
    peak, knobs = config.learning_rate, config.schedule_knobs
    factor = float(knobs.get("final_factor", 1.0))
    match config.schedule:
        case "constant":
            return peak
        case "exponential":
            return _exponential(peak, factor, knobs, steps)
        case "cosine":
            return schedules.CosineDecay(peak, steps, alpha=factor)
        case "linear":
            return schedules.PolynomialDecay(peak, steps, peak * factor, power=1.0)
        case "polynomial":
            return schedules.PolynomialDecay(peak, steps, peak * factor, power=knobs["power"])
        case "inverse_time":
            return schedules.InverseTimeDecay(peak, steps, 1.0 / factor - 1.0)
        case "steps":
            drops = int(knobs["drops"])
            # a boundary is the last step before the drop: Keras compares with <=
            boundaries = [steps * drop / (drops + 1) - 0.5 for drop in range(1, drops + 1)]
            rates = [peak * factor ** (drop / drops) for drop in range(drops + 1)]
            return schedules.PiecewiseConstantDecay(boundaries, rates)
    raise ValueError(f"no such schedule: {config.schedule}")  # the grammar lets none pass


def _exponential(peak: float, factor: float, knobs: Any, steps: int) -> Any:
    """Keras's own form if the space gives `decay_steps`; else down to `factor` at the end."""
    decay = keras.optimizers.schedules.ExponentialDecay
    staircase = bool(knobs.get("staircase", False))
    if "decay_steps" in knobs:
        return decay(peak, knobs["decay_steps"], knobs["decay_rate"], staircase=staircase)
    if not staircase:
        return decay(peak, steps, factor)
    drops = 10  # ten equal drops; the last one falls at the end
    return decay(peak, steps / drops, factor ** (1 / drops), staircase=True)


def learning_rates(config: HeadConfig, total_steps: int) -> np.ndarray:
    """The schedule as a table: (total_steps,) float32, entry i for the step counted from 0."""
    schedule = make_schedule(config, total_steps)
    if not callable(schedule):
        return np.full(total_steps, schedule, np.float32)
    steps = keras.ops.arange(total_steps, dtype="float32")
    return np.asarray(keras.ops.convert_to_numpy(schedule(steps)), np.float32)


def make_optimizer(config: HeadConfig, learning_rate: Any) -> keras.optimizers.Optimizer:
    """The Keras optimizer with this configuration's knobs."""
    keras_class = getattr(keras.optimizers, config.keras_class)
    return keras_class(learning_rate=learning_rate, **config.knobs)


def build_head(
    config: HeadConfig,
    *,
    n_features: int,
    n_classes: int,
    seed: int,
    statistics: Statistics | None = None,
) -> keras.Model:
    """The head, not compiled: (batch, n_features) -> (batch, n_classes) probabilities.

    Raises:
        ValueError: the configuration normalizes, but there are no `statistics`.
    """
    if config.normalize and statistics is None:
        raise ValueError("normalize = true needs the statistics of the training rows")
    draw = [int(value) for value in np.random.default_rng(seed).integers(1, 2**31, size=3)]
    parts: list[Any] = [keras.Input((n_features,), name="features")]
    if config.normalize and statistics is not None:
        parts.append(
            layers.Normalization(
                mean=statistics.mean, variance=statistics.variance, name="normalize"
            )
        )
    glorot = keras.initializers.GlorotUniform
    parts.append(
        layers.Dense(
            config.dense_width,
            activation=config.activation,
            kernel_initializer=glorot(seed=draw[0]),
            name="dense",
        )
    )
    if config.batch_norm:
        parts.append(layers.BatchNormalization(name="batch_norm"))
    parts.append(layers.Dropout(config.dropout, seed=draw[1], name="dropout"))
    parts.append(
        layers.Dense(
            n_classes,
            activation="softmax",
            kernel_initializer=glorot(seed=draw[2]),
            name="probabilities",
        )
    )
    return keras.Sequential(parts, name="head")


def head_probabilities(
    config: HeadConfig, weights: list[np.ndarray], rows: np.ndarray, statistics: Statistics | None
) -> np.ndarray:
    """What a trained head says about `rows` (n, n_features): (n, n_classes) probabilities."""
    if config.normalize and statistics is not None:
        layer = layers.Normalization(mean=statistics.mean, variance=statistics.variance)
        rows = keras.ops.convert_to_numpy(layer(rows))
    shape = (config.dense_width, config.activation, config.batch_norm)
    head = _untrained_head(*shape, n_features=rows.shape[1], n_classes=len(weights[-1]))
    head.set_weights(weights)
    return in_pieces(head, rows)


def in_pieces(head: keras.Model, rows: np.ndarray) -> np.ndarray:
    """`head(rows)` for any number of rows (n, n_features): (n, n_classes) probabilities."""
    parts = [head(rows[at : at + 8192], training=False) for at in range(0, len(rows), 8192)]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


@functools.lru_cache(maxsize=16)
def _untrained_head(
    dense_width: int, activation: str, batch_norm: bool, *, n_features: int, n_classes: int
) -> keras.Model:
    """One head for all runs of a shape: building it costs more than asking it."""
    config = HeadConfig(
        optimizer="",
        keras_class="",
        learning_rate=0.0,
        knobs={},
        schedule="constant",
        schedule_knobs={},
        dense_width=dense_width,
        dropout=0.0,
        activation=activation,
        batch_norm=batch_norm,
        batch_size="full",
        normalize=False,
    )
    return build_head(config, n_features=n_features, n_classes=n_classes, seed=1)


def whole_model(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Frozen base and head as one model, from pixels 0..255 to probabilities."""
    backbone.trainable = False
    pixels = keras.Input(backbone.input_shape[1:], name="pixels")
    features = keras.ops.cast(backbone(pixels, training=False), "float32")
    return keras.Model(pixels, head(features), name="winner")


class HeadHyperModel(keras_tuner.HyperModel):  # type: ignore[misc]
    """The search space as a `keras_tuner.HyperModel` over features (n, n_features).

    Args:
        space: which hyperparameters there are.
        n_features: length of a feature row.
        n_classes: how many classes.
        n_train: training rows, which give the steps of an epoch.
        max_epochs: horizon of every schedule, also for trials that stop earlier.
        seed: of initial weights and dropout.
        optimizer: only this one (equal budgets); None searches over all of the space.
        statistics: of the training rows, if the space may normalize.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        n_features: int,
        n_classes: int,
        n_train: int,
        max_epochs: int,
        seed: int,
        optimizer: str | None = None,
        statistics: Statistics | None = None,
    ) -> None:
        super().__init__(name="head")
        self.space, self.optimizer = space, optimizer
        self.n_features, self.n_classes, self.n_train = n_features, n_classes, n_train
        self.max_epochs, self.seed, self.statistics = max_epochs, seed, statistics

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled head with the optimizer, knobs and schedule that `hp` holds."""
        self.space.declare(hp, self.optimizer)
        return self.build_config(self.space.resolve(hp.values))

    def build_config(self, config: HeadConfig) -> keras.Model:
        """A compiled head for one configuration."""
        model = build_head(
            config,
            n_features=self.n_features,
            n_classes=self.n_classes,
            seed=self.seed,
            statistics=self.statistics,
        )
        total = self.max_epochs * steps_per_epoch(config, self.n_train)
        optimizer = make_optimizer(config, make_schedule(config, total))
        model.compile(optimizer=optimizer, loss=LOSS, metrics=["accuracy"])
        # stock Hyperband loads a rung's state into it, which an optimizer without variables drops
        optimizer.build(model.trainable_variables)
        return model

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Train with the batch size that `hp` holds; everything else as `model.fit` has it."""
        config = self.space.resolve(hp.values)
        kwargs["batch_size"] = rows_per_step(config, self.n_train)
        return model.fit(*args, **kwargs)
