"""What a trainer of heads is given and gives back.

A padded array comes in; what of it is not constant to its end is kept, bit by bit.

A head that is narrower than its program has zeros, or what its optimizer begins with, in the
padding of each of its arrays. Nothing here knows where: whatever is the same number up to the end
of an axis is left out, so an array comes back exactly as it was, whoever made it.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from study.common.seeds import stream
from study.space.head_config import HeadConfig
from study.training.epoch_metrics import EpochMetrics
from study.training.head_state import Arrays


class PackedArray(NamedTuple):
    """An array without its constant end."""

    shape: tuple[int, ...]
    values: np.ndarray  # from the beginning of every axis
    rest: np.ndarray  # what stands everywhere else, ()

    @classmethod
    def of(cls, array: np.ndarray) -> "PackedArray":
        """The smallest part from which `array` comes back; a copy."""
        if not array.size or not array.ndim:
            return cls(array.shape, array.copy(), np.zeros((), array.dtype))
        rest = array[(-1,) * array.ndim].copy()  # ()
        bits = f"u{array.itemsize}"  # -0.0 is not 0.0, and a NaN is itself
        other = array.view(bits) != rest.view(bits)
        lengths = []
        for axis in range(array.ndim):
            found = np.flatnonzero(other.any(axis=tuple({*range(array.ndim)} - {axis})))
            lengths.append(slice(found[-1] + 1 if len(found) else 0))
        return cls(array.shape, array[tuple(lengths)].copy(), rest)

    def restored(self) -> np.ndarray:
        """The array."""
        array = np.full(self.shape, self.rest, self.values.dtype)
        array[tuple(map(slice, self.values.shape))] = self.values
        return array


def parts_of(arrays: Sequence[np.ndarray]) -> tuple[PackedArray, ...]:
    """Those of a head's arrays; of equal ones, as weights that are the best so far, one is kept."""
    known: dict[tuple[object, ...], PackedArray] = {}
    found = []
    for array in arrays:
        part = PackedArray.of(array)
        key = (part.shape, part.values.shape, part.rest.tobytes(), part.values.tobytes())
        found.append(known.setdefault(key, part))
    return tuple(found)


class HeadState(NamedTuple):
    """All that continuing a run exactly takes."""

    epoch: int  # epochs trained so far
    parts: tuple[PackedArray, ...]  # of a flattened `State`

    @classmethod
    def of(cls, epoch: int, arrays: Arrays) -> "HeadState":
        """That of a head whose padded `State`, flattened, is `arrays`."""
        return cls(epoch, parts_of(arrays))

    @property
    def arrays(self) -> Arrays:
        """A flattened `State`, padded."""
        return tuple(part.restored() for part in self.parts)


class TrainingTable(NamedTuple):
    """What all heads of a study are trained on: N examples have R rows, more than N with views."""

    features: np.ndarray  # (R, n_features) float32
    labels: Int32[np.ndarray, " R"]
    n_classes: int
    views: np.ndarray | None = None  # (N, n_views) int32 rows of each example; None: its own alone


class TrainingRules(NamedTuple):
    """How all heads of a study are trained; see `Trainer`."""

    max_epochs: int
    widths: Sequence[int]
    alone: Collection[str]
    metric: str


class HeadRun(NamedTuple):
    """One head to train."""

    config: HeadConfig
    train: np.ndarray  # (n,) row numbers
    validation: np.ndarray  # (m,) row numbers
    seed: int  # initial weights, order of rows and dropout: three streams derived from it
    epochs: int  # until this many are done in all
    state: HeadState | None = None  # continue from here
    pauses: bool = True  # whether it may be continued
    keep_weights: bool = True  # whether its best weights are asked for: elsewhere, they are sent

    @property
    def first(self) -> int:
        """The epoch it begins with, counted from 0."""
        return self.state.epoch if self.state else 0

    @property
    def remaining(self) -> int:
        """Epochs to train."""
        return self.epochs - self.first


class HeadResult(NamedTuple):
    """Curves over the epochs trained now, each (epochs,), and what they ended in."""

    metrics: EpochMetrics
    learning_rate: np.ndarray  # of the epoch's last step
    state: HeadState | None  # None: it is not to be continued, or can only be trained again
    best_weights: list[np.ndarray]  # as build_head(...).get_weights(), first that is judged best
    seconds: float  # this run's share of the wall time, without compiling


def order_of_rows(run: HeadRun, epoch: int, views: np.ndarray | None = None) -> np.ndarray:
    """The rows that epoch `epoch`, counted from 0, trains on, in their order.

    Args:
        run: its training rows are shuffled.
        epoch: has a stream of its own.
        views: (N, n_views) row numbers; of each training row one of its views is drawn.
    """
    order: np.ndarray = run.train[stream(run.seed, "order", epoch).permutation(len(run.train))]
    if views is None:
        return order
    drawn = stream(run.seed, "views", epoch).integers(views.shape[1], size=len(order))
    chosen: np.ndarray = views[order, drawn]
    return chosen
