"""Keras Tuner's oracles come in; batches of trials to train go out, results go back.

A `Search` is one oracle: one optimizer (equal budgets) or all of them (joint) in one repeat. It is
asked for every trial that can start now and told every result, so that the trials of all searches
can be trained side by side. The oracle lives in memory only. Its proposals are a function of its
seed and of the results it was told, so a resumed study replays the records through a new oracle
and stands where it stood: Keras Tuner's own state files, which a kill can truncate and which
silently keep old settings, do not exist here.
"""

import hashlib
import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras_tuner
from keras_tuner.engine import trial as kt_trial

from study.bayesian import BayesianOracle
from study.space import HeadConfig, SearchSpace

OBJECTIVE = "val_accuracy"
TUNERS = ("hyperband", "random", "bayesian", "grid")
INITIAL_POINTS = 8  # random trials before the Gaussian process proposes


class Budget(NamedTuple):
    """What one search may spend."""

    tuner: str
    max_epochs: int
    factor: int  # Hyperband's reduction factor
    trials: int  # random, bayesian; the most a grid visits


class Proposal(NamedTuple):
    """A trial that an oracle wants to see trained."""

    number: str  # the oracle's own id, e.g. "0012"
    config: HeadConfig
    epochs: int  # in all
    root: str  # number of the first rung; decides the seed, so a rung continues its own run
    continues: str | None = None  # number of the rung before
    initial_epoch: int = 0
    bracket: int | None = None
    round: int | None = None


def derive_seed(seed: int, *names: object) -> int:
    """The seed of one named stream, 1 to 2**31 - 1: sha256 of the study's seed and the names."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**31 - 1) + 1


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
        self._running: dict[str, Any] = {}
        self._roots: dict[str, str] = {}  # number -> first rung of the same run
        self._brackets: dict[
            str, int
        ] = {}  # of a first rung; Keras Tuner gives promoted ones the newest

    def _oracle(self, seed: int) -> Any:
        hp = keras_tuner.HyperParameters()
        self.space.declare(hp, self.optimizer)
        options: dict[str, Any] = {
            "objective": keras_tuner.Objective(OBJECTIVE, "max"),
            "hyperparameters": hp,
            "allow_new_entries": False,
            "seed": seed,
            "max_consecutive_failed_trials": 10**9,  # a study is never aborted by bad trials
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
        oracle.verbose = 0
        oracle._max_collisions = 100_000  # draws until the last point of a small space is found
        oracle.save = lambda: None  # in memory only: see the module's docstring
        oracle._save_trial = lambda trial: None
        return oracle

    def ask(self) -> list[Proposal]:
        """Every trial that can start now; an empty list when the search has ended."""
        proposals: list[Proposal] = []
        while len(proposals) < self._most_at_once():
            with warnings.catch_warnings():  # of old names for threads, of a flat kernel
                warnings.simplefilter("ignore")
                trial = self.oracle.create_trial(f"slot{len(self.oracle.trials)}")
            if trial.status != kt_trial.TrialStatus.RUNNING:
                self.finished = not self._running
                break
            self._running[trial.trial_id] = trial
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
            round=values["tuner/round"],
        )

    def tell(self, number: str, score: float) -> None:
        """Report the best validation accuracy of a trial; a diverged one counts at chance.

        Every trial is told as completed: Keras Tuner lets a failed one cost its rung a promotion.
        """
        trial = self._running.pop(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.oracle.update_trial(number, {OBJECTIVE: score})
            trial.status = kt_trial.TrialStatus.COMPLETED
            self.oracle.end_trial(trial)
        self.done += 1


def hyperband_rungs(max_epochs: int, factor: int) -> list[tuple[int, int, int, int]]:
    """(bracket, round, trials, epochs) of Hyperband as Keras Tuner cuts it (Li et al. 2018)."""
    oracle = keras_tuner.oracles.HyperbandOracle(
        objective=keras_tuner.Objective(OBJECTIVE, "max"), max_epochs=max_epochs, factor=factor
    )
    return [
        (bracket, rung, oracle._get_size(bracket, rung), oracle._get_epochs(bracket, rung))
        for bracket in reversed(range(oracle._get_num_brackets()))
        for rung in range(oracle._get_num_rounds(bracket))
    ]


def promotions(
    tuner: str, max_epochs: int, factor: int
) -> dict[tuple[int | None, int | None], int]:
    """(bracket, round) -> how many trials of it are promoted; empty without Hyperband."""
    if tuner != "hyperband":
        return {}
    return {
        (bracket, rung - 1): trials
        for bracket, rung, trials, _ in hyperband_rungs(max_epochs, factor)
    }


def hyperband_cost(max_epochs: int, factor: int) -> tuple[int, int]:
    """(trials, epochs) of one Hyperband search whose rungs continue where the last one ended."""
    trials = epochs = 0
    before = 0
    for _, rung, size, until in hyperband_rungs(max_epochs, factor):
        trials += size
        epochs += size * (until - (before if rung else 0))
        before = until
    return trials, epochs


def plan_search(space: SearchSpace, optimizer: str | None, budget: Budget) -> tuple[str, int]:
    """(kind, most trials) of a search, cut to the size of its space.

    Hyperband needs at least as many configurations as its first rungs hold, else Keras Tuner stops
    without halving (keras-tuner issue 676). A smaller space is searched at full length instead, by
    a grid if that costs no more epochs than Hyperband would have, else by random draws.
    """
    names: Sequence[str] = [optimizer] if optimizer else list(space.optimizers)
    points = sum(space.points(name) for name in names)
    if budget.tuner == "hyperband":
        trials, epochs = hyperband_cost(budget.max_epochs, budget.factor)
        first = sum(r[2] for r in hyperband_rungs(budget.max_epochs, budget.factor) if r[1] == 0)
        if points >= first:
            return "hyperband", trials
        affordable = max(epochs // budget.max_epochs, 1)
        return ("grid", int(points)) if points <= affordable else ("random", affordable)
    if budget.tuner == "grid":
        visited = sum(space.points(name, grid=True) for name in names)
        return "grid", int(min(visited, budget.trials))
    if points <= budget.trials:
        return "grid", int(points)
    return budget.tuner, budget.trials
