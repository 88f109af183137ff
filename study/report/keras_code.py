"""A winning run -> Keras code to paste: head, schedule, optimizer and training, executable.

The text needs nothing of this package, and follows the tables that the study was trained with. A
test runs it for every class and schedule and compares curves with what the study trains.

The frozen base of a study -> Keras code that puts it in front of a trained head.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from study.common.aliases import Value
from study.common.bases import DEFAULT_BASE, NONE, RESCALE, is_file, named_base, short_name
from study.common.errors import UserError
from study.common.metrics import ACCURACY, WORDS
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord
from study.space.head_config import HEAD
from study.space.keras_optimizers import OPTIMIZERS
from study.space.schedule_table import all_schedule_keys, shape

LONGEST = 88  # characters of a line
TRAINING = Path(__file__).parents[1] / "training"  # classes are printed, not imported
_HOW = {
    Phase.CONFIRM: "as it was confirmed",
    Phase.SEARCH: "the best trial so far",
    Phase.DEFAULT: "untuned",
    Phase.BUDGET: "found early",
}
_STATISTICS = (
    "variance = features.var(axis=0)",
    "variance[features.min(axis=0) == features.max(axis=0)] = 1  # not divided by almost 0",
)


def from_pixels(meta: StudyMeta) -> list[str]:
    """Lines of a function from a head to the whole model, and what it cannot know of the images.

    Raises:
        UserError: the study's base is none that Keras has here.
    """
    size = meta.settings["image_size"]
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
    preprocess = meta.settings["preprocess"]
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
    weights = str(meta.settings["weights"])
    given = f"weights={weights!r}, " if PurePath(weights).suffix else ""
    return [
        *(["# the study's own has random weights: see best/winner.keras"] * (weights == "random")),
        f"base = keras.applications.{meta.base}(",
        f'    include_top=False, pooling="avg", {given}input_shape=({size}, {size}, 3)',
        ")",
    ]


def _white_points(meta: StudyMeta) -> list[str]:
    """How deep grey becomes pixels from 0 to 255, which the model itself cannot know."""
    points = meta.white_points
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


def keras_code(meta: StudyMeta, run: TrialRecord) -> str:
    """Python code that trains the head of `run` anew, up to its best epoch.

    Raises:
        UserError: the study's files name a class or a schedule that Keras does not have here, or
            lack a hyperparameter.
    """
    try:
        return "\n".join(_lines(meta, run)) + "\n"
    except KeyError as error:
        raise UserError(
            f"run {run.trial_id}: hyperparameter {error} is missing in its record"
        ) from error
    except ValueError as error:
        raise UserError(f"run {run.trial_id} cannot be printed as Keras code: {error}") from error


def _lines(meta: StudyMeta, run: TrialRecord) -> list[str]:
    values = run.hyperparameters
    rows, size = max(meta.split_sizes["train"], 1), values["batch_size"]
    batch = rows if isinstance(size, str) else min(int(size), rows)
    steps, epochs = -(-rows // batch), int(meta.settings["max_epochs"])
    schedule, warm_up = _schedule(values, steps * epochs)
    own = meta.code.get(run.optimizer, {})
    smoothing = float(values.get("label_smoothing", 0.0))
    weights = _weights(values)
    classes = [*warm_up, *(_printed("smoothed_loss.py") if smoothing else ())]
    body = [
        *(_STATISTICS if values["normalize"] else ()),
        *_head(values, int(meta.data["features"]), len(meta.class_names)),
        f"# {steps} steps an epoch, {epochs} epochs",
        *schedule,
        *_call(f"optimizer = {_class(meta, run.optimizer)}", _arguments(values)),
        "optimizer.build(head.trainable_variables)  # some start from the weights",
        *_call("head.compile", _compiling(own, smoothing)),
        *weights,
        *_call("head.fit", _fitting(batch, run, weighted=bool(weights))),
        "return head",
    ]
    return [
        f"# {' '.join(run.optimizer.split())}, {_HOW[run.phase]}; best epoch {run.best_epoch} of "
        f"{run.epochs}{'' if run.metric == ACCURACY else f' by validation {WORDS[run.metric]}'}",
        *(["from typing import Any", ""] if classes else ()),
        "import keras",
        *(["import numpy as np"] if weights else ()),
        "from keras import layers",
        *_import_of(own),
        *classes,
        "",
        "",
        *_views(int(meta.settings.get("views", 1))),
        "def train(features, labels, **more):",
        '    """Train a head on rows (N, features) and class numbers (N,)."""',
        *(f"    {line}" for line in body),
        "",
        "",
        *(from_pixels(meta) if meta.noun == "image" else _from_rows(meta)),
    ]


def _call(what: str, arguments: Sequence[str]) -> list[str]:
    """A call on one line, or with a line for each argument where that is too long."""
    line = f"{what}({', '.join(arguments)})"
    if len(line) <= LONGEST:
        return [line]
    return [f"{what}(", *(f"    {argument}," for argument in arguments), ")"]


def _views(views: int) -> list[str]:
    """What the code does not do by itself."""
    if views == 1:
        return []
    return [
        f"# The study had {views} views of each training image (crops, turned, perhaps mirrored,",
        "# darker or brighter) and drew the one to train on in every epoch; here all epochs see",
        "# the rows that are given, so the curve is another one.",
    ]


def _import_of(own: Mapping[str, str]) -> list[str]:
    """The line that brings a user's optimizer; its file has to lie where the code runs."""
    if not own:
        return []
    file, name = own["file"], own["class"]
    made_of = f"  # code with sha256 {own['digest'][:12]}"
    stem = Path(file).stem
    if stem.isidentifier():
        return ["", f"from {stem} import {name}{made_of}"]
    return ["import runpy", "", f"{name} = runpy.run_path({file!r})[{name!r}]{made_of}"]


