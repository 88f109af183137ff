"""Keras Tuner's Bayesian oracle with a faster search of its acquisition and without repetitions.

Keras Tuner minimizes the acquisition from 50 random points by numerical gradients, one prediction
at a time: seconds a proposal. Here the Gaussian process predicts thousands of random points at
once and only the best few are refined. The first of them that was not proposed before is taken, so
a space of few points is not trained twice (keras-tuner issue 608).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as kt_trial
from scipy.optimize import minimize

CANDIDATES = 4000
REFINED = 3
FIT_RESTARTS = 2  # of the kernel's length scale; Keras Tuner has 20


class BayesianOracle(keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """See the module.

    Args:
        same: what two proposals share if they are the same configuration.
        options: those of Keras Tuner's oracle.
    """

    def __init__(self, same: Callable[[Mapping[str, Any]], Any], **options: Any) -> None:
        super().__init__(**options)
        self._same = same
        self._proposed: set[Any] = set()
        self.gpr.n_restarts_optimizer = FIT_RESTARTS

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Random values at first, then the least lower confidence bound of what is new."""
        completed = [t for t in self.trials.values() if t.status == kt_trial.TrialStatus.COMPLETED]
        drawn = self._random() if len(completed) < self.num_initial_points else self._promising()
        for values in drawn:
            key = self._same(values)
            if key not in self._proposed:
                self._proposed.add(key)
                return {"status": kt_trial.TrialStatus.RUNNING, "values": values}
        return {"status": kt_trial.TrialStatus.STOPPED, "values": None}

    def _random(self) -> Iterator[dict[str, Any]]:
        while (values := self._random_values()) is not None:  # None after 20 repetitions
            yield values

    def _promising(self) -> Iterator[dict[str, Any]]:
        """Values by rising bound, refined ones first."""
        self.gpr.fit(*self._vectorize_trials())
        bounds = self._get_hp_bounds()  # (dimensions, 2)
        points = self._random_state.uniform(*bounds.T, size=(CANDIDATES, len(bounds)))
        points = points[np.argsort(self._bound(points), kind="stable")]
        refined = [
            minimize(lambda x: self._bound(x[None])[0], start, bounds=bounds, method="L-BFGS-B")
            for start in points[:REFINED]
        ]
        refined.sort(key=lambda found: found.fun)
        for vector in [*(found.x for found in refined), *points]:
            yield self._vector_to_values(vector)

    def _bound(self, points: np.ndarray) -> np.ndarray:
        """Lower confidence bound of the negated objective, (n,)."""
        mean, deviation = self.gpr.predict(points, return_std=True)
        bound: np.ndarray = mean - self.beta * deviation
        return bound
