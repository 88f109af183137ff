"""A type that `records` and `space` share, though neither may import the other."""

Value = bool | int | float | str  # of a hyperparameter