def _compiling(own: Mapping[str, str], smoothing: float) -> list[str]:
    loss = '"sparse_categorical_crossentropy"'
    if smoothing:
        loss = f"SmoothedCrossentropy({smoothing!r})"
    arguments = ["optimizer", loss, 'metrics=["accuracy"]']
    return [*arguments, "run_eagerly=True"] if own.get("alone") else arguments


def _weights(values: Mapping[str, Value]) -> list[str]:
    """Lines that make `class_weight`, of the rows that are trained with."""
    if values.get("class_weight") != "balanced":
        return []
    return [
        "present, rows = np.unique(labels, return_counts=True)",
        "balanced = len(labels) / (len(present) * rows)  # each class weighs the same",
        "class_weight = dict(zip(present.tolist(), balanced.tolist()))",
    ]


def _fitting(batch: int, run: TrialRecord, *, weighted: bool) -> list[str]:
    arguments = ["features", "labels", f"batch_size={batch}", f"epochs={max(run.best_epoch, 1)}"]
    return [*arguments, *(["class_weight=class_weight"] if weighted else ()), "**more"]


def _class(meta: StudyMeta, optimizer: str) -> str:
    if optimizer in meta.code:
        return meta.code[optimizer]["class"]
    table = meta.space["table"].get("optimizers", {}).get(optimizer, {})
    name = table.get("class")
    if name not in OPTIMIZERS:
        raise UserError(
            f"study {meta.name}: class {name!r} of optimizer {optimizer} is none that can be "
            f"printed as Keras code; known: {', '.join(OPTIMIZERS)}"
        )
    return f"keras.optimizers.{name}"


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


def _arguments(values: Mapping[str, Value]) -> list[str]:
    others = {"learning_rate", "schedule", *HEAD, *all_schedule_keys()}
    return ["learning_rate", *(f"{k}={v!r}" for k, v in values.items() if k not in others)]


def _schedule(values: Mapping[str, Value], total_steps: int) -> tuple[list[str], list[str]]:
    """Lines that make `learning_rate`, and those of the warmup's class where it is needed."""
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
    """The class that training uses, from its file without docstring and imports on top."""
    text = (TRAINING / file).read_text(encoding="utf-8").partition("\n\n\n")[2]
    return ["", "", *text.strip().splitlines()]


def _from_rows(meta: StudyMeta) -> list[str]:
    """How to use the trained head on rows like those of the study."""
    return [
        f"# best/winner.keras is such a head, trained: rows (N, {meta.data['features']}) go in,",
        f"# probabilities (N, {len(meta.class_names)}) come out:",
        '# keras.models.load_model("best/winner.keras").predict(rows)',
    ]
