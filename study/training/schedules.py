"""A configuration's learning rates: one of Keras's schedules, with an optional warmup."""

from typing import Any

import keras
import numpy as np

from study.space.head_config import HeadConfig


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rise linearly to the peak in `steps` steps, then follow `schedule` from its beginning."""

    def __init__(self, peak: float, steps: int, schedule: Any) -> None:
        self.peak, self.steps, self.schedule = peak, steps, schedule

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rising = self.peak * (step + 1.0) / self.steps
        after = keras.ops.maximum(step - self.steps, 0.0)
        settled = self.schedule(after) if callable(self.schedule) else self.schedule
        return keras.ops.where(step < self.steps, rising, settled)

    def get_config(self) -> dict[str, Any]:
        """What rebuilds it."""
        return {"peak": self.peak, "steps": self.steps, "schedule": self.schedule}


def make_schedule(config: HeadConfig, total_steps: int) -> Any:
    """The learning rate over `total_steps`: a number, or one of Keras's schedules.

    Every schedule falls from the peak to `final_factor` times the peak at the end of the study's
    `--max-epochs`; `exponential` may instead be given in steps, as Keras has it.
    """
    warmup = float(config.schedule_hyperparameters.get("warmup", 0.0))
    rising = round(warmup * total_steps)
    schedule = _after_warmup(config, max(total_steps - rising, 1))
    return WarmUp(config.learning_rate, rising, schedule) if rising else schedule


def _after_warmup(config: HeadConfig, steps: int) -> Any:
    schedules = keras.optimizers.schedules
    peak, hyperparameters = config.learning_rate, config.schedule_hyperparameters
    factor = float(hyperparameters.get("final_factor", 1.0))
    match config.schedule:
        case "constant":
            return peak
        case "exponential":
            return _exponential(peak, factor, hyperparameters, steps)
        case "cosine":
            return schedules.CosineDecay(peak, steps, alpha=factor)
        case "linear":
            return schedules.PolynomialDecay(peak, steps, peak * factor, power=1.0)
        case "polynomial":
            return schedules.PolynomialDecay(
                peak, steps, peak * factor, power=hyperparameters["power"]
            )
        case "inverse_time":
            return schedules.InverseTimeDecay(peak, steps, 1.0 / factor - 1.0)
        case "steps":
            drops = int(hyperparameters["drops"])
            # a boundary is the last step before the drop: Keras compares with <=
            boundaries = [steps * drop / (drops + 1) - 0.5 for drop in range(1, drops + 1)]
            rates = [peak * factor ** (drop / drops) for drop in range(drops + 1)]
            return schedules.PiecewiseConstantDecay(boundaries, rates)
    raise ValueError(f"no such schedule: {config.schedule}")  # the grammar lets none pass


def _exponential(peak: float, factor: float, hyperparameters: Any, steps: int) -> Any:
    """Keras's own form if the space gives `decay_steps`; else down to `factor` at the end."""
    decay = keras.optimizers.schedules.ExponentialDecay
    staircase = bool(hyperparameters.get("staircase", False))
    if "decay_steps" in hyperparameters:
        return decay(
            peak, hyperparameters["decay_steps"], hyperparameters["decay_rate"], staircase=staircase
        )
    if not staircase:
        return decay(peak, steps, factor)
    drops = 10  # ten equal drops; the last one falls at the end
    return decay(peak, steps / drops, factor ** (1 / drops), staircase=True)


def learning_rates(config: HeadConfig, total_steps: int) -> np.ndarray:
    """The schedule as a table: (total_steps,) float32, entry i for the step counted from 0."""
    schedule = make_schedule(config, total_steps)
    if not callable(schedule):
        return np.full(total_steps, schedule, np.float32)
    steps = keras.ops.arange(total_steps, dtype="float32")
    return np.asarray(keras.ops.convert_to_numpy(schedule(steps)), np.float32)
