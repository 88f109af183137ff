"""The frozen base of a study -> Keras code that puts it in front of a trained head."""

from pathlib import PurePath

from study.common.bases import DEFAULT_BASE, NONE, RESCALE, is_file, named_base, short_name
from study.records.study_meta import StudyMeta


def from_pixels(meta: StudyMeta) -> list[str]:
    """Lines of a function from a head to the whole model, and what it cannot know of the images.

    Raises:
        UserError: the study's base is none that Keras has here.
    """
    size = meta.settings.get("image_size", 224)
    average = "    features = layers.GlobalAveragePooling2D()(features)"
    name = short_name(meta.base)
    return [
        *_white_points(meta),
        "def from_pixels(head):",
        f'    """Photos, RGB from 0 to 255, to probabilities; {name} stays as it is."""',
        f"    pixels = layers.Input(({size}, {size}, 3))",
        *(f"    {line}" for line in _base(meta, size)),
        "    base.trainable = False",
        f"    inputs = {_inputs(meta)}",
        "    features = base(inputs, training=False)",
        *([average] if "averaged_map" in meta.data else ()),
        "    return keras.Model(pixels, head(features))",
    ]


def _inputs(meta: StudyMeta) -> str:
    """The expression that prepares `pixels`."""
    preprocess = meta.settings.get("preprocess")
    if preprocess == RESCALE:
        return "pixels / 255.0"
    if preprocess == NONE:
        return "pixels"
    if is_file(meta.base):
        return f"keras.applications.imagenet_utils.preprocess_input(pixels, mode={preprocess!r})"
    return f"keras.applications.{named_base(meta.base).module}.preprocess_input(pixels)"


def _base(meta: StudyMeta, size: int) -> list[str]:
    """Lines that make `base`; only Keras's own weights can be had by name."""
    if is_file(meta.base):
        return [f"base = keras.models.load_model({meta.base!r})"]
    if meta.base == DEFAULT_BASE:
        return ['base = keras.applications.VGG16(include_top=False, pooling="avg")']
    weights = str(meta.settings.get("weights", "auto"))
    given = f"weights={weights!r}, " if PurePath(weights).suffix else ""
    return [
        *(["# the study's own has random weights: see best/winner.keras"] * (weights == "random")),
        f"base = keras.applications.{meta.base}(",
        f'    include_top=False, pooling="avg", {given}input_shape=({size}, {size}, 3)',
        ")",
    ]


def _white_points(meta: StudyMeta) -> list[str]:
    """How deep grey becomes pixels from 0 to 255, which the model itself cannot know."""
    points = meta.data.get("deep_grey", {}).get("white_points", {})
    if not points:
        return []
    ranges = (
        f"#   {kind}: black = {point['black']!r}, white = {point['white']!r}"
        for kind, point in points.items()
    )
    return [
        "# Images of deep grey (16 or 32 bits) were brought to 0..255 before they were resized, by",
        "# np.rint(np.clip((values - black) / (white - black) * 255, 0, 255)), with",
        *ranges,
        "# Pixels without a value are 0, all channels equal. best/winner.keras expects the same,",
        "# and study.predict does it by itself.",
    ]
