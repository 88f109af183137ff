"""The only loss not in Keras. The report prints this class, so it is self-contained."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="optimizer_study")
class SmoothedCrossentropy(keras.losses.Loss):
    """Keras's CategoricalCrossentropy with label smoothing, for class numbers (N,)."""

    def __init__(self, label_smoothing: float, **more: Any) -> None:
        super().__init__(**more)
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row, (N,), for probabilities (N, classes)."""
        numbers = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
        one_hot = keras.ops.one_hot(numbers, y_pred.shape[-1])
        return keras.losses.categorical_crossentropy(
            one_hot, y_pred, label_smoothing=self.label_smoothing
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild it."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
