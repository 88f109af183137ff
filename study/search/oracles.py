"""Keras Tuner's oracles, which live in memory only: they propose trials and receive results.

A `Search` is one oracle: for one optimizer (equal budgets) or for all (joint), in one repeat. It is
asked for all trials that can start now, so that the trials of several searches can be trained
together. Its proposals depend only on its seed and on results, so a resumed study replays its
records through a new oracle. Keras Tuner's own state files, which a kill can truncate and which
silently keep old settings, are not written.

Keras Tuner lets a model add hyperparameters while it is built. So it copies the whole space for
each trial and draw, compares each copy when the trial ends, and counts failures again among all
trials. Here the space is declared once and no trial fails: trials share one space and needless work
is left out, so that the 100,000th trial is as fast as the first. The proposals are the same to the
last digit, except those of the Bayesian oracle, which has a faster search of its own.
"""

import math
import random
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras_tuner
import numpy as np
from jaxtyping import Float
from keras_tuner.engine.trial import TrialStatus
from scipy.optimize import minimize

from study.search.budget import INITIAL_POINTS, Budget, plan_search
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace

MOST_COLLISIONS = 100_000  # draws of known points before a space counts as exhausted
CANDIDATES = 4000  # random points that the Gaussian process predicts
REFINED = 3  # best of them, minimized further
FIT_RESTARTS = 2  # of the kernel's length scale; Keras Tuner has 20


class Proposal(NamedTuple):
    """A trial that an oracle proposes."""

    number: str  # the oracle's own id, e.g. "0012"
    config: HeadConfig
    epochs: int  # in all
    root: str  # number of the first rung; decides the seed, so a rung continues its own run
    continues: str | None = None  # number of the rung before
    initial_epoch: int = 0
    bracket: int | None = None
    rung: int | None = None


class Search:
    """One oracle of Keras Tuner, asked in batches; without an `optimizer` for the whole space."""

    def __init__(
        self, space: SearchSpace, optimizer: str | None, budget: Budget, *, seed: int
    ) -> None:
        self.space, self.optimizer, self.budget = space, optimizer, budget
        self.kind, self.planned = plan_search(space, optimizer, budget)
        self.oracle = in_memory(self._oracle(seed))
        self._told = 0  # results
        self._running: dict[str, tuple[str, Any]] = {}  # number -> its slot, Keras Tuner's trial
        self._roots: dict[str, str] = {}  # number -> first rung of the same run
        # number of a first rung -> its bracket; Keras Tuner gives promoted ones the newest
        self._brackets: dict[str, int] = {}

    def _oracle(self, seed: int) -> Any:
        hyperparameters = FixedSpace()
        self.space.declare(hyperparameters, self.optimizer)
        options: dict[str, Any] = {
            "objective": keras_tuner.Objective(f"val_{self.budget.metric}", "max"),
            "hyperparameters": hyperparameters,
            "seed": seed,
            "allow_new_entries": False,
            "max_consecutive_failed_trials": 10**9,  # bad trials never abort a study
        }
        if self.kind == "hyperband":
            options |= {"max_epochs": self.budget.max_epochs, "factor": self.budget.factor}
            return keras_tuner.oracles.HyperbandOracle(**options)
        options["max_trials"] = self.planned
        if self.kind == "random":
            return keras_tuner.oracles.RandomSearchOracle(**options)
        if self.kind == "grid":
            return keras_tuner.oracles.GridSearchOracle(**options)
        options["num_initial_points"] = min(INITIAL_POINTS, self.planned)
        return BayesianOracle(lambda values: str(self.space.resolve(values)), **options)

    def ask(self) -> list[Proposal]:
        """Return all trials that can start now; an empty list when the search has ended."""
        proposals: list[Proposal] = []
        while len(proposals) < self._most_at_once():
            with warnings.catch_warnings():  # about old names of threads, about a flat kernel
                warnings.simplefilter("ignore")
                slot = f"slot{len(self.oracle.trials)}"
                trial = self.oracle.create_trial(slot)
            if trial.status != TrialStatus.RUNNING:
                break
            self._running[trial.trial_id] = slot, trial
            proposals.append(self._proposal(trial))
        return proposals

    def _most_at_once(self) -> float:
        """Return the most trials of a batch; Bayesian proposals need all earlier results."""
        if self.kind != "bayesian":
            return math.inf
        return max(min(INITIAL_POINTS, self.planned) - self._told, 1)

    def _proposal(self, trial: Any) -> Proposal:
        values = trial.hyperparameters.values
        config = self.space.resolve(values)
        number = trial.trial_id
        if self.kind != "hyperband":
            return Proposal(number, config, self.budget.max_epochs, root=number)
        before = values.get("tuner/trial_id")
        root = self._roots[number] = self._roots[before] if before else number
        bracket = self._brackets.setdefault(root, values["tuner/bracket"])
        return Proposal(
            number,
            config,
            values["tuner/epochs"],
            root=root,
            continues=before,
            initial_epoch=values["tuner/initial_epoch"],
            bracket=bracket,
            rung=values["tuner/round"],
        )

    def tell(self, number: str, score: float) -> None:
        """Report the best validation value of a trial; a diverged trial counts at chance.

        All trials count as completed: in Keras Tuner a failed trial costs its rung a promotion.
        """
        slot, trial = self._running.pop(number)
        ongoing = self.oracle.ongoing_trials
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            trial.score, trial.status = score, TrialStatus.COMPLETED
            # alone, because Keras Tuner searches all ongoing trials
            self.oracle.ongoing_trials = {slot: ongoing.pop(slot)}
            self.oracle.end_trial(trial)
            self.oracle.ongoing_trials = ongoing
        self._told += 1


