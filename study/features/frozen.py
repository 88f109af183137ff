"""A network whose weights stay as they are, with its origin and its fingerprint."""

import hashlib
from typing import NamedTuple

import keras
import numpy as np

from study.common.errors import UserError
from study.common.text import printable


class Frozen(NamedTuple):
    """A network from pixels to a vector."""

    model: keras.Model  # (batch, size, size, 3) RGB of 0 to 255 -> (batch, n) float32
    source: str  # of the weights, in words
    digest: str  # of the weights and what they are of, sha256 hex
    from_map: bool = False  # whether a map was averaged that the user's own network gives


def digest_of(what: str, arrays: list[np.ndarray], source: str) -> str:
    """Of an architecture in words and its weights, in their order, sha256 hex.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    digest = hashlib.sha256(what.encode())
    for array in arrays:
        if not np.isfinite(array).all():
            raise UserError(f"weights {source} hold NaN or infinity: damaged")
        digest.update(repr((str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """What an exception of Keras says, without the pages that follow."""
    lines = str(error).strip().splitlines()
    return printable(lines[0][:200]) if lines else type(error).__name__
