"""Keras code to paste: how to train the head of a winning run, and how to put its base in front.

The text needs nothing of this package and follows the tables that the study was trained with. A
test runs it for every class and schedule and compares its curves with those of the study.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from textwrap import wrap

from study.common.aliases import Value
from study.common.bases import DEFAULT_BASE, NONE, RESCALE, is_file, named_base, short_name
from study.common.errors import UserError
from study.common.metrics import WORDS
from study.common.text import counted, points
from study.records.outcomes import TrainingLength
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord
from study.space.head_config import HEAD
from study.space.keras_optimizers import OPTIMIZERS
from study.space.schedule_table import all_schedule_keys, shape

LONGEST = 88  # characters of a line
TRAINING = Path(__file__).parents[1] / "training"  # its classes are printed, not imported
_HOW = {
    Phase.CONFIRM: "with the settings of its typical winner",
    Phase.SEARCH: "the best trial so far",
    Phase.DEFAULT: "untuned",
    Phase.BUDGET: "found early",
}
_STATISTICS = (
    "variance = features.var(axis=0)",
    "variance[features.min(axis=0) == features.max(axis=0)] = 1  # not divided by almost 0",
)


def keras_code(meta: StudyMeta, run: TrialRecord, length: TrainingLength) -> str:
    """Return Python code that trains the head of `run` for so many epochs.

    Raises:
        UserError: the study's files name a class or a schedule that this Keras does not have, or
            lack a hyperparameter.
    """
    try:
        return "\n".join(_lines(meta, run, length)) + "\n"
    except KeyError as error:
        raise UserError(
            f"run {run.trial_id}: its record lacks the hyperparameter {error}"
        ) from error
    except ValueError as error:
        raise UserError(f"run {run.trial_id} cannot be printed as Keras code: {error}") from error


def _lines(meta: StudyMeta, run: TrialRecord, length: TrainingLength) -> list[str]:
    values = run.hyperparameters
    rows, size = max(meta.split_sizes["train"], 1), values["batch_size"]
    batch = rows if isinstance(size, str) else min(int(size), rows)
    steps, epochs = -(-rows // batch), int(meta.settings["max_epochs"])
    schedule, warm_up = _schedule(values, steps * epochs)
    own = meta.code.get(run.optimizer, {})
    smoothing = float(values.get("label_smoothing", 0.0))
    own_weights = bool(meta.sample_weight)
    weights = _weights(values, own=own_weights)
    argument = "sample_weight" if own_weights else "class_weight" if weights else ""
    classes = [*warm_up, *(_printed("smoothed_loss.py") if smoothing else ())]
    body = [
        *(_STATISTICS if values["normalize"] else ()),
        *_head(values, int(meta.data["features"]), len(meta.class_names)),
        f"# {steps} steps an epoch, {epochs} epochs",
        *schedule,
        *_call(f"optimizer = {_class(meta, run.optimizer)}", _arguments(values)),
        "optimizer.build(head.trainable_variables)  # some optimizers copy the first weights",
        *_call("head.compile", _compiling(own, smoothing)),
        *weights,
        *_call("head.fit", _fitting(batch, length.epochs, argument)),
        "return head",
    ]
    return [
        f"# {' '.join(run.optimizer.split())}, {_HOW[run.phase]}.",
        *(f"# {line}" for line in wrap(_why_so_long(run.metric, length), LONGEST - 2)),
        *(["from typing import Any", ""] if classes else ()),
        "import keras",
        *(["import numpy as np"] if weights else ()),
        "from keras import layers",
        *_import_of(own),
        *classes,
        "",
        "",
        *_views(int(meta.settings.get("views", 1))),
        f"def train(features, labels, {'sample_weight, ' * own_weights}**more):",
        '    """Train a head on rows (N, features) and class numbers (N,)."""',
        *(f"    {line}" for line in body),
        "",
        "",
        *(from_pixels(meta) if meta.noun == "image" else _from_rows(meta)),
    ]


def _why_so_long(metric: str, length: TrainingLength) -> str:
    """Return the sentence that names the epochs, the value there and, if it is lower, the last."""
    values, end = (f"{points(length.curve[at])} %" for at in (length.epochs - 1, -1))
    if end != values:
        values += f"; {end} at epoch {len(length.curve)}"
    which = f"the mean validation {WORDS[metric]} of {length.runs} confirmation runs (the winners "
    which += "of all repeats)"
    if length.runs == 1:
        which = f"the validation {WORDS[metric]} of this run"
    return f"Train {counted(length.epochs, 'epoch')}: there {which} is highest ({values})."


def _views(views: int) -> list[str]:
    """Return a comment on the views, which the code does not draw; nothing for one view."""
    if views == 1:
        return []
    return [
        f"# The study drew one of {views} views of each training image (cropped, turned, perhaps",
        "# mirrored, darker or brighter) in every epoch. Here all epochs see the rows that are",
        "# given, so the curve differs.",
    ]


def _import_of(own: Mapping[str, str]) -> list[str]:
    """Return the import of a user's own optimizer; its file must be where the code runs."""
    if not own:
        return []
    file, name = own["file"], own["class"]
    made_of = f"  # code with sha256 {own['digest'][:12]}"
    stem = Path(file).stem
    if stem.isidentifier():
        return ["", f"from {stem} import {name}{made_of}"]
    return ["import runpy", "", f"{name} = runpy.run_path({file!r})[{name!r}]{made_of}"]


