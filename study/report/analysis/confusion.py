"""`best/` of a study -> the winner's confusion matrix, and some of its mistakes with pictures."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from study.common.errors import UserError
from study.common.metrics import ACCURACY, from_counts
from study.records.predictions import MISTAKE_SIDE, Predictions, load_predictions, worst_mistakes
from study.records.study_files import MISTAKES_FOLDER, PREDICTIONS_FILE
from study.records.study_meta import StudyMeta

MOST_CONFUSED = 12


class Mistake(NamedTuple):
    """One image that the winner classified wrongly."""

    true: int  # class
    said: int  # predicted class
    confidence: float
    pair: UInt8[np.ndarray, "side 2*side 3"]  # the image, then an example of the predicted class


class Confusion(NamedTuple):
    """The winner's predictions for held-out images."""

    optimizer: str
    images: str  # "test" or "validation"
    counts: Int[np.ndarray, "classes classes"]  # rows are true, columns predicted
    accuracy: float
    value: float  # by the study's metric
    per_class: Float[np.ndarray, " classes"]  # recall; NaN for a class without images
    pairs: tuple[tuple[int, int, int, int], ...]  # true, predicted, how many, of how many
    order: tuple[int, ...]  # the classes in the natural order of their names: s2 before s10
    mistakes: tuple[Mistake, ...] = ()


def load_confusion(study: Path, meta: StudyMeta, best: str) -> Confusion | None:
    """Return the confusion of optimizer `best`'s best head; None where the search wrote none.

    Raises:
        UserError: the file is damaged.
    """
    found = load_predictions(study)
    if found is None or best not in found.optimizers:
        return None
    table = found.optimizers[best]
    try:
        confusion = _confusion(best, table, meta.class_names, meta.metric)
        mistakes = load_mistakes(study, table) if best == found.winner else []
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(
            f"{study / PREDICTIONS_FILE} is damaged ({error}); delete it and run the same search "
            "again to rewrite it"
        ) from error
    return confusion._replace(mistakes=tuple(mistakes))


def _confusion(optimizer: str, table: Predictions, names: Sequence[str], metric: str) -> Confusion:
    classes = len(names)
    natural = sorted(range(classes), key=lambda place: _natural(names[place]))
    true = np.asarray(table.labels, np.int64)
    predicted = np.asarray(table.predictions, np.int64)
    if true.shape != predicted.shape or not true.size:
        raise ValueError("labels and predictions differ in length or are empty")
    if min(true.min(), predicted.min()) < 0 or max(true.max(), predicted.max()) >= classes:
        raise ValueError(f"a class number is outside 0 to {classes - 1}")
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (true, predicted), 1)
    right, totals = np.diag(counts), counts.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0/0, a class without images, is NaN on purpose
        per_class = right / totals
    wrong = counts - np.diag(right)
    ordered = wrong[np.ix_(natural, natural)]
    worst = np.argsort(-ordered, axis=None, kind="stable")[:MOST_CONFUSED].tolist()
    pairs = [(natural[flat // classes], natural[flat % classes]) for flat in worst]
    accuracy = float(np.mean(true == predicted))
    by_class = np.stack([right, counts.sum(axis=0), totals]).astype(float)
    return Confusion(
        optimizer,
        table.set,
        counts,
        accuracy,
        accuracy if metric == ACCURACY else float(from_counts(metric, by_class)),
        per_class,
        tuple((a, b, int(wrong[a, b]), int(totals[a])) for a, b in pairs if wrong[a, b]),
        tuple(natural),
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key by which numbers inside names count as numbers."""
    pieces = re.split("([0-9]+)", name.lower())
    digits = [piece.lstrip("0") if place % 2 else "" for place, piece in enumerate(pieces)]
    return [(len(d), d or piece) for d, piece in zip(digits, pieces, strict=True)]


def load_mistakes(study: Path, table: Predictions) -> list[Mistake]:
    """Return the mistakes whose pictures exist, in the order of `worst_mistakes`."""
    found = []
    for number, place in enumerate(worst_mistakes(table)):
        try:
            with Image.open(study / MISTAKES_FOLDER / f"{number:02d}.png") as image:
                pair = np.asarray(image.convert("RGB").resize((2 * MISTAKE_SIDE, MISTAKE_SIDE)))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        label, said = table.labels[place], table.predictions[place]
        found.append(Mistake(label, said, table.confidence[place], pair))
    return found
