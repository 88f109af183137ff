"""Keras Tuner's oracles come in; batches of trials to train go out, results go back.

A `Search` is one oracle: one optimizer (equal budgets) or all of them (joint) in one repeat. It is
asked for every trial that can start now and told every result, so that the trials of all searches
can be trained side by side. The oracle lives in memory only. Its proposals are a function of its
seed and of the results it was told, so a resumed study replays the records through a new oracle
and stands where it stood: Keras Tuner's own state files, which a kill can truncate and which
silently keep old settings, do not exist here.

Keras Tuner's Bayesian oracle with a faster search of its acquisition and without repetitions.

Keras Tuner minimizes the acquisition from 50 random points by numerical gradients, one prediction
at a time: seconds a proposal. Here the Gaussian process predicts thousands of random points at
once and only the best few are refined. The first of them that was not proposed before is taken, so
a space of few points is not trained twice (keras-tuner issue 608).

An oracle of Keras Tuner whose space is fixed comes in; the same one goes out, as fast at its
100,000th trial as at its first.

Keras Tuner lets a model add hyperparameters while it is built. So it copies the whole space with
every trial and every draw, compares each one with it when the trial ends, and counts failures anew
through all trials that ended. Here the space is declared once, no trial fails, each has one score,
and an oracle lives in memory: all trials share one space, and what would find nothing new is left
out. The proposals stay the same to the last digit.
"""

import math
import random
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras_tuner
import numpy as np
from keras_tuner.engine import trial as kt_trial
from scipy.optimize import minimize

from study.search.budget import INITIAL_POINTS, Budget, plan_search
from study.space.head_config import HeadConfig
from study.space.search_space import SearchSpace

MOST_COLLISIONS = 100_000  # draws until the last point of a small space is found

CANDIDATES = 4000
REFINED = 3
FIT_RESTARTS = 2  # of the kernel's length scale; Keras Tuner has 20

OPTIONS: Mapping[str, Any] = {
    "allow_new_entries": False,
    "max_consecutive_failed_trials": 10**9,  # a study is never aborted by bad trials
}


class FixedSpace(keras_tuner.HyperParameters):
    """Hyperparameters to which none are added once there are copies: those share them."""

    def copy(self) -> "FixedSpace":
        """The same hyperparameters, with values of its own."""
        twin = FixedSpace.__new__(FixedSpace)
        twin.__dict__ |= self.__dict__  # lists of open scopes are empty outside of a declaration
        twin.values = dict(self.values)
        return twin

    def drawn(self, seed: int) -> tuple[dict[str, Any], int]:
        """Random values of the active hyperparameters, and the seed after them.

        As Keras Tuner draws: each active one, in the order of the space, from the next seed.
        """
        values: dict[str, Any] = {}
        generator = random.Random()
        for one in self._space:
            if all(condition.is_active(values) for condition in one.conditions):
                generator.seed(seed)
                values[one.name] = one.prob_to_value(generator.random())
                seed += 1
        return values, seed


def in_memory(oracle: Any, *, most_collisions: int) -> Any:
    """The oracle, which keeps nothing on the disk and does nothing in vain.

    Args:
        oracle: made with `OPTIONS`, over a `FixedSpace`; its trials end with a `score` that is a
            number, and as completed.
        most_collisions: draws that were tried before, until its space counts as exhausted.
    """
    oracle.verbose = 0
    oracle.save = lambda: None
    oracle._save_trial = lambda trial: None
    oracle.update_space = lambda hyperparameters: None
    oracle.score_trial = lambda trial: None  # the one score that it was told
    oracle._check_consecutive_failures = lambda: None
    oracle._max_collisions = most_collisions
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
    """Values that no trial had; None where there are too many collisions."""
    space: FixedSpace = oracle.hyperparameters
    for _ in range(oracle._max_collisions + 1):
        values, oracle._seed_state = space.drawn(oracle._seed_state)
        if not oracle._duplicate(values):
            return values
    return None


