"""What a study is of: images, which a frozen base turns into rows, or rows as they are.

Everything that differs between the two is said here; the rest of the search knows examples, rows
and heads.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from study.data.examples import Examples
from study.records.predictions import Predictions


class Subject(Protocol):
    """Labelled examples, and how they become rows of numbers."""

    @property
    def examples(self) -> Examples:
        """All of them, checked."""

    @property
    def heading(self) -> list[str]:
        """What they are, and how many, in two lines."""

    @property
    def remarks(self) -> list[str]:
        """How they were understood, what was left out or is doubtful, line by line."""

    @property
    def device(self) -> Mapping[str, str]:
        """Kind and name, and the dtype in which a base computes."""

    @property
    def weights(self) -> Mapping[str, str]:
        """Source and digest of those of a base; empty without one."""

    @property
    def base(self) -> str:
        """The base and its weights in words, to be printed behind the device; empty without."""

    @property
    def n_features(self) -> int:
        """Numbers of a row."""

    def facts(self) -> dict[str, Any]:
        """What `StudyMeta.data` says of them, besides the splits."""

    def features(self, views: np.ndarray | None = None) -> np.ndarray:
        """The rows, (N, n_features) float32; says what had to be computed.

        Args:
            views: (N, n_views) the rows that each example's views get, see `view_rows`; the first
                is its own. None: there are no others.
        """

    def samples(self, rows: np.ndarray, *, seed: int) -> bytes | None:
        """A picture of some of the examples `rows`, PNG; None where there is nothing to see."""

    def name_of(self, row: int) -> str:
        """What a table of predictions calls an example."""

    def whole(self, head: keras.Model) -> keras.Model:
        """A head as the model to take away: from what a user has to probabilities."""

    def show_mistakes(self, study: Path, train: np.ndarray, table: Predictions) -> None:
        """Keep pictures of what the winner names wrongly, if there can be any.

        Args:
            study: folder of the study.
            train: rows that the winner was trained on.
            table: what it says of others, by `name_of`.
        """
