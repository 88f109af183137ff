"""What a study may rely on: the images of a folder, checked."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.images.folders import Problem


class ImageSet(NamedTuple):
    """The images of a study: N rows in C classes."""

    root: Path  # the folder of class folders
    paths: tuple[Path, ...]  # N decodable images, sorted by class, then name
    labels: np.ndarray  # (N,) int32
    class_names: tuple[str, ...]  # C, in the order of their folders; printable
    digests: tuple[str, ...]  # N sha256 of the files' bytes, hex
    problems: tuple[Problem, ...]  # files that were left out
    duplicates: tuple[tuple[Path, ...], ...]  # groups of equal content in different classes
    ignored: int  # files that are no images
    flat: tuple[Path, ...] = ()  # images of one colour

    @property
    def fingerprint(self) -> str:
        """Sha256 over class names, labels and contents: equal for equal data in any place."""
        content = json.dumps([self.class_names, self.labels.tolist(), self.digests])
        return hashlib.sha256(content.encode()).hexdigest()
