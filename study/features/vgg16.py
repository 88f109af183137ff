"""VGG16's weights -> a frozen network from pixels to 512 numbers, in the arithmetic asked for.

In: weights, an image size, a preprocessing. Out: a plain Keras model (built-in layers only,
preprocessing inside), so that it can be saved with a head on top in one `.keras` file. In bfloat16
only the convolutions compute with fewer bits: pixels are shifted in float32 (a mean of 123.68 would
become 123.5), weights stay float32, the average is taken in float32.
"""

import keras
import numpy as np

from study.common.bases import RESCALE
from study.features.device import Dtype
from study.features.frozen import MEAN_BGR, prepared
from study.features.weights import RGB_LAYER, Weights


def build_vgg16(weights: Weights, size: int, preprocess: str, dtype: Dtype) -> keras.Model:
    """Return the network with these weights, from (batch, size, size, 3) pixels to (batch, 512).

    Its `preprocess` is `caffe` (BGR minus ImageNet's mean, with which VGG16 was trained) or
    `rescale` (division by 255).
    """
    first, *others = weights.arrays
    if preprocess != RESCALE:
        first = first[:, :, ::-1]  # takes RGB in place of BGR: exact, and needs no layer
    return assembled([first, *others], size, preprocess, dtype)


def assembled(arrays: list[np.ndarray], size: int, preprocess: str, dtype: Dtype) -> keras.Model:
    """Return the network with the weights `arrays` of a model of `build_vgg16`."""
    before = keras.config.dtype_policy()
    # `keras.applications` takes the arithmetic from nowhere else
    keras.config.set_dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else "float32")
    try:
        pixels = keras.Input((size, size, 3), name="pixels")
        base = keras.applications.VGG16(
            weights=None,
            include_top=False,
            input_tensor=_shifted(pixels, preprocess),
            name="vgg16_base",
        )
        average = keras.layers.GlobalAveragePooling2D(dtype="float32", name="average")
        model = keras.Model(pixels, average(base.output), name="vgg16")
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(arrays)
    model.trainable = False
    return model


def _shifted(pixels: keras.KerasTensor, preprocess: str) -> keras.KerasTensor:
    if preprocess == RESCALE:
        return prepared(pixels, RESCALE)
    means = [-mean for mean in reversed(MEAN_BGR)]
    return keras.layers.Rescaling(1.0, means, dtype="float32", name=RGB_LAYER)(pixels)
