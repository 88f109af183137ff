"""The head's hyperparameters: one entry for each key of a `[head]` table and field of a head.

Defaults are those of the blog post's head.
"""

from study.space.keys import Key, is_part, is_whole, switch, whole

WIDEST = 65_536  # units of the dense layer
ACTIVATIONS = ("relu", "elu", "gelu", "leaky_relu", "selu", "silu", "softplus", "tanh", "sigmoid")

HEAD: dict[str, Key] = {
    "dense_width": whole(170, "units", WIDEST),
    "dropout": Key(0.5, is_part, "a number from 0 to below 1"),
    "activation": Key("relu", lambda v: v in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
    "batch_norm": switch(True),
    "batch_size": Key(
        16, lambda v: v == "full" or is_whole(v), 'a whole number of rows, or "full"', True
    ),
    "normalize": switch(False),
}
