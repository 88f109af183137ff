"""The keys of a `[head]` table, and everything needed to build and train one head.

Defaults are those of the blog post's head. A space that leaves a key of `LOSS` at its default does
not have the key at all, so its proposals, records and programs are those of a study without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from study.common.aliases import Value
from study.space.keys import SearchKey, is_fraction, is_whole, switch, whole

WIDEST = 65_536  # units of the dense layer
ACTIVATIONS = ("relu", "elu", "gelu", "leaky_relu", "selu", "silu", "softplus", "tanh", "sigmoid")
CLASS_WEIGHTS = ("none", "balanced")

LOSS: dict[str, SearchKey] = {
    "class_weight": SearchKey(
        "none", lambda v: v in CLASS_WEIGHTS, f"one of {', '.join(CLASS_WEIGHTS)}"
    ),
    "label_smoothing": SearchKey(0.0, is_fraction, "a number from 0 to below 1"),
}

HEAD: dict[str, SearchKey] = {
    "dense_width": whole(170, "units", WIDEST),
    "dropout": SearchKey(0.5, is_fraction, "a number from 0 to below 1"),
    "activation": SearchKey("relu", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "batch_norm": switch(True),
    "batch_size": SearchKey(
        16, lambda v: v == "full" or is_whole(v), 'a whole number of rows, or "full"', True
    ),
    "normalize": switch(False),
    **LOSS,
}

SINGLE_ROWS = (
    "batch_size 1 together with batch_norm: one row minus its own mean is 0, so such a head learns "
    "nothing and guesses; use 2 or more, or batch_norm = false"
)


def normalizes_single_rows(table: Mapping[str, Any]) -> bool:
    """Return whether a `[head]` table allows batches of one row together with batch_norm."""

    def may_be(key: str, value: Value) -> bool:
        given = table.get(key, HEAD[key].default)
        if isinstance(given, Mapping):
            return value in given.get("choices", ()) or given.get("min") == value
        return bool(given == value)

    return may_be("batch_size", 1) and may_be("batch_norm", True)


@dataclass(frozen=True)
class HeadConfig:
    """One head and its training, in Keras's own words."""

    optimizer: str  # the name in the search space
    keras_class: str  # of keras.optimizers
    learning_rate: float  # the peak
    optimizer_hyperparameters: Mapping[str, Value]  # further arguments of the class
    schedule: str
    schedule_hyperparameters: Mapping[str, Value]
    dense_width: int
    dropout: float
    activation: str
    batch_norm: bool
    batch_size: int | str  # rows a step, or "full"
    normalize: bool  # standardize the features by the training rows
    loss_hyperparameters: Mapping[str, Value] = field(default_factory=dict)  # if the space has them

    @property
    def balanced(self) -> bool:
        """Whether every class has the same weight in training, however many rows it has."""
        return self.loss_hyperparameters.get("class_weight") == "balanced"

    @property
    def label_smoothing(self) -> float:
        """The fraction of a label that is spread over all classes, 0 to below 1."""
        return float(self.loss_hyperparameters.get("label_smoothing", 0.0))

    @property
    def has_own_loss(self) -> bool:
        """Whether its loss differs from plain cross-entropy."""
        return self.balanced or self.label_smoothing > 0

    def hyperparameters(self) -> dict[str, Value]:
        """Return the flat table that records, TensorBoard and the report show."""
        table: dict[str, Value] = {
            "learning_rate": self.learning_rate,
            **self.optimizer_hyperparameters,
        }
        table |= {"schedule": self.schedule, **self.schedule_hyperparameters}
        table |= {key: getattr(self, key) for key in HEAD if key not in LOSS}
        return table | dict(self.loss_hyperparameters)
