"""One name for each type that several wings speak of."""

import numpy as np
from numpy.typing import NDArray

Value = bool | int | float | str  # of a hyperparameter
Numbers = NDArray[np.float64]
IntArray = NDArray[np.int32]  # (n,)
