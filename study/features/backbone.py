"""A base by name or file -> a frozen network from pixels to features, on the device at hand.

In: the base, a weights source, an image size, a preprocessing, a device. Out: a `Backbone` whose
`model` is a plain Keras model with its preprocessing inside, so that a head on top of it can be
saved as one `.keras` file that anybody can load.

Only VGG16 is computed in the device's fastest arithmetic; see `applications.py` for the others.
"""

from typing import NamedTuple

import keras

from study.common.bases import DEFAULT_BASE, check_size, is_file, named_base, preprocess_of
from study.common.errors import UserError
from study.common.text import printable
from study.features.applications import build_application
from study.features.device import Device, Dtype, pick_device
from study.features.frozen import Frozen
from study.features.own_base import load_own_base
from study.features.vgg16 import again_in_float32, build_vgg16
from study.features.weights import load_weights


class Backbone(NamedTuple):
    """A frozen base: (batch, size, size, 3) RGB pixels of 0 to 255 -> (batch, width) float32."""

    base: str  # as the user gave it
    model: keras.Model
    size: int
    preprocess: str  # one of `PREPROCESS`
    dtype: Dtype
    source: str  # of the weights, in words
    digest: str  # of the weights, for all but VGG16 also of what they are of; sha256 hex
    device: Device
    from_map: bool = False  # whether a map of the user's own network is averaged

    @property
    def width(self) -> int:
        """Numbers of a row."""
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
    """Build a frozen base for square images of `image_size` pixels.

    Args:
        weights: `auto`, `random`, or a `.h5` or `.keras` file; of a file as `base` only `auto`.
        base: a name of `BASES`, or a `.keras` file.
        image_size: side of the images in pixels; the smallest is the base's.
        preprocess: one of `PREPROCESS` that the base takes; None: its own.
        device: `cpu`, `gpu` or None, as for `pick_device`.
        dtype: of VGG16; None for the device's fastest.

    Raises:
        UserError: an option out of range, no weights, or a file that is of something else.
    """
    kind = preprocess_of(base, preprocess)
    check_size(base, image_size)
    where = pick_device(device)
    arithmetic = (dtype or where.dtype) if base == DEFAULT_BASE else "float32"
    found = _frozen(base, weights, image_size, kind, arithmetic)
    return Backbone(
        base=base,
        model=found.model,
        size=image_size,
        preprocess=kind,
        dtype=arithmetic,
        source=found.source,
        digest=found.digest,
        device=where,
        from_map=found.from_map,
    )


def in_float32(backbone: Backbone) -> keras.Model:
    """The same network in float32, a model to give away: it is fast on every processor."""
    if backbone.dtype == "float32":
        return backbone.model
    return again_in_float32(backbone.model, backbone.size, backbone.preprocess)


def _frozen(base: str, weights: str, size: int, preprocess: str, dtype: Dtype) -> Frozen:
    if base == DEFAULT_BASE:
        loaded = load_weights(weights)
        model = build_vgg16(loaded, size, preprocess, dtype)
        return Frozen(model, loaded.source, loaded.digest)
    if not is_file(base):
        return build_application(named_base(base), weights, size, preprocess)
    if weights != "auto":
        raise UserError(
            f"`weights` {weights}: `base` {printable(base)} brings its own; leave one of them out"
        )
    return load_own_base(base, size, preprocess)
