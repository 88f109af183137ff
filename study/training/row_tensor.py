"""Feature rows, or states of heads -> what TensorFlow takes for them, if possible not a copy."""

import numpy as np
import tensorflow as tf


def row_tensor(features: np.ndarray) -> tf.Tensor:
    """A float32 array as TensorFlow sees it: on a CPU the same memory, or the same mapped file.

    `tf.convert_to_tensor` would copy it, and read a file that is larger than the memory.
    """
    if tf.config.list_logical_devices("GPU") or not features.flags.writeable:
        return tf.convert_to_tensor(features, tf.float32)
    rows = np.ascontiguousarray(features, np.float32)  # the same object if it is one already
    return tf.experimental.dlpack.from_dlpack(np.asarray(rows).__dlpack__())
