"""Everything needed to build and train one head."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from study.common.aliases import Value
from study.space.head_table import HEAD, LOSS


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
    loss_hyperparameters: Mapping[str, Value] = field(default_factory=dict)  # those a space has

    @property
    def balanced(self) -> bool:
        """Whether every class weighs the same in training, however many rows it has."""
        return self.loss_hyperparameters.get("class_weight") == "balanced"

    @property
    def label_smoothing(self) -> float:
        """The part of a label that is spread over all classes, 0 to below 1."""
        return float(self.loss_hyperparameters.get("label_smoothing", 0.0))

    @property
    def has_own_loss(self) -> bool:
        """Whether it is trained by another loss than the plain cross-entropy."""
        return self.balanced or self.label_smoothing > 0

    def hyperparameters(self) -> dict[str, Value]:
        """The flat table that records, TensorBoard and the report show."""
        table: dict[str, Value] = {
            "learning_rate": self.learning_rate,
            **self.optimizer_hyperparameters,
        }
        table |= {"schedule": self.schedule, **self.schedule_hyperparameters}
        table |= {key: getattr(self, key) for key in HEAD if key not in LOSS}
        return table | dict(self.loss_hyperparameters)
