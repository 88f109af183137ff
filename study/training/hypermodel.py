"""The search space as an ordinary `keras_tuner.HyperModel`: stock tuners run with it."""

from typing import Any

import keras
import keras_tuner

from study.space.head_config import HeadConfig
from study.space.space import SearchSpace
from study.training.head import LOSS, Statistics, build_head, rows_per_step, steps_per_epoch
from study.training.schedules import make_schedule


def make_optimizer(config: HeadConfig, learning_rate: Any) -> keras.optimizers.Optimizer:
    """The Keras optimizer with this configuration's hyperparameters."""
    keras_class = getattr(keras.optimizers, config.keras_class)
    return keras_class(learning_rate=learning_rate, **config.optimizer_hyperparameters)


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
        """A compiled head with the optimizer, hyperparameters and schedule that `hp` holds."""
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
