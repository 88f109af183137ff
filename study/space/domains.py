"""The values that hyperparameters may take.

A key `one_minus_X` of an optimizer samples 1 - X, for arguments that are between 0 and 1 and
matter most near 1: `argument_of` and `turned` translate between the key and the argument.
"""

import math
from typing import NamedTuple

from study.common.aliases import Value

ONE_MINUS = "one_minus_"


def argument_of(key: str) -> str:
    """Return the optimizer's argument that a key of its table decides."""
    return key.removeprefix(ONE_MINUS)


def turned(key: str, value: Value) -> Value:
    """Return a sampled value as the argument's, or back: 1 - value for a `one_minus_` key."""
    return 1 - value if key.startswith(ONE_MINUS) and not isinstance(value, str) else value


class Domain(NamedTuple):
    """The values that one hyperparameter may take."""

    choices: tuple[Value, ...] = ()  # one: fixed; several: a set; none: a range
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    default: Value | None = None  # as the file gives it

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to tune."""
        return len(self.choices) == 1

    @property
    def points(self) -> float:
        """Number of distinct values; infinite for a range of real numbers."""
        if self.choices:
            return len(self.choices)
        return self.high - self.low + 1 if self.integer else math.inf

    def first(self) -> Value:
        """Return the default if the file gives one, else the first choice or the range's middle."""
        if self.default is not None:
            return self.default
        if self.choices:
            return self.choices[0]
        low, high = self.low, self.high
        middle = math.sqrt(low) * math.sqrt(high) if self.log else (low + high) / 2
        middle = min(max(middle, low), high)  # rounding may leave a narrow range
        return round(middle) if self.integer else middle


class OptimizerSpace(NamedTuple):
    """One `[optimizers.NAME]` table."""

    keras_class: str
    learning_rate: Domain
    hyperparameters: dict[str, Domain]  # keyed as in the file, one_minus_ included
    schedules: tuple[str, ...]  # names of those it is combined with
    restricted: bool  # whether its table lists them, so that its choice of them is its own
