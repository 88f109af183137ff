"""A study of rows that any model has computed: a head goes from these numbers to probabilities."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from platformdirs import user_cache_path

from study.common.text import printable
from study.data.overview import classes_line
from study.data.rows.load_rows import load_rows
from study.machines.machines import Machines
from study.records.predictions import Predictions
from study.search.options import Options


class RowSubject:
    """The `Subject` that is a `.npz` file."""

    def __init__(self, features: str, options: Options, machines: Machines) -> None:
        """Read the file; `machines` train.

        Raises:
            UserError: see `load_rows`.
        """
        folder = options.cache_dir or user_cache_path("optimizer-study")
        self.examples = load_rows(features, folder=folder if folder.is_dir() else None)
        self._machines = machines
        self._several = [
            [self.name_of(row) for row in rows] for rows in self.examples.in_several_classes()
        ]

    @property
    def n_features(self) -> int:
        """Numbers of a row."""
        return int(self.examples.rows.shape[1])

    @property
    def heading(self) -> list[str]:
        """What they are, and how many, in two lines."""
        rows = self.examples
        name, classes = printable(rows.source.name), len(rows.class_names)
        count = f"rows: {len(rows.rows):,} of {name}, {self.n_features:,} numbers each, in "
        return [f"{count}{classes} classes", classes_line(rows)]

    @property
    def remarks(self) -> list[str]:
        """How the file was understood, and rows in several classes."""
        return [*self.examples.notes, *self.examples.doubts()]

    @property
    def device(self) -> Mapping[str, str]:
        """Kind and name; heads are trained in float32 on every one."""
        device = self._machines.device
        return {"kind": device.kind, "name": device.name}

    weights: Mapping[str, str] = {}
    base = ""

    def facts(self) -> dict[str, Any]:
        """What `StudyMeta.data` says of them."""
        rows = self.examples
        return {
            "file": printable(rows.source.name),
            "rows": len(rows.rows),
            "features": self.n_features,
            "in_several_classes": self._several,
            "constant": list(rows.constant),
        }

    def features(self, views: np.ndarray | None = None) -> np.ndarray:
        """The rows as they were read, (N, n_features) float32; there are no views of numbers."""
        return self.examples.rows

    def samples(self, rows: np.ndarray, *, seed: int) -> None:
        """Numbers have nothing to see."""

    def name_of(self, row: int) -> str:
        """Its number in the file, from 0."""
        return f"row {row}"

    def whole(self, head: keras.Model) -> keras.Model:
        """The head itself: whatever computed the rows is not ours to give away."""
        return head

    def show_mistakes(self, study: Path, train: np.ndarray, table: Predictions) -> None:
        """There are no pictures."""
