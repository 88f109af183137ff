"""A learning curve in memory: a quarter of what a list of numbers needs, and as exact.

Records say 7 digits, and not all of those come back from float32: 0.0009765629 would be written
again as 0.0009765628. So the numbers are doubles, side by side.
"""

import math
from array import array
from collections.abc import Iterable
from typing import Self


class Curve(array):  # type: ignore[type-arg]  # of floats
    """Numbers, one an epoch; equal to any other ones that are the same, NaN to NaN."""

    __slots__ = ()

    def __new__(cls, values: Iterable[float] = ()) -> Self:
        """A curve of these numbers."""
        return super().__new__(cls, "d", values)  # type: ignore[return-value]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | tuple | array):
            return NotImplemented
        return len(self) == len(other) and all(map(_same, self, other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]  # as a list


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


NOTHING = Curve()  # of all runs without one
