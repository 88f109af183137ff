"""A few products and sums, compiled as heads are, whose digest shows how a process rounds.

Runs are equal to the last digit only among processes with the same arithmetic: the processor, the
versions and even the number of threads decide the order of sums. Since nobody can list all that
matters, a digest is made of what a small head computes on fixed numbers, in batches of a size whose
products XLA divides among threads (32 rows by 512 features are, 96 are not).
"""

import hashlib
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from study.common.seeds import stream
from study.training.program_cache import disk_errors

BATCHES, FEATURES, WIDTH, CLASSES = (16, 32), 512, 256, 8


@cache
def rounding_digest() -> str:
    """Return 16 hex digits, equal for processes that round equally; takes 0.3 s."""
    random = stream(1, "probe")
    shapes = ((FEATURES, WIDTH), (WIDTH, CLASSES), *((batch, FEATURES) for batch in BATCHES))
    numbers = [tf.constant(random.random(one, np.float32) - np.float32(0.5)) for one in shapes]
    with disk_errors():  # XLA keeps this program, too
        found = tf.function(_passes, jit_compile=True)(*numbers)
    return hashlib.sha256(b"".join(one.numpy().tobytes() for one in found)).hexdigest()[:16]


def _passes(first: Any, second: Any, *batches: Any) -> list[Any]:
    """Return what two layers make of each batch, its loss, and products as their gradients have."""
    found = []
    for rows in batches:
        hidden = rows @ first
        scores = tf.nn.log_softmax(tf.nn.relu(hidden) @ second)
        found += [scores, tf.reduce_mean(scores), tf.transpose(rows) @ hidden]
    return found
