"""What decides a compiled program, and the widths that dense layers are padded to."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from study.common.metrics import ACCURACY
from study.space.head_config import HeadConfig
from study.space.keras_optimizers import NOT_PADDED, OPTIMIZERS
from study.space.own_optimizers import own_optimizers
from study.training.head import rows_per_step

COMPILED = ("dense_width", "activation", "batch_norm", "batch_size")  # keys of a head
WIDTHS = (64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)


class ProgramShape(NamedTuple):
    """What all programs of a study have in common."""

    rows: tuple[int, int]  # shape (R, d) of the features
    n_classes: int
    size: int  # heads in one program
    metric: str = ACCURACY  # chooses between epochs
    weighted: bool = False  # whether rows have weights in the training loss


class Signature(NamedTuple):
    """What heads share that train together in one program."""

    keras_class: str
    code: str  # digest of a user's class, empty for one of Keras
    statics: tuple[tuple[str, Any], ...]  # hyperparameters; of real numbers only the sign
    activation: str
    batch_norm: bool
    width: int  # padded
    batch: int
    n_train: int
    n_validation: int
    alone: bool = False  # plain Keras trains these heads, without a program
    loss: tuple[str, ...] = ()  # keys of `HeadConfig.loss_hyperparameters`, whose values are inputs


def signature_of(
    config: HeadConfig, n_train: int, n_validation: int, widths: Sequence[int] = WIDTHS
) -> Signature:
    """Return the signature of a run with so many rows, its width padded to one of `widths`."""
    own = own_optimizers().get(config.keras_class)
    statics = tuple(
        (name, int(np.sign(value)) if isinstance(value, float) else value)
        for name, value in sorted(config.optimizer_hyperparameters.items())
    )
    return Signature(
        keras_class=config.keras_class,
        code=own.digest if own else "",
        statics=statics,
        activation=config.activation,
        batch_norm=config.batch_norm,
        width=_padded(config, widths),
        batch=rows_per_step(config, n_train),
        n_train=n_train,
        n_validation=n_validation,
        loss=tuple(config.loss_hyperparameters),
    )


def key_of(signature: Signature, shape: ProgramShape) -> str:
    """Return all that decides a program besides code and versions."""
    return repr((signature, shape))


def few_widths(possible: Sequence[int], levels: int = 3) -> tuple[int, ...]:
    """Return the at most `levels` padded widths with the least work.

    Work grows with the padded width, and the `possible` widths are equally likely. Padded widths
    are multiples of 16, whole vectors.
    """
    rounded = sorted({-(-width // 16) * 16 for width in possible})
    if len(rounded) > 16:  # a wide range: choose among evenly spaced widths
        rounded = sorted({rounded[round(i)] for i in np.linspace(0, len(rounded) - 1, 16)})

    def work(chosen: tuple[int, ...]) -> float:
        return sum(min(level for level in chosen if level >= width) for width in possible)

    below = itertools.combinations(rounded[:-1], min(levels, len(rounded)) - 1)
    return min(((*some, rounded[-1]) for some in below), key=work)


def _padded(config: HeadConfig, widths: Sequence[int]) -> int:
    zero_epsilon = any(
        "epsilon" in name and not value for name, value in config.optimizer_hyperparameters.items()
    )
    # A user's class may use a whole variable; without an epsilon an idle unit computes 0 / 0.
    whole = config.keras_class in NOT_PADDED or config.keras_class not in OPTIMIZERS
    if whole or zero_epsilon:
        return config.dense_width
    fitting = [width for width in widths if width >= config.dense_width]
    return min(fitting, default=config.dense_width)
