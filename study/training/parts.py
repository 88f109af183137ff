"""A padded array comes in; what of it is not constant to its end is kept, bit by bit.

A head that is narrower than its program has zeros, or what its optimizer begins with, in the
padding of each of its arrays. Nothing here knows where: whatever is the same number up to the end
of an axis is left out, so an array comes back exactly as it was, whoever made it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """An array without its constant end."""

    shape: tuple[int, ...]
    values: np.ndarray  # from the beginning of every axis
    rest: np.ndarray  # what stands everywhere else, ()

    @classmethod
    def of(cls, array: np.ndarray) -> "Part":
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


def parts_of(arrays: Sequence[np.ndarray]) -> tuple[Part, ...]:
    """Those of a head's arrays; of equal ones, as weights that are the best so far, one is kept."""
    known: dict[tuple[object, ...], Part] = {}
    found = []
    for array in arrays:
        part = Part.of(array)
        key = (part.shape, part.values.shape, part.rest.tobytes(), part.values.tobytes())
        found.append(known.setdefault(key, part))
    return tuple(found)
