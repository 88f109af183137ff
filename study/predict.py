"""Ask the winner of a study what is on a photo.

    python -m study.predict photo.jpg             # the newest study under logs/
    python -m study.predict *.jpg --study NAME

Prints one line an image: file, class, probability, and the next likeliest classes. It loads
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
from study.records.study_meta import StudyMeta, load_meta
from study.records.trials_file import load_trials
from study.verdicts.judge import answer_of

BATCH = 32  # images at once
SHOWN = 3  # classes a line


class Prediction(NamedTuple):
    """Class names and their probabilities, the likeliest first."""

    names: tuple[str, ...]
    probabilities: tuple[float, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a mistake the user can mend, also if one image cannot be read."""
    given = parse(_parser(), argv)
    try:
        study = find_winner(given.logs, given.study)
        _refuse_rows(study)
        if sentence := outdated(study):
            print(f"warning: {sentence}", file=sys.stderr)
        scales = white_points(study)
        images, bad, strange = _readable(given.images, scales)
        for sentence in strange:
            print(f"warning: {sentence}", file=sys.stderr)
        for sentence in bad:
            print(f"error: {sentence}", file=sys.stderr)
        if images:
            for path, answer in zip(images, predict(study, images), strict=True):
                print(f"{printable(path)}: {in_words(answer)}")
    except ENDS as error:
        return complain(error, given)
    return 2 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=typed("predict"),
        description="Name the class of images with the winner of a study.",
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    add_study(parser)
    return parser


def _refuse_rows(study: Path) -> None:
    """Nobody but the user has what turns a photo into such rows."""
    data = load_meta(study).data
    if "rows" in data:
        raise UserError(
            f"study {printable(study.name)} is of rows of {data['features']} numbers "
            f"({printable(data['file'])}), so its winner takes such rows, not images: compute them "
            "as you did those, then "
            f"keras.models.load_model({str(study / WINNER_FILE)!r}).predict(rows); or give `study` "
            "one of images"
        )


def outdated(study: Path) -> str:
    """Whether `winner.keras` is another optimizer's than the one that leads by now, in words."""
    meta, found = load_meta(study), load_predictions(study)
    best = answer_of(meta, load_trials(study)).leader
    if found is None or best in ("", found.winner):
        return ""
    return (
        f"{study / WINNER_FILE} holds {found.winner}, but {best} leads by the records of this "
        "study; the same search command, run to its end, writes it anew"
    )


def white_points(study: Path) -> Scales:
    """The white points of deep grey that the study was trained with."""
    return {
        kind: Scale(float(point["black"]), float(point["white"]))
        for kind, point in load_meta(study).white_points.items()
    }


def _readable(paths: Sequence[Path], scales: Scales) -> tuple[list[Path], list[str], list[str]]:
    """The images that can be decoded, a sentence for each other one, and for each strange one."""
    good, bad, strange = [], [], []
    for path in paths:
        looked = inspect(path)
        if looked.digest:
            good.append(path)
        else:
            bad.append(f"{printable(path)}: {looked.reason or 'is no image'}")
        if looked.grey and looked.grey.kind not in scales:
            strange.append(
                f"{printable(path)} is deep grey of {looked.grey.kind}, and the study has seen no "
                "such image: its white point is a guess, save it as the study's images are"
            )
    return good, bad, strange


def predict(study: Path, images: Sequence[Path]) -> list[Prediction]:
    """What the winner of `study` says about every image.

    Raises:
        UserError: the model or an image cannot be read.
    """
    meta = load_meta(study)
    model = load_model(study / WINNER_FILE)
    size, scales = int(model.input_shape[1]), white_points(study)
    answers = []
    for start in range(0, len(images), BATCH):
        pixels = np.stack([decode(path, size, scales) for path in images[start : start + BATCH]])
        # compiled: called by itself, a base with grouped convolutions prints TensorFlow's warnings
        table = np.asarray(model.predict_on_batch(pixels.astype(np.float32)))  # (batch, classes)
        answers += [_answer(meta, row) for row in table]
    return answers


def _answer(meta: StudyMeta, row: np.ndarray) -> Prediction:
    order = np.argsort(-row, kind="stable")[:SHOWN]
    return Prediction(
        tuple(meta.class_names[place] for place in order),
        tuple(float(row[place]) for place in order),
    )


def in_words(answer: Prediction) -> str:
    """ "cat 93.1 % (then dog 4.0 %, bird 2.9 %)"."""
    parts = [
        f"{printable(name)} {100 * probability:.1f} %"
        for name, probability in zip(answer.names, answer.probabilities, strict=True)
    ]
    return parts[0] + (f" (then {', '.join(parts[1:])})" if parts[1:] else "")


if __name__ == "__main__":
    sys.exit(main())
