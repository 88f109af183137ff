"""The frozen bases that a study can use, and the input that each expects: a table, without Keras.

A base is the name of a classification model of `keras.applications`, or a `.keras` file of the
user's. A wrong name is refused here before anything heavy is imported; a test compares the table
with the installed Keras.
"""

from pathlib import PurePath
from typing import NamedTuple

from study.common.errors import UserError
from study.common.text import near, printable

DEFAULT_BASE = "VGG16"
RESCALE = "rescale"
NONE = "none"
# How pixels from 0 to 255 are prepared; caffe, tf, torch: keras.applications.imagenet_utils.
PREPROCESS = {
    "caffe": "BGR minus ImageNet's mean",
    "tf": "-1 to 1",
    "torch": "0 to 1, then by ImageNet's mean and deviation",
    RESCALE: "0 to 1",
    NONE: "pixels as they are, 0 to 255",
}


class Base(NamedTuple):
    """A classification model of `keras.applications`."""

    name: str
    module: str  # of keras.applications, whose `preprocess_input` was used to train it
    preprocess: str  # what that function does; none: the model prepares pixels itself
    smallest: int  # side that Keras accepts, in pixels


_FAMILIES = (
    ("vgg16", "caffe", 32, ("VGG16",)),
    ("vgg19", "caffe", 32, ("VGG19",)),
    ("resnet", "caffe", 32, ("ResNet50", "ResNet101", "ResNet152")),
    ("resnet_v2", "tf", 32, ("ResNet50V2", "ResNet101V2", "ResNet152V2")),
    ("densenet", "torch", 32, ("DenseNet121", "DenseNet169", "DenseNet201")),
    ("mobilenet", "tf", 32, ("MobileNet",)),
    ("mobilenet_v2", "tf", 32, ("MobileNetV2",)),
    ("mobilenet_v3", NONE, 32, ("MobileNetV3Small", "MobileNetV3Large")),
    ("efficientnet", NONE, 32, tuple(f"EfficientNetB{number}" for number in range(8))),
    ("efficientnet_v2", NONE, 32, tuple(f"EfficientNetV2{size}" for size in
                                        ("B0", "B1", "B2", "B3", "S", "M", "L"))),
    ("convnext", NONE, 32, tuple(f"ConvNeXt{size}" for size in
                                 ("Tiny", "Small", "Base", "Large", "XLarge"))),
    ("inception_v3", "tf", 75, ("InceptionV3",)),
    ("inception_resnet_v2", "tf", 75, ("InceptionResNetV2",)),
    ("xception", "tf", 71, ("Xception",)),
    ("nasnet", "tf", 32, ("NASNetMobile", "NASNetLarge")),
)  # fmt: skip
BASES = {
    name: Base(name, module, preprocess, smallest)
    for module, preprocess, smallest, names in _FAMILIES
    for name in names
}


class BaseChoice(NamedTuple):
    """A frozen base as requested: the arguments of `load_backbone` except the device."""

    weights: str
    base: str
    image_size: int  # pixels a side
    preprocess: str | None


def is_file(base: str) -> bool:
    """Return whether `base` is a file of the user's rather than a name."""
    return PurePath(base).suffix.lower() in (".keras", ".h5") or PurePath(base).name != base


def short_name(base: str) -> str:
    """Return a base's name for sentences: of a file without its folder."""
    return printable(PurePath(base).name) if is_file(base) else base


def named_base(base: str) -> Base:
    """Return the model of `keras.applications` with this name; refuse any other name."""
    if base not in BASES:
        known = near(base, BASES) or f"; valid: {', '.join(BASES)}, or FILE.keras"
        raise UserError(f"`base` {base[:60]}: not a model of keras.applications{known}")
    return BASES[base]


def preprocess_of(base: str, given: str | None) -> str:
    """Return how pixels are prepared for `base`; `given` None: as the base was trained.

    Raises:
        UserError: `base` is unknown, does not take this preparation, or is a file without one.
    """
    if is_file(base):
        if given in PREPROCESS:
            return str(given)
        words = ", ".join(f"{key} ({what})" for key, what in PREPROCESS.items())
        raise UserError(
            f"`base` {short_name(base)}: set `preprocess` to the input it expects: {words}"
        )
    known = named_base(base)
    takes = (known.preprocess,) if known.preprocess == NONE else (known.preprocess, RESCALE)
    if given is None:
        return known.preprocess
    if given not in takes:
        inside = " (it prepares pixels itself)" if known.preprocess == NONE else ""
        raise UserError(f"`preprocess` {given}: {base} takes {' or '.join(takes)}{inside}")
    return given


def check_size(base: str, size: int) -> None:
    """Refuse images that are too small for a named base; nothing is known of a file."""
    if not is_file(base) and size < (smallest := named_base(base).smallest):
        raise UserError(f"`image_size` {size}: {base} needs at least {smallest} pixels")
