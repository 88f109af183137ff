"""Classify photos with the winner of a study.

    python -m study.predict photo.jpg             # the newest study under logs/
    python -m study.predict *.jpg --study NAME
    python -m study.predict FOLDER --csv FILE     # all images in and below a folder

Prints one line per image: file, class, probability, and the next likeliest classes. It loads
`best/winner.keras`, a plain Keras model from pixels to probabilities; takes a few seconds. What
cannot be read is named at the end.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from study.common.command import ENDS, MISTAKE, add_study, complain, parse, typed
from study.common.errors import UserError, warn
from study.common.files import write_atomically
from study.common.progress import progress
from study.common.tensorflow import load_model
from study.common.text import as_csv, counted, first_few, printable
from study.common.threads import in_threads
from study.data.files.foreign_folders import is_foreign
from study.data.pixels.decoding import Inspected, decode, inspect
from study.data.pixels.deep_grey import Scale, Scales
from study.records.predictions import load_predictions
from study.records.study_files import WINNER_FILE
from study.records.study_folders import find_winner
from study.records.study_meta import load_meta
from study.records.trials_file import load_records
from study.verdicts.judge import answer_of

BATCH = 32  # images predicted together; as many again are decoded meanwhile
SHOWN = 3  # classes a line
STDOUT = "-"


class Prediction(NamedTuple):
    """Class names and their probabilities, the likeliest first."""

    names: tuple[str, ...]
    probabilities: tuple[float, ...]


class Unread(NamedTuple):
    """A file that is not classified; the reason is empty for what does not claim to be an image."""

    reason: str


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 2 after a mistake, also if one image cannot be read."""
    given = parse(_parser(), argv)
    try:
        study = find_winner(given.logs, given.study)
        _refuse_rows(study)
        if sentence := outdated(study):
            warn(sentence)
        if given.csv not in (None, STDOUT):
            _check_writable(given.csv)
        unread: dict[Path, str] = {}
        files = [file for path in given.images for file in _files(path, unread)]
        _answer(study, files, given, unread)
    except ENDS as error:
        return complain(error, given)
    for path, reason in unread.items():
        print(f"error: {printable(path)}: {printable(reason)}", file=sys.stderr)
    return MISTAKE if unread else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=typed("predict"), description="Classify images with the winner of a study."
    )
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="an image, or a folder of images"
    )
    parser.add_argument("--csv", metavar="FILE", help="write a table instead of lines; - prints it")
    add_study(parser)
    return parser


def _check_writable(csv: str) -> None:
    """Refuse a file that cannot be written, before the work and not after it."""
    try:
        Path(csv).open("a").close()
    except OSError as error:
        raise UserError(f"`csv` {csv} cannot be written ({error.strerror})") from None


def _files(given: Path, unread: dict[Path, str]) -> Iterator[Path]:
    """Yield a file that was given, or all visible ones in and below a folder, folder by folder."""
    if not given.is_dir():
        yield given
        return

    def note(error: OSError) -> None:
        unread[Path(error.filename)] = f"cannot be read ({error.strerror})"

    for place, folders, names in os.walk(given, onerror=note):
        folders[:] = sorted(name for name in folders if not is_foreign(Path(place, name)))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _answer(
    study: Path, files: Sequence[Path], given: argparse.Namespace, unread: dict[Path, str]
) -> None:
    """Print or write what the winner says of each image; add the files that cannot be read."""
    answered: list[tuple[Path, Prediction]] = []
    silent = given.csv is not None or not sys.stdout.isatty()  # else the lines are the progress
    shown = progress("predict", len(files), "files") if silent and len(files) > BATCH else None
    with shown or nullcontext(lambda count: None) as advance:
        for path, answer in zip(files, predict(study, files), strict=True):
            advance(1)
            if isinstance(answer, Prediction):
                answered.append((path, answer))
                if given.csv is None:
                    print(f"{printable(path)}: {in_words(answer)}")
            elif answer.reason or path in given.images:
                unread[path] = answer.reason or "is not an image"
    if not (answered or unread):
        raise UserError(f"no image in {first_few(given.images, SHOWN)}")
    if given.csv == STDOUT:
        print(_table(answered), end="")
    elif given.csv is not None:
        write_atomically(Path(given.csv), _table(answered))
        print(f"{counted(len(answered), 'image')}: {printable(given.csv)}")


