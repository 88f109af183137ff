"""The winner's mistakes with pictures: written into `best/` by the search, read by the report.

A picture is a pair: the held-out image that was named wrongly, and beside it a training image of
the class it was taken for. Only a few are kept, so the report needs neither images nor TensorFlow.
"""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from study.common.errors import UserError
from study.common.files import write_atomically
from study.images.decoding import decode

FOLDER = "best/mistakes"
MOST = 12
SIDE = 96  # pixels of one image


def worst(table: Mapping[str, Any]) -> list[int]:
    """Places of up to `MOST` mistakes in a table of predictions: frequent pairs, then sure ones.

    A pair of classes shows its two surest mistakes before the next frequent pair has its turn:
    twelve times the same confusion would say less.
    """
    pairs = list(zip(table["labels"], table["predictions"], strict=True))
    wrong = [place for place, (label, said) in enumerate(pairs) if label != said]
    often = Counter(pairs[place] for place in wrong)
    wrong.sort(key=lambda place: -table["confidence"][place])
    seen: Counter[tuple[int, int]] = Counter()
    turn = {}
    for place in wrong:
        turn[place] = (seen[pairs[place]] // 2, -often[pairs[place]], pairs[place])
        seen[pairs[place]] += 1
    return sorted(wrong, key=lambda place: turn[place])[:MOST]


def write_mistakes(
    study: Path, table: Mapping[str, Any], paths: Sequence[Path], examples: Mapping[int, Path]
) -> None:
    """Write a PNG for each of the worst mistakes; those of an earlier winner are removed.

    Args:
        study: folder of the study.
        table: the winner's `labels`, `predictions` and `confidence`.
        paths: of the images the table is about.
        examples: class -> a training image of it.
    """
    folder = study / FOLDER
    for old in folder.glob("*.png"):
        old.unlink()
    for number, place in enumerate(worst(table)):
        try:
            shown = decode(paths[place], SIDE)
            example = decode(examples[table["predictions"][place]], SIDE)
        except (UserError, KeyError):  # an image lost meanwhile costs its picture only
            continue
        buffer = io.BytesIO()
        Image.fromarray(np.hstack([shown, example])).save(buffer, format="PNG")
        write_atomically(folder / f"{number:02d}.png", buffer.getvalue())
