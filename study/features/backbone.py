"""A base by name or file -> a frozen network from pixels to features, on this machine's device.

In: the base, a weights source, an image size, a preprocessing, a device. Out: a `Backbone` whose
`model` is a plain Keras model with its preprocessing inside, so that it can be saved with a head
on top in one `.keras` file that anybody can load. Only VGG16 is computed in the device's fastest
arithmetic; `applications.py` says why.
"""

from typing import NamedTuple

import keras

from study.common.bases import DEFAULT_BASE, check_size, is_file, named_base, preprocess_of
from study.common.errors import UserError
from study.features.applications import build_application
from study.features.device import Device, Dtype, pick_device
from study.features.frozen import Frozen
from study.features.own_base import load_own_base
from study.features.vgg16 import assembled, build_vgg16
from study.features.weights import load_weights


class Backbone(NamedTuple):
    """A frozen base, what it was made of, and the device that runs it."""

    base: str  # as the user gave it
    size: int  # side of the images in pixels
    preprocess: str  # one of `PREPROCESS`
    dtype: Dtype
    device: Device
    model: keras.Model  # this field and those below: see `Frozen`
    source: str
    digest: str
    from_map: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(self.model.output_shape[-1])


def load_backbone(
    weights: str,
    *,
    base: str = DEFAULT_BASE,
    image_size: int,
    preprocess: str | None = None,
    device: str | None = None,
    dtype: Dtype | None = None,
) -> Backbone:
    """Build a frozen base for square images.

    Args:
        weights: `auto`, `random`, or a `.h5` or `.keras` file; only `auto` if `base` is a file.
        base: a name in `BASES`, or a `.keras` file.
        image_size: side of the images in pixels.
        preprocess: one of `PREPROCESS` that the base takes; None: the base's own.
        device: see `pick_device`.
        dtype: of VGG16; None: the device's fastest.

    Raises:
        UserError: an option is out of range, there are no weights, or a file does not fit.
    """
    preprocess = preprocess_of(base, preprocess)
    check_size(base, image_size)
    where = pick_device(device)
    dtype = (dtype or where.dtype) if base == DEFAULT_BASE else "float32"
    found = _frozen(base, weights, image_size, preprocess, dtype)
    return Backbone(base, image_size, preprocess, dtype, where, *found)


def in_float32(backbone: Backbone) -> keras.Model:
    """Return the network in float32, for distribution: this is fast on every processor."""
    if backbone.dtype == "float32":
        return backbone.model
    weights = backbone.model.get_weights()  # are float32 in either arithmetic
    return assembled(weights, backbone.size, backbone.preprocess, "float32")


def _frozen(base: str, weights: str, size: int, preprocess: str, dtype: Dtype) -> Frozen:
    if base == DEFAULT_BASE:
        loaded = load_weights(weights)
        model = build_vgg16(loaded, size, preprocess, dtype)
        return Frozen(model, loaded.source, loaded.digest)
    if not is_file(base):
        return build_application(named_base(base), weights, size, preprocess)
    if weights != "auto":
        raise UserError(
            f"`weights` {weights}: `base` {base} has its own weights; leave one of the two out"
        )
    return load_own_base(base, size, preprocess)
