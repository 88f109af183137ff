"""One name for each type that several wings speak of."""

Value = bool | int | float | str  # of a hyperparameter
