"""The search space as an ordinary `keras_tuner.HyperModel`: stock tuners run with it.

It builds every model that Keras itself trains here: a stock tuner's, the run of an optimizer that
cannot be mapped over heads, and the reference that the population trainer is tested against.
`build` never touches VGG16, so the dozens of builds that conditional scopes cost are cheap.
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
from study.training.loss import keras_class_weight, keras_loss
from study.training.schedules import make_schedule


class HeadHyperModel(keras_tuner.HyperModel):
    """The search space as a `keras_tuner.HyperModel` over features (n, n_features).

    Args:
        space: which hyperparameters there are; None: only `build_config` is called.
        n_features: length of a feature row.
        n_classes: how many classes.
        n_train: training rows, which give the steps of an epoch.
        max_epochs: horizon of every schedule, also for trials that stop earlier.
        seed: of initial weights and dropout.
        optimizer: only this one (equal budgets); None searches over all of the space.
        statistics: of the training rows, if the space may normalize.
        metric: measured beside accuracy; a tuner searches by it if its objective is `val_<metric>`.
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
        self.space, self.optimizer = space, optimizer
        self.n_features, self.n_classes, self.n_train = n_features, n_classes, n_train
        self.max_epochs, self.seed, self.statistics = max_epochs, seed, statistics
        self.metric = metric
        self._trained: Counter[str] = Counter()  # how often each configuration was

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled head with the optimizer, its hyperparameters and schedule that `hp` holds.

        Executions of one trial begin with different weights: the first with those of `seed`.
        """
        self._space.declare(hp, self.optimizer)
        config = self._space.resolve(hp.values)
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
        """Return a compiled head for one configuration.

        Args:
            config: what to build.
            seed: of initial weights and dropout; None: the model's own.
            also: measured beside accuracy; None: `metric`, where it is another one.
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
        # stock Hyperband loads a rung's state into it, which an optimizer without variables drops
        optimizer.build(head.trainable_variables)
        return head

    @property
    def _space(self) -> SearchSpace:
        if self.space is None:
            raise ValueError("`space` is None, so there are no hyperparameters to declare")
        return self.space

    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Train with the batch size and class weights that `hp` holds; else as `model.fit` has it.

        Warns where that cannot be: of data that come in batches, of a `batch_size` or
        `class_weight` given beside.
        """
        config = self._space.resolve(hp.values)
        self._trained[str(config)] += 1
        rows = rows_per_step(config, self.n_train)
        given = kwargs.pop("batch_size", None)
        x = args[0] if args else kwargs.get("x")
        y = args[1] if len(args) > 1 else kwargs.get("y")
        if "class_weight" in config.loss_hyperparameters:
            kwargs["class_weight"] = self._class_weight(config, y, kwargs.get("class_weight"))
        if not hasattr(x, "shape"):  # a dataset or a generator, and no array
            warnings.warn(
                f"the data come in batches already, so this trial's batch_size = {rows} has no "
                f"effect, while its schedule counts on {steps_per_epoch(config, self.n_train)} "
                "steps an epoch; give arrays to tune the batch size",
                stacklevel=2,
            )
            return model.fit(*args, **kwargs)
        if given not in (None, rows):
            warnings.warn(
                f"batch_size={given} is not used: this trial's is {rows}, and the search space "
                "decides it; fix batch_size there",
                stacklevel=2,
            )
        return model.fit(*args, batch_size=rows, **kwargs)

    def _class_weight(self, config: HeadConfig, y: Any, given: Any) -> dict[int, float] | None:
        """The trial's weights, of the training rows: Keras takes validation rows from the end."""
        if given is not None:
            warnings.warn(
                "class_weight is not used: the search space decides it; keep one of the two",
                stacklevel=3,
            )
        if not config.balanced:
            return None
        if y is None:
            warnings.warn(
                "the data come in batches already, so this trial's class_weight = 'balanced' has "
                "no effect; give arrays to weigh classes",
                stacklevel=3,
            )
            return None
        return keras_class_weight(config, np.asarray(y)[: self.n_train])
