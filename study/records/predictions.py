"""`best/predictions.json`: what the best head of each optimizer predicts for held-out images."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from study.common.errors import UserError
from study.common.files import write_atomically
from study.records.study_files import PREDICTIONS_FILE, checked, parsed

MOST_MISTAKES = 12  # with pictures
MISTAKE_SIDE = 96  # pixels of one picture


@dataclass(frozen=True)
class Predictions:
    """What one head predicts for the images of a set, each list in the order of `paths`."""

    trial_id: str  # of the run that was trained once more for the head
    set: str  # "test" or "validation"
    paths: list[str]  # below the folder of images
    labels: list[int]  # class numbers
    predictions: list[int]
    confidence: list[float]  # probability of the predicted class


@dataclass(frozen=True)
class BestPredictions:
    """The predictions of every optimizer's best head, and which one is in `best/winner.keras`."""

    winner: str
    optimizers: Mapping[str, Predictions]


def save_predictions(study: Path, found: BestPredictions) -> None:
    """Write the file atomically."""
    write_atomically(study / PREDICTIONS_FILE, json.dumps(asdict(found), ensure_ascii=True))


def load_predictions(study: Path) -> BestPredictions | None:
    """Return what the file holds, None if there is none yet; refuse a damaged one."""
    path = study / PREDICTIONS_FILE
    if not path.exists():
        return None
    try:
        return checked(parsed(path.read_bytes()), BestPredictions)
    except (ValueError, AttributeError, RecursionError, OSError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it and run the same search again to rewrite it"
        ) from error


def worst_mistakes(found: Predictions) -> list[int]:
    """Return the places of up to `MOST_MISTAKES` wrong predictions to show.

    Frequent pairs of classes come first, but each shows only its two surest mistakes before the
    next pair's turn: showing the same confusion twelve times would say less.
    """
    pairs = list(zip(found.labels, found.predictions, strict=True))
    wrong = [place for place, (label, predicted) in enumerate(pairs) if label != predicted]
    often = Counter(pairs[place] for place in wrong)
    wrong.sort(key=lambda place: -found.confidence[place])
    seen: Counter[tuple[int, int]] = Counter()
    turn = {}
    for place in wrong:
        turn[place] = (seen[pairs[place]] // 2, -often[pairs[place]], pairs[place])
        seen[pairs[place]] += 1
    return sorted(wrong, key=lambda place: turn[place])[:MOST_MISTAKES]
