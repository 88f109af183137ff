"""Grey of more than 8 bits -> 8 bits, by one white point for the whole data set.

A file of 16 or 32 bits does not say which number is white: twelve bits in a 16-bit PNG end at 4095,
elevations in metres anywhere. If each image were scaled by itself, two images with nearly the same
values could look black and grey. So every image is measured when it is inspected, and the set
decides: whole numbers by the smallest usual depth that holds the largest of them, others by
percentiles of all pixels. Pixels without a value are black.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

WHOLE, FLOATS = "whole numbers", "floating-point numbers"
WHITES = {255: 8, 1023: 10, 4095: 12, 16383: 14, 65535: 16}  # the largest number of so many bits
LARGEST_WHITE = 65535
GDAL_NODATA = 42113  # TIFF tag: the number, as text, that means "no value here"
NO_VALUE = (-9999.0, -99999.0, -32768.0, -2147483648.0)  # numbers that mean it without a tag
LARGEST = 9e36  # NetCDF fills with 9.97e36, others with the largest float: 3.4e38
CLIPPED = 0.001  # fraction of all pixels that may be below black, and above white
# Ranks at which an image is measured: close together at both ends, near black and white.
RANKS = (1 - np.cos(np.linspace(0, np.pi, 257))) / 2


class DeepGrey(NamedTuple):
    """The pixels of one image as they are stored."""

    values: Shaped[np.ndarray, "height width"]  # int32 or float32
    valid: Bool[np.ndarray, "height width"]  # whether a pixel has a value

    @property
    def kind(self) -> str:
        """WHOLE or FLOATS."""
        return FLOATS if self.values.dtype.kind == "f" else WHOLE


class GreyRange(NamedTuple):
    """What the white point of a set depends on in one image."""

    kind: str  # WHOLE or FLOATS
    pixels: int  # with a value
    without: int  # pixels without a value
    quantiles: Shaped[np.ndarray, " Q"]  # at the 257 RANKS, or both ends; none without values

    def ends(self) -> "GreyRange":
        """Return the range with only the smallest and the largest value."""
        return self._replace(quantiles=self.quantiles[[0, -1]] if self.pixels else self.quantiles)


class Scale(NamedTuple):
    """The stored numbers that are shown as 0 and as 255."""

    black: float
    white: float


Scales = Mapping[str, Scale]  # by kind


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has one channel of 16 or 32 bits."""
    return image.mode.startswith(("I", "F"))


def deep_grey(image: Image.Image) -> DeepGrey:
    """Return the stored pixels of a deep grey image."""
    stored = np.asarray(image)
    values = stored.astype(np.float32 if stored.dtype.kind == "f" else np.int32)
    without = np.isin(values, np.array(NO_VALUE, values.dtype))
    if values.dtype.kind == "f":
        without |= ~(np.abs(values) < LARGEST)  # true of NaN, too
    if (number := _nodata(image)) is not None:
        with np.errstate(over="ignore"):  # a double may be beyond all floats
            without |= values == (np.float32(number) if values.dtype.kind == "f" else number)
    return DeepGrey(values, ~without)


def _nodata(image: Image.Image) -> float | None:
    """Return the number that a TIFF's own tag declares to be no value."""
    try:
        return float(str(getattr(image, "tag_v2", {})[GDAL_NODATA]).strip(" \0"))
    except Exception:  # no tag, or a broken one, which raises anything: the image is still one
        return None


def marked(grey: DeepGrey) -> Shaped[np.ndarray, "height width"]:
    """Return the values, with one mark for all pixels without a value."""
    mark = np.array(np.nan if grey.kind == FLOATS else NO_VALUE[-1], grey.values.dtype)
    return np.where(grey.valid, grey.values, mark)


def measure(grey: DeepGrey) -> GreyRange:
    """Sort the values of an image and keep 257 of them."""
    found = np.sort(grey.values[grey.valid])
    places = np.rint(RANKS * (len(found) - 1)).astype(np.int64)
    kept = found[places] if len(found) else found
    return GreyRange(grey.kind, len(found), grey.values.size - len(found), kept)


def find_scales(images: Sequence[GreyRange]) -> dict[str, Scale]:
    """Return the white points of a set, one for whole numbers and one for floats, if it has any.

    Floats, and whole numbers outside 0..65535, run from the 0.1th to the 99.9th percentile of all
    pixels of the set, found from 257 quantiles an image. A quantile stands for the pixels half-way
    to its neighbours, so the rank of the result is off by less than 0.4 % of all pixels, and by
    0.02 % if the dark ends of all images are similar, and the bright ones.
    """
    kinds = {image.kind for image in images}
    return {
        kind: _scale(kind, [image for image in images if image.kind == kind and image.pixels])
        for kind in sorted(kinds)
    }


