"""Random bits that depend on nothing but a head's key, the step, the row and the unit.

Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011),
as JAX uses it. TensorFlow's own stateless generators take one key for a whole tensor and cannot be
mapped; here every head has its own, and neither the padding nor the neighbours change its noise.
"""

from typing import Any

import tensorflow as tf

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two random words for every pair of key words and counter words; all uint32, broadcast."""
    parity = tf.bitwise.bitwise_xor(key[0], key[1])
    schedule = (*key, tf.bitwise.bitwise_xor(parity, tf.constant(0x1BD11BDA, tf.uint32)))
    x0, x1 = counter[0] + schedule[0], counter[1] + schedule[1]
    for group in range(5):
        for bits in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            left, right = tf.constant(bits, tf.uint32), tf.constant(32 - bits, tf.uint32)
            x1 = tf.bitwise.bitwise_or(
                tf.bitwise.left_shift(x1, left), tf.bitwise.right_shift(x1, right)
            )
            x1 = tf.bitwise.bitwise_xor(x1, x0)
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return x0, x1


def dropout_noise(seeds: Any, steps: Any, rates: Any, rows: int, units: int) -> Any:
    """(K, rows, units): 0 with a head's probability `rates` (K,), else 1 / (1 - rate).

    `seeds` (K, 2) uint32 and the step's number (K,) int32 make the key.
    """
    half = -(-rows // 2)  # two words for each counter: rows 2i and 2i + 1
    key = (seeds[:, 0], tf.bitwise.bitwise_xor(seeds[:, 1], tf.cast(steps, tf.uint32)))
    key = (key[0][:, None, None], key[1][:, None, None])
    pairs = tf.cast(tf.range(half), tf.uint32)[None, :, None]
    columns = tf.cast(tf.range(units), tf.uint32)[None, None, :]
    shape = (seeds.shape[0], half, units)
    words = threefry(key, (tf.broadcast_to(pairs, shape), tf.broadcast_to(columns, shape)))
    bits = tf.reshape(tf.stack(words, axis=2), (shape[0], 2 * half, units))[:, :rows]
    high = tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32))
    uniform = tf.cast(tf.cast(high, tf.int32), tf.float32) * 2.0**-24
    rates = rates[:, None, None]
    return tf.where(uniform >= rates, 1.0 / (1.0 - rates), 0.0)