def _schedule(values: Mapping[str, Value], total_steps: int) -> tuple[list[str], list[str]]:
    """Return the lines that make `learning_rate`, and the warmup's class where one is needed."""
    peak = float(values["learning_rate"])
    found = shape(str(values["schedule"]), peak, total_steps, values)
    lines = [f"learning_rate = {peak!r}"]
    if found.keras_class:
        arguments = [f"{key}={value!r}" for key, value in found.arguments.items()]
        schedule = f"learning_rate = keras.optimizers.schedules.{found.keras_class}"
        lines = _call(schedule, arguments)
    if not found.rising:
        return lines, []
    lines.append(f"learning_rate = WarmUp({peak!r}, {found.rising}, learning_rate)")
    return lines, _printed("warm_up.py")


def _printed(file: str) -> list[str]:
    """Return the class that training uses: its file without the docstring and the imports."""
    text = (TRAINING / file).read_text(encoding="utf-8").partition("\n\n\n")[2]
    return ["", "", *text.strip().splitlines()]


def _weights(values: Mapping[str, Value], *, own: bool) -> list[str]:
    """Return the lines that balance classes by `class_weight`, or by the rows' `own` weights."""
    if values.get("class_weight") != "balanced":
        return []
    weights = "class_weight = dict(zip(present.tolist(), balanced.tolist()))"
    if own:
        weights = "sample_weight = sample_weight * balanced[np.searchsorted(present, labels)]"
    return [
        "present, rows = np.unique(labels, return_counts=True)",
        "balanced = len(labels) / (len(present) * rows)  # all classes weigh the same",
        weights,
    ]


def _head(values: Mapping[str, Value], features: int, classes: int) -> list[str]:
    inside = [f"layers.Input(({features},))"]
    if values["normalize"]:
        inside.append("layers.Normalization(mean=features.mean(axis=0), variance=variance)")
    inside.append(f"layers.Dense({values['dense_width']}, activation={values['activation']!r})")
    if values["batch_norm"]:
        inside.append("layers.BatchNormalization()")
    inside += [
        f"layers.Dropout({values['dropout']!r})",
        f'layers.Dense({classes}, activation="softmax")',
    ]
    return ["head = keras.Sequential([", *(f"    {layer}," for layer in inside), "])"]


def _class(meta: StudyMeta, optimizer: str) -> str:
    if optimizer in meta.code:
        return meta.code[optimizer]["class"]
    table = meta.space["table"].get("optimizers", {}).get(optimizer, {})
    name = table.get("class")
    if name not in OPTIMIZERS:
        raise UserError(
            f"study {meta.name}: class {name!r} of optimizer {optimizer} cannot be printed "
            f"as Keras code; known: {', '.join(OPTIMIZERS)}"
        )
    return f"keras.optimizers.{name}"


def _arguments(values: Mapping[str, Value]) -> list[str]:
    others = {"learning_rate", "schedule", *HEAD, *all_schedule_keys()}
    return ["learning_rate", *(f"{k}={v!r}" for k, v in values.items() if k not in others)]


def _call(what: str, arguments: Sequence[str]) -> list[str]:
    """Return a call on one line or, if that is too long, with a line for each argument."""
    line = f"{what}({', '.join(arguments)})"
    if len(line) <= LONGEST:
        return [line]
    return [f"{what}(", *(f"    {argument}," for argument in arguments), ")"]


