"""Keras Tuner's oracles come in; batches of trials to train go out, results go back.

A `Search` is one oracle: one optimizer (equal budgets) or all of them (joint) in one repeat. It is
asked for every trial that can start now and told every result, so that the trials of all searches
can be trained side by side. The oracle lives in memory only. Its proposals are a function of its
seed and of the results it was told, so a resumed study replays the records through a new oracle
and stands where it stood: Keras Tuner's own state files, which a kill can truncate and which
silently keep old settings, do not exist here.
"""

import math
import warnings
from typing import Any, NamedTuple

import keras_tuner
from keras_tuner.engine import trial as kt_trial

from study.search.bayesian import BayesianOracle
from study.search.budget import INITIAL_POINTS, Budget, plan_search
from study.search.fixed_space import OPTIONS, FixedSpace, in_memory
from study.space.head_config import HeadConfig
from study.space.space import SearchSpace

MOST_COLLISIONS = 100_000  # draws until the last point of a small space is found


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
        self._brackets: dict[
            str, int
        ] = {}  # of a first rung; Keras Tuner gives promoted ones the newest

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
