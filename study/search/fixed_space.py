"""An oracle of Keras Tuner whose space is fixed comes in; the same one goes out, as fast at its
100,000th trial as at its first.

Keras Tuner lets a model add hyperparameters while it is built. So it copies the whole space with
every trial and every draw, compares each one with it when the trial ends, and counts failures anew
through all trials that ended. Here the space is declared once, no trial fails, each has one score,
and an oracle lives in memory: all trials share one space, and what would find nothing new is left
out. The proposals stay the same to the last digit.
"""

import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import keras_tuner

OPTIONS: Mapping[str, Any] = {
    "allow_new_entries": False,
    "max_consecutive_failed_trials": 10**9,  # a study is never aborted by bad trials
}


class FixedSpace(keras_tuner.HyperParameters):  # type: ignore[misc]
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