def _scale(kind: str, images: Sequence[GreyRange]) -> Scale:
    if not images:  # no pixel of this kind has a value: all are black
        return Scale(0.0, 1.0)
    low = float(min(image.quantiles[0] for image in images))
    high = float(max(image.quantiles[-1] for image in images))
    if kind == WHOLE and low >= 0 and high <= LARGEST_WHITE:
        return Scale(0.0, float(next(white for white in WHITES if high <= white)))
    black, white = _percentiles(images)
    if white <= black:  # nearly all pixels have one value
        black, white = low, high
    return Scale(black, white if white > black else black + 1)


def _percentiles(images: Sequence[GreyRange]) -> tuple[float, float]:
    """Return the values below which CLIPPED of all pixels are, and above which."""
    gaps = np.diff(RANKS, prepend=0.0, append=1.0)
    shares = (gaps[:-1] + gaps[1:]) / 2  # of an image's pixels that a quantile stands for
    values = np.concatenate([image.quantiles for image in images])
    weights = np.concatenate([image.pixels * shares for image in images])
    order = np.argsort(values, kind="stable")
    values, weights = values[order].astype(np.float64), weights[order]
    ranks = np.cumsum(weights) - weights / 2
    total = weights.sum()
    black, white = np.interp([CLIPPED * total, (1 - CLIPPED) * total], ranks, values)
    return float(black), float(white)


def to_8_bits(grey: DeepGrey, scale: Scale) -> UInt8[np.ndarray, "height width"]:
    """Scale to 8 bits: values beyond black and white are clipped, no value is black."""
    shown = (grey.values.astype(np.float64) - scale.black) / (scale.white - scale.black) * 255.0
    return np.where(grey.valid, np.rint(np.clip(shown, 0, 255)), 0).astype(np.uint8)


def stretched(grey: DeepGrey) -> UInt8[np.ndarray, "height width"]:
    """Scale to 8 bits from the image's own smallest to its largest value."""
    found = grey.values[grey.valid]
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 0.0)
    return to_8_bits(grey, Scale(low, high if high > low else low + 1))


def guessed_8_bits(grey: Shaped[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Scale one image by itself, for want of a white point.

    Whole numbers within 0..65535 are 16-bit. Floats within 0..1 run from black to white, within
    0..255 they are 8-bit, within 0..65535 16-bit. Anything else is stretched.
    """
    whole = grey.dtype.kind in "iu"
    values = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > LARGEST_WHITE:
        values, white = values - low, high - low
    elif whole or high > 255:
        white = float(LARGEST_WHITE)
    else:
        white = 255.0 if high > 1 else 1.0
    return np.rint(values / (white or 1.0) * 255.0).astype(np.uint8)


def depth(image: GreyRange) -> str:
    """Return roughly the range of one image's values: "12 bits", "floats up to 1e+03"."""
    low, high = image.quantiles[[0, -1]].tolist() if image.pixels else (0, 0)
    if image.kind == WHOLE and low >= 0 and high <= LARGEST_WHITE:
        return f"{next(bits for white, bits in WHITES.items() if high <= white)} bits"
    largest = max(abs(low), abs(high))
    return f"{image.kind} up to {10.0 ** math.ceil(math.log10(largest)) if largest else 0:g}"


def is_flat(image: GreyRange, scales: Scales) -> bool:
    """Return whether the pixels of an image all become one shade."""
    if not image.pixels:
        return True
    ends = DeepGrey(image.quantiles[None, [0, -1]], np.ones((1, 2), bool))
    ((low, high),) = to_8_bits(ends, scales[image.kind]).tolist()
    return bool(low == high and (low == 0 or not image.without))


def feature_key(digest: str, image: GreyRange | None, scales: Scales) -> str:
    """Return what an image's features depend on: its bytes, and any white point but 65535.

    So features are found again whatever other images are studied with this one.
    """
    if image is None:
        return digest
    scale = scales[image.kind]
    if image.kind == WHOLE and scale == Scale(0, LARGEST_WHITE) and not image.without:
        return digest
    words = f"{digest} {image.kind} {scale.black!r} {scale.white!r}"
    return hashlib.sha256(words.encode()).hexdigest()
