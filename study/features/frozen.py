"""A Keras network -> a frozen network from pixels to a vector, with a digest of its weights.

In: a network, how its images are prepared, and where its weights come from. Out: a `Frozen` made
of Keras's own layers, its preprocessing inside, so that it can be saved in one file. `caffe`, `tf`
and `torch` give the values of `keras.applications.*.preprocess_input` to the last bit, also in a
compiled graph.
"""

import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np
from jaxtyping import Float

from study.common.bases import NONE, RESCALE
from study.common.errors import UserError

MEAN_BGR = (103.939, 116.779, 123.68)  # ImageNet's, of pixels from 0 to 255
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's RGB, from 0 to 1


class Frozen(NamedTuple):
    """A frozen network from (batch, size, size, 3) RGB pixels of 0 to 255 to (batch, n) float32."""

    model: keras.Model
    source: str  # of the weights, in words
    digest: str  # of the weights, for all but VGG16 also of the architecture; sha256, hex
    from_map: bool = False  # whether a feature map of the user's own network is averaged
    doubts: tuple[str, ...] = ()  # what makes the user's own network look like a mistake


def freeze(
    network: keras.Model, size: int, preprocess: str, *, name: str, architecture: str, source: str
) -> Frozen:
    """Return `network` behind its preprocessing; a feature map is averaged over its positions.

    If training continues, batch normalization keeps its statistics, and dropout is active only
    where the model is called with `training=True`. The text `architecture` is part of the digest.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    digest = _digest(architecture, network.get_weights(), source)
    pixels = keras.Input((size, size, 3), name="pixels")
    features = network(prepared(pixels, preprocess), training=False)
    is_map = len(features.shape) == 4
    if is_map:
        features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="average")(features)
    elif features.dtype != "float32":
        features = keras.ops.cast(features, "float32")
    model = keras.Model(pixels, features, name=name)
    model.trainable = False
    return Frozen(model, source, digest, is_map)


def prepared(pixels: Any, preprocess: str) -> Any:
    """Return RGB pixels of 0 to 255 (a float32 tensor) as one of `PREPROCESS` prepares them."""
    if preprocess == NONE:
        return pixels
    if preprocess == RESCALE:
        return keras.layers.Rescaling(1.0 / 255.0, dtype="float32", name="divide_by_255")(pixels)
    if preprocess == "caffe":
        return _plus([-mean for mean in MEAN_BGR])(keras.ops.flip(pixels, axis=-1))
    if preprocess == "tf":
        return _plus(-1.0)(_divided(pixels, 127.5))
    shifted = _plus([-mean for mean in MEAN])(_divided(pixels, 255.0))
    return _divided(shifted, np.asarray(DEVIATION, np.float32).astype(np.float64))


def _plus(number: float | list[float]) -> keras.Layer:
    return keras.layers.Rescaling(1.0, number, dtype="float32")


def _divided(values: Any, number: float | Float[np.ndarray, "3"]) -> Any:
    """Return a tensor divided by a number, or by one for each channel, rounded to float32 once.

    TensorFlow compiles `x / 127.5` to `x * (1 / 127.5)`, which rounds differently for some pixels.
    In float64 both round to the same float32, whatever the pixel: a quotient of two numbers of 24
    bits is at least 2**-49 of itself away from the middle between two float32, and a product in
    float64 is wrong by 2**-52 at most.
    """
    quotient = keras.ops.divide(keras.ops.cast(values, "float64"), number)
    return keras.ops.cast(quotient, "float32")


def _digest(architecture: str, weights: list[np.ndarray], source: str) -> str:
    digest = hashlib.sha256(architecture.encode())
    for array in weights:
        if not np.isfinite(array).all():
            raise UserError(f"weights {source} hold NaN or infinity: damaged")
        digest.update(repr((str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
