"""What lies where in the folder of a study, and the format that its files are written in.

Format 4 is this version's. Format 3 knew no metric but accuracy; a study of accuracy is still
written in it, the same to the last letter, so older versions read it. Format 2 knew one set of
versions and only Keras's optimizers, format 1 no looks and no halves. Files without a `format` are
format 0, the first version's. All are read, and a study of that time is continued as it began.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from study.common.command import typed
from study.common.errors import UserError
from study.common.metrics import ACCURACY

STUDY_FILE = "study.json"
TRIALS_FILE = "trials.jsonl"
DAMAGED_FILE = "trials.damaged.jsonl"
PREDICTIONS_FILE = "best/predictions.json"
WINNER_FILE = "best/winner.keras"
MISTAKES_FOLDER = "best/mistakes"
FORMAT = 4

T = TypeVar("T")


def format_of(table: Any, place: str) -> int:
    """The format of a whole file or line.

    Raises:
        UserError: a newer version wrote it.
        ValueError: it is no table, or its format is no number.
    """
    if not isinstance(table, dict):
        raise ValueError("no table of named values")
    found = table.get("format", 0)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"format is {found!r}, but has to be a whole number")
    if found > FORMAT:
        raise UserError(
            f"{place} has format {found}, and this version of optimizer-study reads formats 0 to "
            f"{FORMAT}: install a newer version"
        )
    return found


def written_format(metric: str) -> int:
    """The oldest format that holds a study of this metric."""
    return 3 if metric == ACCURACY else FORMAT


def checked(table: Mapping[str, Any], kind: type[T]) -> T:
    """A table as the dataclass `kind`, each value of the type that its field declares.

    Raises:
        ValueError: the sentence names the key.
    """
    names: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if unknown := sorted(table.keys() - names.keys()):
        raise ValueError(f"unknown key {unknown[0]!r}")
    return msgspec.convert(table, kind)


def damaged(path: Path, error: Exception) -> UserError:
    """The sentence for a file of a study that cannot be understood."""
    return UserError(
        f"{path} is damaged ({error}); restore it, or begin anew with "
        f"`{typed('search', '--overwrite')}`"
    )
