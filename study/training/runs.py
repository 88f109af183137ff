"""What a trainer of heads receives and returns.

A paused head is kept as small as possible. The padding of its arrays holds zeros, or whatever its
optimizer starts with; nothing here knows where it is. Instead, a number that is constant up to the
end of an axis is stored once, so every array is restored bit by bit.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, Shaped, UInt

from study.common.metrics import ACCURACY
from study.common.seeds import stream
from study.space.head_config import HeadConfig
from study.training.epoch_metrics import EpochMetrics
from study.training.head_state import Arrays
from study.training.program_key import WIDTHS


class TrainingTable(NamedTuple):
    """What all heads of a study are trained on: N examples have R rows, more than N with views."""

    features: Float32[np.ndarray, "R d"]
    labels: Int32[np.ndarray, " R"]
    n_classes: int
    views: Int32[np.ndarray, "N V"] | None = None  # rows of each example, its own first
    sample_weight: Float32[np.ndarray, " R"] | None = None  # in the training loss; None: all are 1


class TrainingRules(NamedTuple):
    """How all heads of a study are trained."""

    max_epochs: int  # horizon of every schedule
    widths: Sequence[int] = WIDTHS  # dense widths are padded to the next of these
    alone: Collection[str] = ()  # optimizers that cannot be mapped, so plain Keras trains them
    metric: str = ACCURACY  # chooses between epochs, a key of `study.common.metrics.WORDS`


class PackedArray(NamedTuple):
    """An array without its constant end."""

    shape: tuple[int, ...]
    values: Shaped[np.ndarray, "..."]  # from the start of every axis
    rest: Shaped[np.ndarray, ""]  # the number everywhere else

    @classmethod
    def of(cls, array: Shaped[np.ndarray, "..."]) -> "PackedArray":
        """Return the smallest piece from which `array` can be restored; a copy."""
        if not array.size or not array.ndim:
            return cls(array.shape, array.copy(), np.zeros((), array.dtype))
        rest = array[(-1,) * array.ndim].copy()
        bits = f"u{array.itemsize}"  # 0.0 == -0.0, and a NaN differs from itself
        other = array.view(bits) != rest.view(bits)
        lengths = []
        for axis in range(array.ndim):
            found = np.flatnonzero(other.any(axis=tuple({*range(array.ndim)} - {axis})))
            lengths.append(slice(found[-1] + 1 if len(found) else 0))
        return cls(array.shape, array[tuple(lengths)].copy(), rest)

    def restored(self) -> Shaped[np.ndarray, "..."]:
        """Return the whole array."""
        array = np.full(self.shape, self.rest, self.values.dtype)
        array[tuple(map(slice, self.values.shape))] = self.values
        return array


def packed(arrays: Arrays) -> tuple[PackedArray, ...]:
    """Pack a head's arrays; equal ones, as weights that are the best so far, are kept once."""
    known: dict[tuple[object, ...], PackedArray] = {}
    found = []
    for array in arrays:
        one = PackedArray.of(array)
        key = (one.shape, one.values.shape, one.rest.tobytes(), one.values.tobytes())
        found.append(known.setdefault(key, one))
    return tuple(found)


class HeadState(NamedTuple):
    """All that is needed to continue a run exactly."""

    epoch: int  # epochs trained so far
    packed: tuple[PackedArray, ...]  # a flattened `State`

    @classmethod
    def of(cls, epoch: int, arrays: Arrays) -> "HeadState":
        """Return the state of a head after `epoch` epochs."""
        return cls(epoch, packed(arrays))

    @property
    def arrays(self) -> Arrays:
        """A flattened `State`, padded."""
        return tuple(one.restored() for one in self.packed)


class HeadRun(NamedTuple):
    """One head to train."""

    config: HeadConfig
    train: Int32[np.ndarray, " n"]  # rows
    validation: Int32[np.ndarray, " m"]  # rows
    seed: int  # initial weights, order of rows and dropout: three streams derived from it
    epochs: int  # in all, those of `state` included
    state: HeadState | None = None  # continue from here
    pauses: bool = True  # whether it may be continued later
    last_weights: bool = False  # whether its weights are those of its last epoch, not its best
    keep_weights: bool = True  # whether a worker sends its weights
    keep_classes: bool = False  # whether its result has the predicted classes; not with `state`

    @property
    def first(self) -> int:
        """The epoch it starts with, counted from 0."""
        return self.state.epoch if self.state else 0

    @property
    def remaining(self) -> int:
        """Number of epochs to train."""
        return self.epochs - self.first


class HeadResult(NamedTuple):
    """Curves over the epochs trained now, and the head after them."""

    metrics: EpochMetrics
    learning_rate: Float32[np.ndarray, " epochs"]  # of the last step of each
    state: HeadState | None  # None: the run does not pause, or plain Keras trained it
    weights: list[Float32[np.ndarray, "..."]]  # of the first best epoch, or of the last
    seconds: float  # this run's share of the wall time, without compiling
    classes: UInt[np.ndarray, " m"] | None = None  # cross-fitted, of the validation rows


def order_of_rows(
    run: HeadRun, epoch: int, views: Int[np.ndarray, "N V"] | None = None
) -> Int[np.ndarray, " n"]:
    """Return the rows that an epoch, counted from 0, trains on, in their order.

    With `views`, one view of each training row is drawn.
    """
    order: np.ndarray = run.train[stream(run.seed, "order", epoch).permutation(len(run.train))]
    if views is None:
        return order
    drawn = stream(run.seed, "views", epoch).integers(views.shape[1], size=len(order))
    chosen: np.ndarray = views[order, drawn]
    return chosen
