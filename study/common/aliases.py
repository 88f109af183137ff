"""What wings share that may not import each other."""

import re

# Of an optimizer in a search space: it is the name of a file and a folder, too.
OPTIMIZER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
Value = bool | int | float | str  # of a hyperparameter
