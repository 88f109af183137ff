"""The images of a study, checked, with what was found in their files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from study.data.examples import Examples
from study.data.files.class_folders import Problem
from study.data.pixels.decoding import THUMBNAIL_BYTES, StoredAs
from study.data.pixels.deep_grey import GreyRange, Scales, depth, feature_key

DARK = 15  # of 255: as bright as 12 bits become in a 16-bit file


@dataclass(frozen=True, kw_only=True)
class ImageSet(Examples):
    """The images of a study: N rows, sorted by part, class, name."""

    root: Path  # the folder of class folders, or of parts
    paths: tuple[Path, ...]  # N decodable images
    problems: tuple[Problem, ...] = ()  # files that were left out
    ignored: int = 0  # number of files that are not images
    subfolders: tuple[str, ...] = ()  # N: the first folder below the class folder; "": none
    flat: tuple[Path, ...] = ()  # images of one colour
    more: Mapping[Path, str] = field(default_factory=dict)  # what of a file is not used: "3 pages"
    veiled: int = 0  # number of images whose opacity differs from pixel to pixel
    scales: Scales = field(default_factory=dict)  # white points of the set's deep grey
    greys: Mapping[int, GreyRange] = field(default_factory=dict)  # row of deep grey -> its ends
    headers: tuple[StoredAs, ...] = ()  # N: how each image is stored
    thumbnails: UInt8[np.ndarray, "_ 320"] = field(  # N, see `thumbnail`
        default_factory=lambda: np.empty((0, THUMBNAIL_BYTES), np.uint8)
    )

    def name_of(self, row: int) -> str:
        """Return the path of an image below the folder of images."""
        return str(self.paths[row].relative_to(self.root))

    @cached_property
    def feature_keys(self) -> tuple[str, ...]:
        """N digests of what the features of an image depend on."""
        return tuple(
            feature_key(digest, self.greys.get(row), self.scales)
            for row, digest in enumerate(self.digests)
        )

    @property
    def duplicates(self) -> tuple[tuple[Path, ...], ...]:
        """Groups of images with equal content in different classes."""
        return tuple(tuple(self.paths[row] for row in rows) for rows in self.in_several_classes())

    @property
    def dark(self) -> tuple[Path, ...]:
        """Images of more than one shade in which nothing is brighter than `DARK`."""
        found = np.flatnonzero(self.thumbnails.max(axis=1, initial=0) <= DARK)
        flat = set(self.flat)
        return tuple(self.paths[row] for row in found if self.paths[row] not in flat)

    @property
    def same_pixels(self) -> int:
        """Number of images that show the pixels of another one but differ in their bytes."""
        return len(set(self.digests)) - len(set(self.seen))

    @property
    def depths(self) -> list[str]:
        """N ranges of the values of deep grey; "" for 8 bits."""
        rows = range(len(self.digests))
        return [depth(self.greys[row]) if row in self.greys else "" for row in rows]

    @property
    def deep_kinds(self) -> Mapping[str, int]:
        """Number of deep grey images of each kind, whole numbers and floats."""
        return Counter(image.kind for image in self.greys.values())
