"""Seeds: every random stream of a study has a name, and its numbers depend on nothing else."""

import hashlib
import zlib

import numpy as np


def stream(seed: int, name: str, *more: int) -> np.random.Generator:
    """Return the named random stream of a seed; `stream(seed, "order", e)` orders epoch e."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), *more])


def draw_of(seed: int, part: str, label: int) -> np.random.Generator:
    """Return the stream that draws a class's rows for the part "test" or "validation" of a split.

    The label after the last class draws what several classes share.
    """
    return np.random.default_rng((seed, {"test": 1, "validation": 2}[part], label))


def derive_seed(seed: int, *names: object) -> int:
    """Return the seed of one named stream, 1 to 2**31 - 1: sha256 of `seed` and the names."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % (2**31 - 1) + 1
