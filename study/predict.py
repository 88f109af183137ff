"""Classify photos with the winner of a study.

    python -m study.predict photo.jpg             # the newest study under logs/
    python -m study.predict *.jpg --study NAME

Prints one line per image: file, class, probability, and the next likeliest classes. It loads
`best/winner.keras`, a plain Keras model from pixels to probabilities; takes a few seconds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.command import ENDS, add_study, complain, parse, typed
from study.common.errors import UserError
from study.common.tensorflow import load_model
from study.common.text import printable
from study.data.pixels.decoding import decode, inspect
from study.data.pixels.deep_grey import Scale, Scales
from study.records.predictions import load_predictions
from study.records.study_files import WINNER_FILE
from study.records.study_folders import find_winner
from study.records.study_meta import load_meta
from study.records.trials_file import load_records
from study.verdicts.judge import answer_of

BATCH = 32  # images predicted together
SHOWN = 3  # classes a line


class Prediction(NamedTuple):
    """Class names and their probabilities, the likeliest first."""

    names: tuple[str, ...]
    probabilities: tuple[float, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 2 after a mistake, also if one image cannot be read."""
    given = parse(_parser(), argv)
    bad = False
    try:
        study = find_winner(given.logs, given.study)
        _refuse_rows(study)
        if sentence := outdated(study):
            print(f"warning: {sentence}", file=sys.stderr)
        scales, images = white_points(study), []
        for path in given.images:
            found = inspect(path)
            if found.digest:
                images.append(path)
            else:
                bad = True
                reason = found.reason or "is not an image"
                print(f"error: {printable(path)}: {reason}", file=sys.stderr)
            if found.grey and found.grey.kind not in scales:
                print(
                    f"warning: {printable(path)} is 16/32-bit grey of {found.grey.kind}, which the "
                    "study has never seen, so its white point is a guess: save it in the format of "
                    "the study's images",
                    file=sys.stderr,
                )
        for path, answer in zip(images, predict(study, images), strict=True):
            print(f"{printable(path)}: {in_words(answer)}")
    except ENDS as error:
        return complain(error, given)
    return 2 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=typed("predict"), description="Classify images with the winner of a study."
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    add_study(parser)
    return parser


def _refuse_rows(study: Path) -> None:
    """Refuse a study of rows: only the user can turn a photo into such a row."""
    data = load_meta(study).data
    if "rows" in data:
        raise UserError(
            f"study {printable(study.name)} is of rows of {data['features']} numbers "
            f"({printable(data['file'])}), so its winner takes such rows, not images: compute rows "
            "in the same way, then call "
            f"keras.models.load_model({str(study / WINNER_FILE)!r}).predict(rows); or give `study` "
            "a study of images"
        )


def outdated(study: Path) -> str:
    """Return a sentence if `winner.keras` is not of the optimizer that leads by now, else ""."""
    meta, found = load_meta(study), load_predictions(study)
    records = load_records(study, meta)
    best = answer_of(meta, records).leader
    if found is None or best in ("", found.winner) or len(records) < meta.runs:
        return ""
    return (
        f"{study / WINNER_FILE} holds {found.winner}, but {best} leads by the records of this "
        "study: run the same search command to its end to update the file"
    )


def white_points(study: Path) -> Scales:
    """Return the white points of deep grey that the study was trained with."""
    return {
        kind: Scale(float(point["black"]), float(point["white"]))
        for kind, point in load_meta(study).white_points.items()
    }


def predict(study: Path, images: Sequence[Path]) -> list[Prediction]:
    """Return what the winner of `study` predicts for every image.

    Raises:
        UserError: the model or an image cannot be read.
    """
    if not images:
        return []
    names, scales = load_meta(study).class_names, white_points(study)
    model = load_model(study / WINNER_FILE)
    size = int(model.input_shape[1])
    answers = []
    for start in range(0, len(images), BATCH):
        pixels = np.stack([decode(path, size, scales) for path in images[start : start + BATCH]])
        # compiled: called by itself, a base with grouped convolutions prints TensorFlow's warnings
        for row in np.asarray(model.predict_on_batch(pixels.astype(np.float32))):
            best = np.argsort(-row, kind="stable")[:SHOWN].tolist()
            chosen = tuple(names[label] for label in best)
            answers.append(Prediction(chosen, tuple(row[best].astype(float).tolist())))
    return answers


def in_words(answer: Prediction) -> str:
    """Return "cat 93.1 % (then dog 4.0 %, bird 2.9 %)"."""
    shown = [
        f"{printable(name)} {100 * probability:.1f} %"
        for name, probability in zip(answer.names, answer.probabilities, strict=True)
    ]
    return shown[0] + (f" (then {', '.join(shown[1:])})" if shown[1:] else "")


if __name__ == "__main__":
    sys.exit(main())
