"""What a study may rely on: the images of a folder, checked."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from study.images.decoding import LOOK_BYTES, Header
from study.images.examples import Examples
from study.images.folders import Problem


@dataclass(frozen=True, kw_only=True)
class ImageSet(Examples):
    """The images of a study: N rows, sorted by part, class, name."""

    root: Path  # the folder of class folders, or of parts
    paths: tuple[Path, ...]  # N decodable images
    problems: tuple[Problem, ...] = ()  # files that were left out
    duplicates: tuple[tuple[Path, ...], ...] = ()  # groups of equal content in different classes
    ignored: int = 0  # files that are no images
    subfolders: tuple[str, ...] = ()  # N: the first folder below the class's; "" for none
    flat: tuple[Path, ...] = ()  # images of one colour
    headers: tuple[Header, ...] = ()  # N: how each is stored
    looks: np.ndarray = field(  # (N, 320) uint8: each image made small, see `decoding.Looked`
        default_factory=lambda: np.empty((0, LOOK_BYTES), np.uint8)
    )
