"""The learning rates of a configuration: one of Keras's schedules, with an optional warm-up."""

from typing import Any

import keras
import numpy as np
from jaxtyping import Float32

from study.space.head_config import HeadConfig
from study.space.schedule_table import shape
from study.training.warm_up import WarmUp


def make_schedule(config: HeadConfig, total_steps: int) -> Any:
    """Return the learning rate over `total_steps`: a number or a Keras schedule."""
    peak = config.learning_rate
    found = shape(config.schedule, peak, total_steps, config.schedule_hyperparameters)
    schedule = peak
    if found.keras_class:
        keras_class = getattr(keras.optimizers.schedules, found.keras_class)
        schedule = keras_class(**found.arguments)
    return WarmUp(peak, found.rising, schedule) if found.rising else schedule


def learning_rates(config: HeadConfig, total_steps: int) -> Float32[np.ndarray, " steps"]:
    """Return the learning rate of each step."""
    schedule = make_schedule(config, total_steps)
    if not callable(schedule):
        return np.full(total_steps, schedule, np.float32)
    steps = keras.ops.arange(total_steps, dtype="float32")
    return np.asarray(keras.ops.convert_to_numpy(schedule(steps)), np.float32)