def _table(answered: Sequence[tuple[Path, Prediction]]) -> str:
    """Return CSV: path, class and probability, then the next likeliest classes with theirs."""
    likeliest = max((len(answer.names) for _, answer in answered), default=0)
    ends = ["", *(f"_{number}" for number in range(2, likeliest + 1))]
    head = ["path", *(f"{name}{end}" for end in ends for name in ("class", "probability"))]
    lines = []
    for path, (names, probabilities) in answered:
        pairs = zip(names, (f"{one:.6f}" for one in probabilities), strict=True)
        lines.append(dict(zip(head, (str(path), *chain(*pairs)), strict=True)))
    return as_csv(head, lines)


def _refuse_rows(study: Path) -> None:
    """Refuse a study of rows: only the user can turn a photo into such a row."""
    data = load_meta(study).data
    if "rows" in data:
        raise UserError(
            f"study {study.name} is of rows of {data['features']} numbers "
            f"({data['file']}), so its winner takes such rows, not images: compute rows "
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


def predict(study: Path, images: Sequence[Path]) -> Iterator[Prediction | Unread]:
    """Yield what the winner of `study` predicts for every image, in their order.

    Only a few images are in memory at a time.

    Raises:
        UserError: the model cannot be read.
    """
    names, scales = load_meta(study).class_names, white_points(study)
    model = load_model(study / WINNER_FILE)
    size = int(model.input_shape[1])
    prepared = partial(_prepared, size=size, scales=scales)
    # of one shape, so that the model is compiled once
    batch = np.zeros((min(BATCH, len(images)), size, size, 3), np.float32)
    guessed: set[str] = set()  # kinds of deep grey
    found = zip(images, in_threads(prepared, images, os.cpu_count() or 1, BATCH), strict=True)
    while some := list(islice(found, BATCH)):
        for place, (_, (_, one)) in enumerate(some):
            if one is not None:
                batch[place] = one
        # compiled: called by itself, a base with grouped convolutions prints TensorFlow's warnings
        rows = np.asarray(model.predict_on_batch(batch))
        for row, (path, (looked, one)) in zip(rows, some, strict=False):
            if looked.grey and looked.grey.kind not in scales.keys() | guessed:
                guessed.add(looked.grey.kind)
                warn(
                    f"{path} is 16/32-bit grey of {looked.grey.kind}, which the study has never "
                    "seen, so its white point is a guess: save it in the format of the study's "
                    "images"
                )
            reason = looked.reason if looked.claims else ""
            yield Unread(reason) if one is None else _likeliest(row, names)


def _prepared(
    path: Path, size: int, scales: Scales
) -> tuple[Inspected, UInt8[np.ndarray, "size size 3"] | None]:
    """Return what is in a file, and its pixels if it is an image."""
    found = inspect(path)
    try:
        return found, decode(path, size, scales) if found.digest else None
    except UserError:
        return Inspected(reason="changed while it was read"), None


def _likeliest(row: Float32[np.ndarray, " C"], names: Sequence[str]) -> Prediction:
    best = np.argsort(-row, kind="stable")[:SHOWN].tolist()
    chosen = tuple(names[label] for label in best)
    return Prediction(chosen, tuple(row[best].astype(float).tolist()))


def in_words(answer: Prediction) -> str:
    """Return "cat 93.1 % (then dog 4.0 %, bird 2.9 %)"."""
    shown = [
        f"{printable(name)} {100 * probability:.1f} %"
        for name, probability in zip(answer.names, answer.probabilities, strict=True)
    ]
    return shown[0] + (f" (then {', '.join(shown[1:])})" if shown[1:] else "")


if __name__ == "__main__":
    sys.exit(main())
