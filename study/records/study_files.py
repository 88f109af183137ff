"""What lies where in the folder of a study, and the format that its files are written in.

There is one format, and `FORMAT` is its number. A file or line has every key that its dataclass has
and no other, so a study of another version is refused in one sentence and never half understood.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from study.common.command import typed
from study.common.errors import UserError

STUDY_FILE = "study.json"
TRIALS_FILE = "trials.jsonl"
DAMAGED_FILE = "trials.damaged.jsonl"
PREDICTIONS_FILE = "best/predictions.json"
WINNER_FILE = "best/winner.keras"
MISTAKES_FOLDER = "best/mistakes"
FORMAT = 5  # those of 0 to 4 were written before the first release

T = TypeVar("T")


def without_format(table: Any, place: str, *, absent: int | None = None) -> dict[str, Any]:
    """What a whole file or line says beside its format, if this version reads that.

    Args:
        table: as it was parsed.
        place: names it in a sentence.
        absent: the format of a table without a word of it.

    Raises:
        UserError: another version wrote it.
        ValueError: it is no table, or its format is no number.
    """
    if not isinstance(table, dict):
        raise ValueError("no table of named values")
    found = table.get("format", absent)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise ValueError(f"format is {found!r}, but has to be a whole number")
    if found < FORMAT:
        raise UserError(
            f"{place} was made before the first release of optimizer-study: run its search again, "
            f"under another name or with `{typed('search', '--overwrite')}`"
        )
    if found > FORMAT:
        raise UserError(
            f"{place} has format {found}, and this version of optimizer-study reads format "
            f"{FORMAT}: install a newer version"
        )
    return {key: value for key, value in table.items() if key != "format"}


def checked(table: Mapping[str, Any], kind: type[T]) -> T:
    """A table as the dataclass `kind`: all of its fields, each value of the type that it declares.

    Raises:
        ValueError: the sentence names the key.
    """
    names: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if unknown := sorted(table.keys() - names.keys()):
        raise ValueError(f"unknown key {unknown[0]!r}")
    need(table, names)
    return msgspec.convert(table, kind)


def need(table: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Let a table pass that has all of these keys.

    Raises:
        ValueError: the sentence names the first one that is missing.
    """
    if missing := [key for key in keys if key not in table]:
        raise ValueError(f"key {missing[0]!r} is missing")


def damaged(path: Path, error: Exception) -> UserError:
    """The sentence for a file of a study that cannot be understood."""
    return UserError(
        f"{path} is damaged ({error}); restore it, or begin anew with "
        f"`{typed('search', '--overwrite')}`"
    )
