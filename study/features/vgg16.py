"""A frozen VGG16 from pixels to 512 numbers, in the arithmetic that is asked for.

In: weights, an image size, a preprocessing. Out: a plain Keras model (built-in layers only,
preprocessing inside), so that a head put on top of it can be saved as one `.keras` file that
anybody can load.

In bfloat16 only the arithmetic of the convolutions is short: pixels are shifted in float32
(a mean of 123.68 would become 123.5), weights stay float32, the average is taken in float32.
"""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from study.features.device import Dtype
from study.features.weights import RGB_LAYER, Weights

IMAGENET_MEAN_RGB = (123.68, 116.779, 103.939)  # keras.applications.vgg16.preprocess_input


def build_vgg16(weights: Weights, size: int, preprocess: str, dtype: Dtype) -> keras.Model:
    """The network with these weights: (batch, size, size, 3) pixels -> (batch, 512) float32.

    Args:
        weights: of `load_weights`.
        size: side of the images in pixels, at least 32.
        preprocess: `caffe` (BGR minus ImageNet's mean, what VGG16 was trained with) or `rescale`
            (division by 255).
        dtype: of the convolutions.
    """
    arrays = _for_rgb(weights) if preprocess == "caffe" else weights.arrays
    return _build(arrays, size, preprocess, dtype)


def again_in_float32(model: keras.Model, size: int, preprocess: str) -> keras.Model:
    """The same network in float32: its weights are already, only the arithmetic was shorter."""
    return _build(model.get_weights(), size, preprocess, "float32")


def _build(arrays: list[np.ndarray], size: int, preprocess: str, dtype: Dtype) -> keras.Model:
    if preprocess == "caffe":
        shift = keras.layers.Rescaling(
            1.0, [-mean for mean in IMAGENET_MEAN_RGB], dtype="float32", name=RGB_LAYER
        )
    else:
        shift = keras.layers.Rescaling(1.0 / 255.0, dtype="float32", name="divide_by_255")
    with _dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else "float32"):
        pixels = keras.Input((size, size, 3), name="pixels")
        base = keras.applications.VGG16(
            weights=None, include_top=False, input_tensor=shift(pixels), name="vgg16_base"
        )
        average = keras.layers.GlobalAveragePooling2D(dtype="float32", name="average")
        model = keras.Model(pixels, average(base.output), name="vgg16")
    model.set_weights(arrays)
    model.trainable = False
    return model


def _for_rgb(weights: Weights) -> list[np.ndarray]:
    """The weights with the first kernel's input channels turned round: exact, and no layer."""
    first, *rest = weights.arrays
    return [first[:, :, ::-1, :], *rest]


@contextlib.contextmanager
def _dtype_policy(name: str) -> Iterator[None]:
    """Build layers under another policy; `keras.applications` takes it from nowhere else."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
