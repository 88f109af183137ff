"""The only schedule not in Keras. The report prints this class, so it is self-contained."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="optimizer_study")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to the peak in `steps` steps, then follows `schedule` from its start."""

    def __init__(self, peak: float, steps: int, schedule: Any) -> None:
        self.peak, self.steps, self.schedule = peak, steps, schedule

    def __call__(self, step: Any) -> Any:
        """Return the learning rate at `step`, counted from 0."""
        step = keras.ops.cast(step, "float32")
        rising = self.peak * (step + 1.0) / self.steps
        after = keras.ops.maximum(step - self.steps, 0.0)
        settled = self.schedule(after) if callable(self.schedule) else self.schedule
        return keras.ops.where(step < self.steps, rising, settled)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild it."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"peak": self.peak, "steps": self.steps, "schedule": schedule}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Return the schedule that `get_config` describes."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(config["peak"], config["steps"], schedule)