class _Queue(deque[Any]):
    """What a grid search takes its next trial from, always the first: no list closes the gap."""

    def pop(self, place: int = 0) -> Any:  # type: ignore[override]
        return self.popleft()


class BayesianOracle(keras_tuner.oracles.BayesianOptimizationOracle):
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


class Proposal(NamedTuple):
    """A trial that an oracle wants to see trained."""

    number: str  # the oracle's own id, e.g. "0012"
    config: HeadConfig
    epochs: int  # in all
    root: str  # number of the first rung; decides the seed, so a rung continues its own run
    continues: str | None = None  # number of the rung before
    initial_epoch: int = 0
    bracket: int | None = None
    rung: int | None = None


class Search:
    """One oracle of Keras Tuner, asked in batches.

    Args:
        space: the search space.
        optimizer: the only one, or None for a joint search over all of the space.
        budget: what it may spend.
        seed: of the proposals.
    """

    def __init__(
        self, space: SearchSpace, optimizer: str | None, budget: Budget, *, seed: int
    ) -> None:
        self.space, self.optimizer, self.budget = space, optimizer, budget
        self.kind, self.planned = plan_search(space, optimizer, budget)
        self.oracle = self._oracle(seed)
        self.finished = False
        self.done = 0
        self._running: dict[str, tuple[str, Any]] = {}  # number -> its slot, Keras Tuner's trial
        self._roots: dict[str, str] = {}  # number -> first rung of the same run
        # number of a first rung -> its bracket; Keras Tuner gives promoted ones the newest
        self._brackets: dict[str, int] = {}

    def _oracle(self, seed: int) -> Any:
        hp = FixedSpace()
        self.space.declare(hp, self.optimizer)
        options: dict[str, Any] = {
            **OPTIONS,
            "objective": keras_tuner.Objective(self.budget.objective, "max"),
            "hyperparameters": hp,
            "seed": seed,
        }
        match self.kind:
            case "hyperband":
                options |= {"max_epochs": self.budget.max_epochs, "factor": self.budget.factor}
                oracle = keras_tuner.oracles.HyperbandOracle(**options)
            case "random":
                oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=self.planned, **options)
            case "bayesian":
                options["num_initial_points"] = min(INITIAL_POINTS, self.planned)
                oracle = BayesianOracle(
                    lambda values: str(self.space.resolve(values)),
                    max_trials=self.planned,
                    **options,
                )
            case _:
                oracle = keras_tuner.oracles.GridSearchOracle(max_trials=self.planned, **options)
        return in_memory(oracle, most_collisions=MOST_COLLISIONS)

    def ask(self) -> list[Proposal]:
        """Every trial that can start now; an empty list when the search has ended."""
        proposals: list[Proposal] = []
        while len(proposals) < self._most_at_once():
            with warnings.catch_warnings():  # of old names for threads, of a flat kernel
                warnings.simplefilter("ignore")
                slot = f"slot{len(self.oracle.trials)}"
                trial = self.oracle.create_trial(slot)
            if trial.status != kt_trial.TrialStatus.RUNNING:
                self.finished = not self._running
                break
            self._running[trial.trial_id] = slot, trial
            proposals.append(self._proposal(trial))
        return proposals

    def _most_at_once(self) -> float:
        """Bayesian proposals need all earlier results; the others come in any number."""
        if self.kind != "bayesian":
            return math.inf
        return max(min(INITIAL_POINTS, self.planned) - self.done, 1)

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
        """Report the best validation value of a trial; a diverged one counts at chance.

        Every trial is told as completed: Keras Tuner lets a failed one cost its rung a promotion.
        """
        slot, trial = self._running.pop(number)
        ongoing = self.oracle.ongoing_trials
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            trial.score, trial.status = score, kt_trial.TrialStatus.COMPLETED
            # alone, where Keras Tuner would look through all that are under way
            self.oracle.ongoing_trials = {slot: ongoing.pop(slot)}
            self.oracle.end_trial(trial)
            self.oracle.ongoing_trials = ongoing
        self.done += 1
