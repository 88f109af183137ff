"""Pixels from 0 to 255 -> what a network takes, as plain Keras layers inside the model.

In: a network and how its images are prepared. Out: the network from pixels to a vector, frozen.

`caffe`, `tf` and `torch` give the values of `keras.applications.*.preprocess_input` to the last
bit, also in a compiled graph. That is why division has its own form here: TensorFlow compiles
`x / 127.5` to `x * (1 / 127.5)`, which rounds otherwise for some pixels. In float64 both round to
the same float32, whatever the pixel: a quotient of two numbers of 24 bits stays 2**-49 of itself
away from the middle between two float32, and a product in float64 is wrong by 2**-52 at most.
"""

from typing import Any

import keras
import numpy as np

from study.common.bases import NONE, RESCALE

MEAN_BGR = (103.939, 116.779, 123.68)  # ImageNet's, of pixels from 0 to 255
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's RGB, from 0 to 1


def prepared(pixels: Any, preprocess: str) -> Any:
    """Pixels (batch, size, size, 3), RGB of 0 to 255, float32, as one of `PREPROCESS` has them."""
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


def from_pixels(network: keras.Model, size: int, preprocess: str, name: str) -> keras.Model:
    """The frozen network behind its preprocessing: (batch, size, size, 3) -> (batch, n) float32.

    A map is averaged over its places. Statistics of batch normalization stay as they are, whoever
    trains on with it; dropout is off unless Keras is told that it trains.
    """
    pixels = keras.Input((size, size, 3), name="pixels")
    features = network(prepared(pixels, preprocess), training=False)
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="average")(features)
    elif features.dtype != "float32":
        features = keras.ops.cast(features, "float32")
    model = keras.Model(pixels, features, name=name)
    model.trainable = False
    return model


def _divided(values: Any, number: float | np.ndarray) -> Any:
    """By a number, or one for each channel; rounded to float32 once."""
    quotient = keras.ops.divide(keras.ops.cast(values, "float64"), number)
    return keras.ops.cast(quotient, "float32")


def _plus(number: float | list[float]) -> keras.Layer:
    return keras.layers.Rescaling(1.0, number, dtype="float32")
