"""What a study may rely on: the images of a folder, checked."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.text import printable
from study.images.folders import Problem


class ImageSet(NamedTuple):
    """The images of a study: N rows in C classes."""

    root: Path  # the folder of class folders, or of parts
    paths: tuple[Path, ...]  # N decodable images, sorted by part, class, name
    labels: np.ndarray  # (N,) int32
    class_names: tuple[str, ...]  # C, in the order of their folders; printable
    digests: tuple[str, ...]  # N sha256 of the files' bytes, hex
    problems: tuple[Problem, ...]  # files that were left out
    duplicates: tuple[tuple[Path, ...], ...]  # groups of equal content in different classes
    ignored: int  # files that are no images
    flat: tuple[Path, ...] = ()  # images of one colour
    parts: tuple[str, ...] = ()  # N of a divided folder: "train", "validation" or "test"
    notes: tuple[str, ...] = ()  # how the folder was understood, in words

    def of_part(self, part: str) -> np.ndarray:
        """The rows of a part of a divided folder, int32."""
        rows = [row for row, its in enumerate(self.parts) if its == part]
        return np.array(rows, dtype=np.int32)

    @property
    def folders(self) -> dict[str, str]:
        """Part -> its folder's name; empty where the folder is not divided."""
        first = {part: self.paths[self.parts.index(part)] for part in dict.fromkeys(self.parts)}
        return {p: printable(path.relative_to(self.root).parts[0]) for p, path in first.items()}

    def missing_in(self, part: str) -> list[str]:
        """Names of the classes that have nothing in a part which the folder has."""
        present = set(self.labels[self.of_part(part)].tolist())
        names = enumerate(self.class_names)
        return [name for label, name in names if part in self.parts and label not in present]

    def without_test(self) -> list[str]:
        """A sentence where a class has no image in the test folder."""
        missing = self.missing_in("test")
        names = ", ".join(missing)
        return [f"the test folder has no image of {names}"] if missing else []

    def only(self, rows: np.ndarray) -> "ImageSet":
        """The images `rows`, undivided."""
        return self._replace(
            paths=tuple(self.paths[row] for row in rows),
            labels=self.labels[rows],
            digests=tuple(self.digests[row] for row in rows),
            parts=(),
        )

    @property
    def fingerprint(self) -> str:
        """Sha256 over class names, labels, contents and parts: equal for equal data anywhere."""
        content = [self.class_names, self.labels.tolist(), self.digests]
        content += [self.parts] if self.parts else []
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
