"""What a study may rely on: the images of a folder, checked."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from study.data.examples import Examples
from study.data.files.class_folders import Problem
from study.data.pixels.decoding import THUMBNAIL_BYTES, StoredAs
from study.data.pixels.deep_grey import GreyRange, Scales, depth, feature_key

DARK = 15  # of 255: what 12 bits reach in a file of 16


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
    scales: Scales = field(default_factory=dict)  # the white points of its deep grey
    greys: Mapping[int, GreyRange] = field(default_factory=dict)  # row of deep grey -> its ends
    headers: tuple[StoredAs, ...] = ()  # N: how each is stored
    thumbnails: np.ndarray = field(  # (N, 320) uint8: each image made small, see `thumbnail`
        default_factory=lambda: np.empty((0, THUMBNAIL_BYTES), np.uint8)
    )

    @cached_property
    def feature_keys(self) -> tuple[str, ...]:
        """N digests of what the features of an image depend on."""
        return tuple(
            feature_key(digest, self.greys.get(row), self.scales)
            for row, digest in enumerate(self.digests)
        )

    @property
    def dark(self) -> tuple[Path, ...]:
        """Images of more than one shade in which no part is brighter than `DARK`."""
        found = np.flatnonzero(self.thumbnails.max(axis=1, initial=0) <= DARK)
        flat = set(self.flat)
        return tuple(self.paths[row] for row in found if self.paths[row] not in flat)

    @property
    def same_pixels(self) -> int:
        """How many images show the pixels of another one and differ from it in their bytes."""
        return len(set(self.digests)) - len(set(self.seen))

    @property
    def depths(self) -> list[str]:
        """N: the range of values of deep grey, "" of 8 bits."""
        return [
            depth(self.greys[row]) if row in self.greys else "" for row in range(len(self.digests))
        ]

    @property
    def deep_kinds(self) -> Mapping[str, int]:
        """How many images are deep grey of whole numbers, of floats."""
        return Counter(image.kind for image in self.greys.values())
