"""The search space as an ordinary `keras_tuner.HyperModel`, for stock tuners.

It builds every model that Keras itself trains here: a stock tuner's, the run of an optimizer that
cannot be mapped over heads, and the reference in the tests of `LocalTrainer`. `build` never
touches VGG16, so the dozens of builds that conditional scopes need are cheap.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from study.common.metrics import ACCURACY
from study.common.seeds import derive_seed
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace
from study.training.epoch_metrics import ClassMetric
from study.training.head import (
    Statistics,
    build_head,
    make_optimizer,
    rows_per_step,
    steps_per_epoch,
)
from study.training.loss import class_weights, keras_class_weight, keras_loss
from study.training.schedules import make_schedule


class HeadHyperModel(keras_tuner.HyperModel):
    """The search space as a `keras_tuner.HyperModel` over rows of features.

    Args:
        space: the hyperparameters; None if only `build_config` is called.
        n_features: length of a feature row.
        n_classes: number of classes.
        n_train: training rows, which give the steps of an epoch.
        max_epochs: horizon of every schedule, also for trials that stop earlier.
        seed: of initial weights and dropout.
        optimizer: only this one (equal budgets); None searches all of the space.
        statistics: of the training rows, if the space may normalize.
        metric: measured alongside accuracy; a tuner optimizes it if its objective is
            `val_<metric>`.
    """

    def __init__(
        self,
        space: SearchSpace | None,
        *,
        n_features: int,
        n_classes: int,
        n_train: int,
        max_epochs: int,
        seed: int,
        optimizer: str | None = None,
        statistics: Statistics | None = None,
        metric: str = ACCURACY,
    ) -> None:
        super().__init__(name="head")
        self.space: Any = space
        self.optimizer = optimizer
        self.n_features, self.n_classes, self.n_train = n_features, n_classes, n_train
        self.max_epochs, self.seed, self.statistics = max_epochs, seed, statistics
        self.metric = metric
        self._trained: Counter[str] = Counter()  # by configuration

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Return a compiled head with the hyperparameters in `hp`.

        Executions of one trial start with different weights, the first with those of `seed`.
        """
        self.space.declare(hp, self.optimizer)
        config = self.space.resolve(hp.values)
        execution = self._trained[str(config)]
        seed = derive_seed(self.seed, "execution", execution) if execution else self.seed
        return self.build_config(config, seed=seed)

    def build_config(
        self,
        config: HeadConfig,
        *,
        seed: int | None = None,
        also: Sequence[keras.metrics.Metric] | None = None,
    ) -> keras.Model:
        """Return a compiled head for one configuration; without a `seed` with that of this object.

        The metrics `also` are measured alongside accuracy; None: `metric`, unless it is accuracy.
        """
        head = build_head(
            config,
            n_features=self.n_features,
            n_classes=self.n_classes,
            seed=self.seed if seed is None else seed,
            statistics=self.statistics,
        )
        total_steps = self.max_epochs * steps_per_epoch(config, self.n_train)
        optimizer = make_optimizer(config, make_schedule(config, total_steps))
        if also is None and self.metric != ACCURACY:
            also = [ClassMetric(self.metric, self.n_classes)]
        head.compile(
            optimizer=optimizer, loss=keras_loss(config), metrics=["accuracy", *(also or ())]
        )
        # Stock Hyperband loads a rung's state; an optimizer without variables would ignore it.
        optimizer.build(head.trainable_variables)
        return head

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Call `model.fit` with the batch size and the class weights in `hp`.

        A `sample_weight` is multiplied by the class weights, since Keras takes one of the two.
        Warn if they have no effect because the data are already in batches, and of a `batch_size`
        or `class_weight` that is ignored.
        """
        config = self.space.resolve(hp.values)
        self._trained[str(config)] += 1
        rows, given = rows_per_step(config, self.n_train), kwargs.pop("batch_size", None)
        x = args[0] if args else kwargs.get("x")
        y = args[1] if len(args) > 1 else kwargs.get("y")
        if "class_weight" in config.loss_hyperparameters:
            if kwargs.get("class_weight") is not None:
                _warn("class_weight is ignored: the search space decides; set it in one place only")
            kwargs["class_weight"] = None
            if y is not None:
                kwargs |= self._weigh(config, np.asarray(y), kwargs.get("sample_weight"))
        if not hasattr(x, "shape"):  # a dataset or a generator, not an array
            steps = steps_per_epoch(config, self.n_train)
            weights = " and class_weight = 'balanced' are" if config.balanced else " is"
            _warn(
                f"the data are already in batches, so this trial's batch_size = {rows}{weights} "
                f"ignored, but its schedule assumes {steps} steps per epoch; pass arrays instead"
            )
            return model.fit(*args, **kwargs)
        if given not in (None, rows):
            _warn(
                f"batch_size={given} is ignored: the search space decides, and this trial has "
                f"{rows}; set batch_size in the search space"
            )
        return model.fit(*args, batch_size=rows, **kwargs)

    def _weigh(self, config: HeadConfig, labels: np.ndarray, own: Any) -> dict[str, Any]:
        """Return the weights as arguments of Keras, which takes validation rows from the end."""
        trained = labels[: self.n_train]
        if own is None:
            return {"class_weight": keras_class_weight(config, trained)}
        weights = np.array(own, np.float32)
        if config.balanced:
            weights[: self.n_train] *= class_weights(config, trained, self.n_classes)[trained]
        return {"sample_weight": weights}


def _warn(text: str) -> None:
    """Warn of a call of `HeadHyperModel.fit`."""
    warnings.warn(text, stacklevel=3)
