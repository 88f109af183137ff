"""Everything needed to build and train one head."""

from collections.abc import Mapping
from dataclasses import dataclass

from study.common.aliases import Value
from study.space.head_table import HEAD


@dataclass(frozen=True)
class HeadConfig:
    """Everything needed to build and train one head, in Keras's own words."""

    optimizer: str  # the name in the search space
    keras_class: str  # of keras.optimizers
    learning_rate: float  # the peak
    optimizer_hyperparameters: Mapping[str, Value]  # further arguments of the class
    schedule: str
    schedule_hyperparameters: Mapping[str, Value]
    dense_width: int
    dropout: float
    activation: str
    batch_norm: bool
    batch_size: int | str  # rows a step, or "full"
    normalize: bool  # standardize the features by the training rows

    def hyperparameters(self) -> dict[str, Value]:
        """The flat table that records, TensorBoard and the report show."""
        table: dict[str, Value] = {
            "learning_rate": self.learning_rate,
            **self.optimizer_hyperparameters,
        }
        table |= {"schedule": self.schedule, **self.schedule_hyperparameters}
        return table | {key: getattr(self, key) for key in HEAD}
