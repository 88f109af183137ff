"""The head's hyperparameters: one entry for each key of a `[head]` table.

Defaults are those of the blog post's head. A space that leaves a key of `LOSS` at its default does
not have it at all: its proposals, records and programs are those of studies before there was one.
"""

from collections.abc import Mapping
from typing import Any

from study.common.aliases import Value
from study.space.keys import Key, is_part, is_whole, switch, whole

WIDEST = 65_536  # units of the dense layer
ACTIVATIONS = ("relu", "elu", "gelu", "leaky_relu", "selu", "silu", "softplus", "tanh", "sigmoid")

CLASS_WEIGHTS = ("none", "balanced")

LOSS: dict[str, Key] = {
    "class_weight": Key("none", lambda v: v in CLASS_WEIGHTS, f"one of {', '.join(CLASS_WEIGHTS)}"),
    "label_smoothing": Key(0.0, is_part, "a number from 0 to below 1"),
}

HEAD: dict[str, Key] = {
    "dense_width": whole(170, "units", WIDEST),
    "dropout": Key(0.5, is_part, "a number from 0 to below 1"),
    "activation": Key("relu", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "batch_norm": switch(True),
    "batch_size": Key(
        16, lambda v: v == "full" or is_whole(v), 'a whole number of rows, or "full"', True
    ),
    "normalize": switch(False),
    **LOSS,
}

SINGLE_ROWS = (
    "batch_size 1 together with batch_norm: a batch of one row less its own mean is 0, so such a "
    "head learns nothing and guesses; take 2 or more, or batch_norm = false"
)


def normalizes_single_rows(table: Mapping[str, Any]) -> bool:
    """Whether a `[head]` table lets a head take one row a step and normalize over the batch."""

    def may_be(key: str, value: Value) -> bool:
        given = table.get(key, HEAD[key].default)
        if isinstance(given, Mapping):
            return value in given.get("choices", ()) or given.get("min") == value
        return bool(given == value)

    return may_be("batch_size", 1) and may_be("batch_norm", True)
