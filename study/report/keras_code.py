"""Winning settings -> Keras code to paste: head, schedule and optimizer, exact and executable.

The text needs nothing of this package. A test runs it for every schedule and optimizer and compares
parameter counts and learning rates with what the study trained.
"""

from collections.abc import Mapping
from typing import Any

from study.common.aliases import Value
from study.records.records import StudyMeta
from study.report.analysis.winners import Settings

FEATURES = 512  # of VGG16's last block, pooled
HEAD = {"dense_width", "dropout", "activation", "batch_norm", "batch_size", "normalize"}
SCHEDULE = {
    *("schedule", "final_factor", "staircase", "decay_steps", "decay_rate", "power", "drops"),
    "warmup",
}
WARM_UP = '''class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises to the peak in `steps` steps, then follows `schedule` from its beginning."""

    def __init__(self, peak, steps, schedule):
        self.peak, self.steps, self.schedule = peak, steps, schedule

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        after = keras.ops.maximum(step - self.steps, 0.0)
        settled = self.schedule(after) if callable(self.schedule) else self.schedule
        rising = self.peak * (step + 1.0) / self.steps
        return keras.ops.where(step < self.steps, rising, settled)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps, "schedule": self.schedule}


schedule = WarmUp(peak, rising, schedule)
'''


def snippet(meta: StudyMeta, found: Settings) -> str:
    """Python code for the settings `found` of a study."""
    values = found.values
    rows = max(int(meta.split_sizes.get("train", 1)), 1)
    size = values.get("batch_size", 16)
    batch = rows if isinstance(size, str) else min(int(size), rows)
    epochs = int(meta.settings.get("max_epochs", found.epochs) or 1)
    parts = [
        f"# {' '.join(found.optimizer.split())}, tuned; trained for {found.epochs} epochs",
        "import keras",
        "from keras import layers",
        "",
        *_head(values, len(meta.class_names)),
        "",
        *_schedule(values, -(-rows // batch), epochs),
        f"optimizer = keras.optimizers.{_class(meta, found.optimizer)}({_arguments(values)})",
        'head.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])',
        f"# head.fit(features, labels, batch_size={batch}, epochs={found.epochs})",
        "",
        *_whole(meta),
    ]
    return "\n".join(parts) + "\n"


def _class(meta: StudyMeta, optimizer: str) -> str:
    tables = meta.space.get("table", {}).get("optimizers", {})
    return str(tables.get(optimizer, {}).get("class", "Adam"))


def _head(values: Mapping[str, Value], classes: int) -> list[str]:
    lines = ["head = keras.Sequential(["]
    inside = [f"layers.Input(({FEATURES},))"]
    if values.get("normalize"):
        lines = ["mean, variance = 0.0, 1.0  # put in those of your training features", *lines]
        inside.append("layers.Normalization(mean=mean, variance=variance)")
    activation = values.get("activation", "relu")
    inside.append(f"layers.Dense({values.get('dense_width', 170)}, activation={activation!r})")
    if values.get("batch_norm", True):
        inside.append("layers.BatchNormalization()")
    inside += [
        f"layers.Dropout({values.get('dropout', 0.5)!r})",
        f'layers.Dense({classes}, activation="softmax")',
    ]
    return [*lines, *(f"    {layer}," for layer in inside), "])"]


def _arguments(values: Mapping[str, Value]) -> str:
    hyperparameters = {
        k: v for k, v in values.items() if k not in HEAD | SCHEDULE | {"learning_rate"}
    }
    return ", ".join(["schedule", *(f"{key}={value!r}" for key, value in hyperparameters.items())])


def _schedule(values: Mapping[str, Value], steps_per_epoch: int, epochs: int) -> list[str]:
    """Lines that end with `schedule`, a number or one of Keras's schedules."""
    total = steps_per_epoch * epochs
    rising = round(float(values.get("warmup", 0.0)) * total)
    lines = [
        f"peak = {values['learning_rate']!r}",
        f"steps = {max(total - rising, 1)}  # {steps_per_epoch} an epoch, {epochs} epochs"
        + (f", less {rising} of warmup" if rising else ""),
        "schedules = keras.optimizers.schedules",
        f"schedule = {_after_warmup(values, max(total - rising, 1))}",
    ]
    if rising:
        lines += [f"rising = {rising}", "", "", WARM_UP.rstrip()]
    return lines


def _after_warmup(values: Mapping[str, Value], steps: int) -> str:
    factor = float(values.get("final_factor", 1.0))
    match values.get("schedule", "constant"):
        case "exponential":
            staircase = bool(values.get("staircase", False))
            if "decay_steps" in values:
                decay = f"{values['decay_steps']!r}, {values['decay_rate']!r}"
                return f"schedules.ExponentialDecay(peak, {decay}, staircase={staircase})"
            if not staircase:
                return f"schedules.ExponentialDecay(peak, steps, {factor!r})"
            return (
                f"schedules.ExponentialDecay(peak, steps / 10, {factor ** (1 / 10)!r}, "
                "staircase=True)"
            )
        case "cosine":
            return f"schedules.CosineDecay(peak, steps, alpha={factor!r})"
        case "linear":
            return f"schedules.PolynomialDecay(peak, steps, peak * {factor!r}, power=1.0)"
        case "polynomial":
            power = values.get("power", 2.0)
            return f"schedules.PolynomialDecay(peak, steps, peak * {factor!r}, power={power!r})"
        case "inverse_time":
            return f"schedules.InverseTimeDecay(peak, steps, {1.0 / factor - 1.0!r})"
        case "steps":
            drops = int(values.get("drops", 2))
            boundaries = [steps * drop / (drops + 1) - 0.5 for drop in range(1, drops + 1)]
            factors = [factor ** (drop / drops) for drop in range(drops + 1)]
            rates = f"[peak * f for f in {factors!r}]"
            return f"schedules.PiecewiseConstantDecay({boundaries!r}, {rates})"
    return "peak"


def _whole(meta: StudyMeta) -> list[str]:
    """A function that puts VGG16 in front, as `best/winner.keras` has it."""
    settings: Mapping[str, Any] = meta.settings
    size = settings.get("image_size", 224)
    inputs = "keras.applications.vgg16.preprocess_input(pixels)"
    if settings.get("preprocess") == "rescale":
        inputs = "pixels / 255.0"
    return [
        "",
        "def from_pixels(head):",
        '    """Photos, RGB from 0 to 255, to probabilities; VGG16 stays as it is."""',
        f"    pixels = layers.Input(({size}, {size}, 3))",
        '    base = keras.applications.VGG16(include_top=False, pooling="avg")',
        "    base.trainable = False",
        f"    return keras.Model(pixels, head(base({inputs}, training=False)))",
    ]
