"""What the winner says about held-out images, and a few of its mistakes with pictures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from study.common.aliases import Numbers
from study.common.errors import UserError
from study.records.records import PREDICTIONS_FILE, StudyMeta
from study.search.mistakes import FOLDER, SIDE, worst


class Mistake(NamedTuple):
    """One image that the winner named wrongly."""

    true: int  # class
    said: int
    confidence: float
    pair: np.ndarray  # (SIDE, 2 * SIDE, 3) uint8: the image, and one of the class it was taken for


def load_mistakes(study: Path, table: Mapping[str, Any]) -> list[Mistake]:
    """The pictures that are there, in the order of `worst`."""
    found = []
    for number, place in enumerate(worst(table)):
        try:
            with Image.open(study / FOLDER / f"{number:02d}.png") as image:
                pair = np.asarray(image.convert("RGB").resize((2 * SIDE, SIDE)))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
        found.append(
            Mistake(
                int(table["labels"][place]),
                int(table["predictions"][place]),
                float(table["confidence"][place]),
                pair,
            )
        )
    return found


MOST_CONFUSED = 12


class Confusion(NamedTuple):
    """What the winner says about held-out images."""

    optimizer: str
    images: str  # "test" or "validation"
    counts: NDArray[np.int64]  # (classes, classes), rows are true, columns predicted
    accuracy: float
    per_class: Numbers  # (classes,) share found of each class; NaN for a class without images
    pairs: tuple[tuple[int, int, int, int], ...]  # true, predicted, how many, of how many
    mistakes: tuple[Mistake, ...] = ()  # some with pictures


def load_confusion(study: Path, meta: StudyMeta, best: str) -> Confusion | None:
    """Read `best/predictions.json`; None where the search has not written it.

    The optimizer named winner there is shown; else `best`, else the first one.

    Raises:
        UserError: the file is damaged.
    """
    path = study / PREDICTIONS_FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        tables: dict[str, Any] = found["optimizers"]
        names = [name for name in (found.get("winner"), best, *tables) if name in tables]
        if not names:
            return None
        confusion = _confusion(names[0], tables[names[0]], len(meta.class_names))
        if names[0] != found.get("winner"):
            return confusion
        return confusion._replace(mistakes=tuple(load_mistakes(study, tables[names[0]])))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is damaged ({error!r}); delete it and run the same search again to rewrite it"
        ) from error


def _confusion(optimizer: str, table: Mapping[str, Any], classes: int) -> Confusion:
    true = np.asarray(table["labels"], np.int64)  # (N,)
    said = np.asarray(table["predictions"], np.int64)  # (N,)
    if true.shape != said.shape or true.ndim != 1 or not true.size:
        raise ValueError("labels and predictions differ in length or are empty")
    if min(true.min(), said.min()) < 0 or max(true.max(), said.max()) >= classes:
        raise ValueError(f"a class number is outside 0 to {classes - 1}")
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (true, said), 1)
    totals = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0/0, a class without images, is NaN on purpose
        per_class = np.diag(counts) / totals
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(flat), classes) for flat in order]
    return Confusion(
        optimizer,
        str(table.get("set", "held-out")),
        counts,
        float(np.mean(true == said)),
        per_class,
        tuple((a, b, int(wrong[a, b]), int(totals[a])) for a, b in pairs if wrong[a, b]),
    )
