"""A frozen VGG16 from pixels to 512 numbers, in the fastest safe arithmetic of this device.

In: a weights source, an image size, a preprocessing, a device. Out: a `Backbone` whose `model` is
a plain Keras model (built-in layers only, preprocessing inside), so that a head put on top of it
can be saved as one `.keras` file that anybody can load.

In bfloat16 only the arithmetic of the convolutions is short: pixels are shifted in float32
(a mean of 123.68 would become 123.5), weights stay float32, the average is taken in float32.
"""

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import keras
import numpy as np

from study.common.errors import UserError
from study.features.weight_files import RGB_LAYER
from study.features.weights import Weights, load_weights

if TYPE_CHECKING:
    import keras

Dtype = Literal["bfloat16", "float32"]
Preprocess = Literal["caffe", "rescale"]
FEATURES = 512
MIN_SIZE = 32  # five halvings leave one pixel
IMAGENET_MEAN_RGB = (123.68, 116.779, 103.939)  # keras.applications.vgg16.preprocess_input

# Flags of processors that multiply in bfloat16: 8 times float32's speed with AMX, 2 times with AVX.
_CPU_BFLOAT16 = {"amx_bf16", "avx512_bf16"}
_GPU_BFLOAT16 = (8, 0)  # compute capability of the first tensor cores that know bfloat16


class Device(NamedTuple):
    """What the backbone runs on."""

    kind: Literal["cpu", "gpu"]
    name: str
    dtype: Dtype  # the fastest one whose features can be trusted


class Backbone(NamedTuple):
    """A frozen VGG16: (batch, size, size, 3) RGB pixels of 0 to 255 -> (batch, 512) float32."""

    model: "keras.Model"
    size: int
    preprocess: Preprocess
    dtype: Dtype
    source: str  # of the weights, in words
    digest: str  # of the weights, sha256 hex
    device: Device


def pick_device(device: str | None) -> Device:
    """Choose where to run: `cpu`, `gpu` (the first one), or None for a GPU where there is one.

    Call it before anything else uses TensorFlow: the other GPUs are hidden, and memory growth is
    switched on, which TensorFlow only accepts before its first operation. In a notebook that came
    earlier, both stay as they are.

    Raises:
        UserError: `gpu` was asked for and there is none, or another word was given, or TensorFlow
            has begun to compute on the other kind.
    """
    import tensorflow as tf

    if device not in (None, "cpu", "gpu"):
        raise UserError(f"`device` {device}: give cpu or gpu")
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError(
            "`device` gpu: TensorFlow finds no GPU here; "
            'install the gpu extra (pip install -e ".[gpu]") or leave `device` out'
        )
    use_gpu = bool(gpus) and device != "cpu"
    chosen = gpus[:1] if use_gpu else []
    try:
        if tf.config.get_visible_devices("GPU") != chosen:
            tf.config.set_visible_devices(chosen, "GPU")
        if use_gpu and not tf.config.experimental.get_memory_growth(gpus[0]):
            tf.config.experimental.set_memory_growth(gpus[0], True)
    except RuntimeError as error:
        if bool(tf.config.get_visible_devices("GPU")) != use_gpu:
            raise UserError(
                f"`device` {device}: TensorFlow has already begun in this process, with other "
                "devices; restart it (in a notebook: the kernel), or leave `device` out"
            ) from error
    if not use_gpu:
        return _cpu()
    details = tf.config.experimental.get_device_details(gpus[0])
    fast = details.get("compute_capability", (0, 0)) >= _GPU_BFLOAT16
    return Device("gpu", details.get("device_name", "GPU"), "bfloat16" if fast else "float32")


def load_backbone(
    weights: str,
    *,
    image_size: int,
    preprocess: str,
    device: str | None = None,
    dtype: Dtype | None = None,
) -> Backbone:
    """Build the frozen VGG16 for square images of `image_size` pixels.

    Args:
        weights: `auto`, `random`, or a `.h5` or `.keras` file (see `study.features.weights`).
        image_size: side of the images in pixels, at least 32.
        preprocess: `caffe` (BGR minus ImageNet's mean, what VGG16 was trained with) or `rescale`
            (division by 255).
        device: `cpu`, `gpu` or None, as for `pick_device`.
        dtype: None for the device's fastest; float32 for a model to give away.

    Raises:
        UserError: an option out of range, no weights, or a weights file that is no VGG16.
    """
    if image_size < MIN_SIZE:
        raise UserError(f"`image_size` {image_size}: VGG16 needs at least {MIN_SIZE} pixels")
    if preprocess not in ("caffe", "rescale"):
        raise UserError(f"`preprocess` {preprocess}: give caffe or rescale")
    where = pick_device(device)
    loaded = load_weights(weights)
    kind: Preprocess = "caffe" if preprocess == "caffe" else "rescale"
    arithmetic = dtype or where.dtype
    arrays = _for_rgb(loaded) if kind == "caffe" else loaded.arrays
    model = _build(arrays, image_size, kind, arithmetic)
    return Backbone(model, image_size, kind, arithmetic, loaded.source, loaded.digest, where)


def in_float32(backbone: Backbone) -> "keras.Model":
    """The same network in float32, a model to give away: it is fast on every processor."""
    arrays = backbone.model.get_weights()  # float32 already: only the arithmetic was shorter
    return _build(arrays, backbone.size, backbone.preprocess, "float32")


def _build(
    arrays: list[np.ndarray], size: int, preprocess: Preprocess, dtype: Dtype
) -> "keras.Model":
    import keras

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
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _cpu() -> Device:
    """This machine's processor, by Linux's description; elsewhere float32."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
                break
    return Device("cpu", name, "bfloat16" if flags & _CPU_BFLOAT16 else "float32")
