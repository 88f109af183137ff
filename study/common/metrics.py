"""The metrics that may judge a study: their words, their formulas, what a guess scores.

Metrics other than accuracy come from counts by class, (..., 3, classes): rows of a class that were
classified correctly, rows that were predicted as it, rows of it. They follow scikit-learn and agree
with it to six digits:

- `balanced_accuracy_score`: the mean recall of the classes that have rows; a class that is
  predicted but has none is left out.
- `f1_score(average="macro", zero_division=0)`: the mean F1 of the classes that have rows or are
  predicted; a class that is predicted and has no rows counts 0, one with neither is left out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

ACCURACY, BALANCED_ACCURACY, MACRO_F1 = "accuracy", "balanced_accuracy", "macro_f1"
WORDS = {  # in sentences
    ACCURACY: "accuracy",
    BALANCED_ACCURACY: "balanced accuracy",
    MACRO_F1: "macro F1",
}
SHORT = {ACCURACY: "acc", BALANCED_ACCURACY: "bal acc", MACRO_F1: "macro F1"}  # over columns
PLURAL = {  # several values, at the beginning of a sentence
    ACCURACY: "Accuracies",
    BALANCED_ACCURACY: "Balanced accuracies",
    MACRO_F1: "Macro F1 values",
}
# Digits of a metric that is computed from class counts. Fewer than a record keeps: equal sums that
# differ in the last bit must not make a program keep the weights of another epoch.
DIGITS = 6


def from_counts(metric: str, counts: Any, xp: Any = np) -> Any:
    """Return the value of a metric from counts by class, rounded to `DIGITS`; 0 without rows.

    Args:
        metric: `BALANCED_ACCURACY` or `MACRO_F1`.
        counts: (..., 3, classes), float64; an array, or a tensor inside a program.
        xp: the library of `counts`: NumPy, or `keras.ops` inside a program.

    Raises:
        ValueError: `metric` is another one.
    """
    right, named, there = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    if metric == BALANCED_ACCURACY:
        found, possible = right, there
    elif metric == MACRO_F1:  # 2 TP / (2 TP + FP + FN)
        found, possible = 2 * right, named + there
    else:
        raise ValueError(f"{metric} is not computed from counts by class")
    shares = xp.sum(found / xp.maximum(possible, 1), axis=-1)
    classes = xp.sum(xp.minimum(possible, 1), axis=-1)  # that count
    return xp.round(shares / xp.maximum(classes, 1), DIGITS)


def constant_class(metric: str, class_counts: Sequence[int]) -> float:
    """Return the score of always predicting the largest class.

    Accuracy: its share of the images, p. Balanced accuracy: 1 / classes. Macro F1:
    2 p / (1 + p) / classes.
    """
    most, images = max(class_counts, default=0), sum(class_counts)
    if metric == ACCURACY:
        return most / max(images, 1)
    if not images:
        return 0.0
    there = np.array(class_counts, float)
    predicted = np.zeros_like(there)
    predicted[there.argmax()] = images
    return float(from_counts(metric, np.stack([np.minimum(predicted, there), predicted, there])))


def guessing(metric: str, class_counts: Sequence[int]) -> float:
    """Return the score of a diverged run.

    Accuracy: that of a guess among the classes, 1 / classes, whatever their sizes. The others: the
    score of always predicting the largest class, since a head whose numbers are not finite predicts
    one class for every image. For balanced accuracy that is 1 / classes, too. A random guess can
    expect several times as much macro F1 (0.1 against 0.018 for ten classes of one size), so a
    diverged run would pass for one that has learned something.
    """
    if metric == ACCURACY:
        return 1 / max(len(class_counts), 1)
    return constant_class(metric, class_counts)


def steps(metric: str, class_counts: Sequence[int], images: int) -> float:
    """Return how many steps of one image there are from 0 to 1, given `images` in these shares.

    Accuracy: one for each image. An image of a class with n of them changes balanced accuracy by
    1 / (classes n), and macro F1, near its top, by half of that in the class that it leaves and
    in the one that it joins; so at most by what n of the rarest class gives. With classes of
    one size all three agree.
    """
    if metric == ACCURACY:
        return max(images, 1)
    sizes = [count for count in class_counts if count]
    rarest = images * min(sizes, default=0) / max(sum(sizes), 1)
    return max(len(sizes), 1) * max(rarest, 1)
