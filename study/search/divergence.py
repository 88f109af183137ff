"""Curves of a run come in; whether it diverged comes out, and why in words."""

import math

from study.records.trial_record import TrialStatus

ABSURD_LOSS = 10.0  # times the loss of a coin with as many sides as classes
NO_GUESSING = 0.75  # accuracy


def judge(
    curves: dict[str, list[float]], n_classes: int, *, plain: bool = True
) -> tuple[TrialStatus, str]:
    """Whether a run diverged, and why in words.

    It did if a loss is not finite, or if it ends with a training loss above `ABSURD_LOSS` times
    ln(n_classes) while guessing no better than twice chance. A large loss alone is not enough: an
    overconfident head can have one and still be right.

    Class weights make much of a few rows of the training, though not of the validation, and
    smoothing charges a head for being sure even where it is right. Guessing still has ln(n_classes)
    in both. So without a `plain` loss the validation loss has to be as large, too, and three rows
    of four named rightly are no guessing, which of two classes twice chance would call all.
    """
    for name in ("loss", "val_loss"):
        for epoch, value in enumerate(curves[name], start=1):
            if not math.isfinite(value):
                return TrialStatus.DIVERGED, f"{name} is {value} at epoch {epoch}"
    limit = ABSURD_LOSS * math.log(n_classes)
    loss, accuracy = curves["loss"][-1], curves["val_accuracy"][-1]
    guessing = 2.0 / n_classes
    if not plain:
        loss, guessing = min(loss, curves["val_loss"][-1]), min(guessing, NO_GUESSING)
    if loss > limit and accuracy <= guessing:
        return TrialStatus.DIVERGED, f"loss ends at {loss:.3g}, far above chance"
    return TrialStatus.COMPLETED, ""
