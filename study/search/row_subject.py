"""Rows from any model as the subject of a study: a head turns these numbers into probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32
from platformdirs import user_cache_path

from study.data.overview import classes_line
from study.data.rows.load_rows import RowSet, load_rows
from study.machines.machines import Machines
from study.search.options import Options
from study.search.subject import Subject


class RowSubject(Subject):
    """A `.npz` file of rows."""

    examples: RowSet

    def __init__(self, features: str, options: Options, machines: Machines) -> None:
        """Read the file; for errors see `load_rows`."""
        folder = options.cache_dir or user_cache_path("optimizer-study")
        self.examples = load_rows(features, folder=folder if folder.is_dir() else None)
        self._machines = machines
        rows = self.examples
        name, classes = rows.source.name, len(rows.class_names)
        count = f"rows: {len(rows.rows):,} of {name}, {self.n_features:,} numbers each, in "
        self.heading = [f"{count}{classes} classes", classes_line(rows)]
        self.remarks = [*rows.notes, *rows.doubts()]

    @property
    def n_features(self) -> int:
        """Length of a row."""
        return int(self.examples.rows.shape[1])

    @property
    def device(self) -> Mapping[str, str]:
        """Kind and name of the device; it always trains heads in float32."""
        device = self._machines.device
        return {"kind": device.kind, "name": device.name}

    def facts(self) -> dict[str, Any]:
        """Return the facts for `StudyMeta.data`, except those about the splits."""
        rows = self.examples
        groups = rows.in_several_classes()
        return {
            "file": rows.source.name,
            "rows": len(rows.rows),
            "features": self.n_features,
            "in_several_classes": [[rows.name_of(row) for row in group] for group in groups],
            "doubts": rows.oddities(),
            "constant": list(rows.constant),
        }

    def features(self, views: Int32[np.ndarray, "N V"] | None = None) -> Float32[np.ndarray, "N d"]:
        """Return the rows as read; numbers have no views."""
        return self.examples.rows
