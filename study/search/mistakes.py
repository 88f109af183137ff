"""The winner's mistakes with pictures: written into `best/` by the search, read by the report.

A picture is a pair: the held-out image that was named wrongly, and beside it a training image of
the class it was taken for. Only a few are kept, so the report needs neither images nor TensorFlow.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from study.common.errors import UserError
from study.common.files import write_atomically
from study.images.decoding import decode
from study.images.deep_grey import Scales
from study.records.layout import MISTAKES_FOLDER
from study.records.predictions import MISTAKE_SIDE, Predictions, worst_mistakes


def write_mistakes(
    study: Path,
    table: Predictions,
    paths: Sequence[Path],
    examples: Mapping[int, Path],
    scales: Scales,
) -> None:
    """Write a PNG for each of the worst mistakes; those of an earlier winner are removed.

    Args:
        study: folder of the study.
        table: what the winner says.
        paths: of the images the table is about.
        examples: class -> a training image of it.
        scales: white points of the study's deep grey.
    """
    folder = study / MISTAKES_FOLDER
    for old in folder.glob("*.png"):
        old.unlink()
    for number, place in enumerate(worst_mistakes(table)):
        try:
            shown = decode(paths[place], MISTAKE_SIDE, scales)
            example = decode(examples[table.predictions[place]], MISTAKE_SIDE, scales)
        except (UserError, KeyError):  # an image lost meanwhile costs its picture only
            continue
        buffer = io.BytesIO()
        Image.fromarray(np.hstack([shown, example])).save(buffer, format="PNG")
        write_atomically(folder / f"{number:02d}.png", buffer.getvalue())
