"""Weights of examples in the training loss, as `sample_weight` of Keras's `fit` has them."""

import numpy as np
from jaxtyping import Bool, Shaped

from study.common.errors import UserError
from study.data.examples import Examples
from study.data.files.class_folders import TEST

WEIGHTS = "weights are finite numbers of 0 or more"


def are_weights(values: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return which numbers can be weights in float32."""
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    return np.isfinite(single) & (single >= 0)


def weights_in_words(examples: Examples) -> list[str]:
    """Return a line about the weights, if there are any; refuse training weights that are all 0."""
    weights, noun = examples.sample_weight, examples.noun
    if weights is None:
        return []
    learned = np.ones(len(weights), bool)
    learned[examples.of_part(TEST)] = False
    if not weights[learned].any():
        raise UserError(
            f"{examples.source}: the weights of all {noun}s to train on are 0, so there "
            "is nothing to learn: give some of them a weight above 0"
        )
    zeros = np.count_nonzero(weights == 0)
    some = f" ({zeros:,} of {len(weights):,} {noun}s weigh 0)" if zeros else ""
    return [
        f"sample weights: {weights.min():g} to {weights.max():g}{some} in the training loss; "
        f"accuracies and validation count every {noun} alike"
    ]