def _compiling(own: Mapping[str, str], smoothing: float) -> list[str]:
    loss = '"sparse_categorical_crossentropy"'
    if smoothing:
        loss = f"SmoothedCrossentropy({smoothing!r})"
    arguments = ["optimizer", loss, 'metrics=["accuracy"]']
    return [*arguments, "run_eagerly=True"] if own.get("alone") else arguments


def _fitting(batch: int, epochs: int, weights: str) -> list[str]:
    arguments = ["features", "labels", f"batch_size={batch}", f"epochs={epochs}"]
    return [*arguments, *([f"{weights}={weights}"] if weights else ()), "**more"]


def from_pixels(meta: StudyMeta) -> list[str]:
    """Return the code of a function that puts the frozen base in front of a trained head.

    Raises:
        UserError: this Keras does not have the study's base.
    """
    size = meta.settings["image_size"]
    average = "    features = layers.GlobalAveragePooling2D()(features)"
    name = short_name(meta.base)
    return [
        *_white_points(meta),
        "def from_pixels(head):",
        f'    """Return a model of photos (RGB, 0 to 255); {name} stays frozen."""',
        f"    pixels = layers.Input(({size}, {size}, 3))",
        *(f"    {line}" for line in _base(meta, size)),
        "    base.trainable = False",
        f"    inputs = {_inputs(meta)}",
        "    features = base(inputs, training=False)",
        *([average] if "averaged_map" in meta.data else ()),
        "    return keras.Model(pixels, head(features))",
        "",
        "",
        "# From a folder of class folders to a classifier of photos:",
        "# import numpy as np",
        "# data = keras.utils.image_dataset_from_directory(",
        f'#     "my_photos", image_size=({size}, {size}), batch_size=None)',
        "# photos, labels = map(np.stack, zip(*data.as_numpy_iterator()))",
        "# rows = from_pixels(layers.Identity()).predict(photos)",
        "# model = from_pixels(train(rows, labels))",
    ]


def _white_points(meta: StudyMeta) -> list[str]:
    """Return a comment on the conversion of 16/32-bit grey, which the model does not contain."""
    points = meta.white_points
    if not points:
        return []
    ranges = (
        f"#   {kind}: black = {point['black']!r}, white = {point['white']!r}"
        for kind, point in points.items()
    )
    return [
        "# Grey images of 16 or 32 bits were converted to 0..255 before they were resized, by",
        "# np.rint(np.clip((values - black) / (white - black) * 255, 0, 255)), with",
        *ranges,
        "# Pixels without a value are 0, all channels equal. best/winner.keras expects the same,",
        "# which study.predict does by itself.",
    ]


def _base(meta: StudyMeta, size: int) -> list[str]:
    """Return the lines that make `base`; only Keras's own weights have a name."""
    if is_file(meta.base):
        return [f"base = keras.models.load_model({meta.base!r})"]
    if meta.base == DEFAULT_BASE:
        return ['base = keras.applications.VGG16(include_top=False, pooling="avg")']
    weights = str(meta.settings["weights"])
    given = f"weights={weights!r}, " if PurePath(weights).suffix else ""
    return [
        *(["# the study used random weights: see best/winner.keras"] * (weights == "random")),
        f"base = keras.applications.{meta.base}(",
        f'    include_top=False, pooling="avg", {given}input_shape=({size}, {size}, 3)',
        ")",
    ]


def _inputs(meta: StudyMeta) -> str:
    """Return the expression that prepares `pixels`."""
    preprocess = meta.settings["preprocess"]
    if preprocess == RESCALE:
        return "pixels / 255.0"
    if preprocess == NONE:
        return "pixels"
    if is_file(meta.base):
        return f"keras.applications.imagenet_utils.preprocess_input(pixels, mode={preprocess!r})"
    return f"keras.applications.{named_base(meta.base).module}.preprocess_input(pixels)"


def _from_rows(meta: StudyMeta) -> list[str]:
    """Return a comment on how to use the trained head on rows like those of the study."""
    return [
        f"# best/winner.keras is a trained head: it turns rows (N, {meta.data['features']}) into",
        f"# probabilities (N, {len(meta.class_names)}):",
        '# keras.models.load_model("best/winner.keras").predict(rows)',
    ]
