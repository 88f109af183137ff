"""What a study is about: images, which a frozen base turns into rows, or rows as they are.

All differences between the two are behind `Subject`; the rest of the search knows only examples,
rows and heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from jaxtyping import Float32, Int32

from study.data.examples import Examples
from study.records.predictions import Predictions


class Subject(ABC):
    """Labelled examples and their rows of numbers; the defaults suit rows without a base."""

    examples: Examples  # checked
    heading: list[str]  # two lines: the number of examples, and the classes
    remarks: list[str]  # lines about how data were read, what was left out, what is doubtful

    @property
    @abstractmethod
    def device(self) -> Mapping[str, str]:
        """Kind and name of the device, and the dtype in which a base computes."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Length of a row."""

    @property
    def weights(self) -> Mapping[str, str]:
        """Source and digest of the weights of the base; empty without a base."""
        return {}

    @property
    def base(self) -> str:
        """The base and its weights in words, to be printed after the device; "" without a base."""
        return ""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return the facts for `StudyMeta.data`, except those about the splits."""

    @abstractmethod
    def features(self, views: Int32[np.ndarray, "N V"] | None = None) -> Float32[np.ndarray, "R d"]:
        """Return the rows; print what had to be computed. For `views` see `view_rows`."""

    def time_words(self, views: Int32[np.ndarray, "N V"] | None = None) -> str:
        """Return how long `features` takes; "" where nothing is computed."""
        return ""

    def samples(self, rows: Int32[np.ndarray, " n"], *, seed: int) -> bytes | None:
        """Draw some of the examples `rows` as a PNG; return None if they cannot be drawn."""
        return None

    def whole(self, head: keras.Model) -> keras.Model:
        """Return the model to export, from the user's input to probabilities."""
        return head

    def show_mistakes(  # noqa: B027 rows have no pictures
        self, study: Path, train: Int32[np.ndarray, " n"], table: Predictions
    ) -> None:
        """Write pictures of mistakes in `table`, by the winner that was trained on `train`."""