class FixedSpace(keras_tuner.HyperParameters):
    """Hyperparameters that all copies share, so none may be added once there are copies."""

    def copy(self) -> "FixedSpace":
        """Return the same hyperparameters with values of their own."""
        twin = FixedSpace.__new__(FixedSpace)
        twin.__dict__ |= self.__dict__  # lists of open scopes are empty outside a declaration
        twin.values = dict(self.values)
        return twin

    def drawn(self, seed: int) -> tuple[dict[str, Any], int]:
        """Return random values of the active hyperparameters, and the seed after them.

        Like Keras Tuner: each active one, in the order of the space, is drawn from the next seed.
        """
        values: dict[str, Any] = {}
        generator = random.Random()
        for one in self._space:
            if all(condition.is_active(values) for condition in one.conditions):
                generator.seed(seed)
                values[one.name] = one.prob_to_value(generator.random())
                seed += 1
        return values, seed


def in_memory(oracle: Any) -> Any:
    """Keep an oracle over a `FixedSpace` from writing files and needless work; return it.

    Its trials must end as completed, with a number as their `score`.
    """
    oracle.verbose = 0
    oracle.save = lambda: None
    oracle._save_trial = lambda trial: None
    oracle.update_space = lambda hyperparameters: None
    oracle.score_trial = lambda trial: None  # `tell` has set the score
    oracle._check_consecutive_failures = lambda: None
    oracle._max_collisions = MOST_COLLISIONS
    oracle._random_values = lambda: _random_values(oracle)
    record = oracle._record_values

    def record_once(trial: Any) -> None:
        if trial.trial_id not in oracle._id_to_hash:
            record(trial)

    oracle._record_values = record_once
    if isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        oracle._populate_next = _Queue()
    return oracle


def _random_values(oracle: Any) -> dict[str, Any] | None:
    """Draw values that no trial has; return None after too many collisions."""
    space: FixedSpace = oracle.hyperparameters
    for _ in range(oracle._max_collisions + 1):
        values, oracle._seed_state = space.drawn(oracle._seed_state)
        if not oracle._duplicate(values):
            return values
    return None


class _Queue(deque[Any]):
    """The trials that a grid search continues from, without a list's cost of popping the first."""

    def pop(self, place: int = 0) -> Any:  # type: ignore[override]
        return self.popleft()


class BayesianOracle(keras_tuner.oracles.BayesianOptimizationOracle):
    """Keras Tuner's Bayesian oracle with a faster search of its acquisition, without repetitions.

    Keras Tuner minimizes the acquisition from 50 random points by numerical gradients, one
    prediction at a time: seconds per proposal. Here the Gaussian process predicts thousands of
    random points together, and only the best few are refined. The first new one is proposed, so a
    space of few points is not trained twice (keras-tuner issue 608). `same` returns equal keys for
    values of the same configuration.
    """

    def __init__(self, same: Callable[[Mapping[str, Any]], Any], **options: Any) -> None:
        super().__init__(**options)
        self._same = same
        self._proposed: set[Any] = set()
        self.gpr.n_restarts_optimizer = FIT_RESTARTS

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Propose random values at first, then new values of the least lower confidence bound."""
        completed = [t for t in self.trials.values() if t.status == TrialStatus.COMPLETED]
        random_ones = iter(self._random_values, None)
        few = len(completed) < self.num_initial_points
        for values in random_ones if few else self._promising():
            key = self._same(values)
            if key not in self._proposed:
                self._proposed.add(key)
                return {"status": TrialStatus.RUNNING, "values": values}
        return {"status": TrialStatus.STOPPED, "values": None}

    def _promising(self) -> Iterator[dict[str, Any]]:
        """Yield values in ascending order of the bound, refined ones first."""
        self.gpr.fit(*self._vectorize_trials())
        limits = self._get_hp_bounds()
        points = self._random_state.uniform(*limits.T, size=(CANDIDATES, len(limits)))
        points = points[np.argsort(self._bound(points), kind="stable")]
        refined = [
            minimize(lambda x: self._bound(x[None])[0], start, bounds=limits, method="L-BFGS-B")
            for start in points[:REFINED]
        ]
        refined.sort(key=lambda found: found.fun)
        for vector in [*(found.x for found in refined), *points]:
            yield self._vector_to_values(vector)

    def _bound(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Return the lower confidence bound of the negated objective."""
        mean, deviation = self.gpr.predict(points, return_std=True)
        bound: np.ndarray = mean - self.beta * deviation
        return bound
