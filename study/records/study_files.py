"""The files in the folder of a study, and the format that they are written in.

`FORMAT` is the number of the format that is written; 5 is the first that was released and stays
readable. A file or line has every key of its dataclass and no other, so a study of an unknown
format is refused in one sentence and never half understood.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from study.common.command import typed
from study.common.errors import UserError
from study.common.text import printable_texts

STUDY_FILE = "study.json"
TRIALS_FILE = "trials.jsonl"
DAMAGED_FILE = "trials.damaged.jsonl"
PREDICTED_FILE = "predicted.jsonl"
PREDICTIONS_FILE = "best/predictions.json"
WINNER_FILE = "best/winner.keras"
MISTAKES_FOLDER = "best/mistakes"
FORMAT = 5  # 0 to 4 were written before the first release
# What a damaged line raises while it is read.
DAMAGE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)

T = TypeVar("T")


def parsed(text: bytes) -> Any:
    """Return strict JSON in UTF-8 with every text in it printable: they are shown as they are.

    Raises:
        ValueError: it is something else, such as NaN.
    """

    def refused(constant: str) -> Any:
        raise ValueError(f"{constant} is no number")

    value = json.loads(text.decode(), parse_constant=refused)
    plain = text.isascii() and b"\\" not in text and b"\x7f" not in text
    return value if plain else printable_texts(value)  # in JSON controls are escapes, but DEL


def without_format(table: Any, place: str, *, absent: int | None = None) -> dict[str, Any]:
    """Return the other keys of a parsed file or line, if its format is the one of this version.

    `place` names it in an error; `absent` is the format of a table that gives none.

    Raises:
        UserError: another version wrote it.
        ValueError: it is not a table, or its format is not a number.
    """
    if not isinstance(table, dict):
        raise ValueError("not a table of named values")
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
    """Return a table as the dataclass `kind`: all of its fields, each of its declared type.

    Raises:
        ValueError: it does not fit; the message names the key.
    """
    names: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if unknown := sorted(table.keys() - names.keys()):
        raise ValueError(f"unknown key {unknown[0]!r}")
    need(table, names)
    return msgspec.convert(table, kind)


def need(table: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Refuse a table without one of these keys with a ValueError that names it."""
    if missing := [key for key in keys if key not in table]:
        raise ValueError(f"key {missing[0]!r} is missing")


def damaged(path: Path, error: Exception) -> UserError:
    """Return the error for a damaged file of a study."""
    return UserError(
        f"{path} is damaged ({error}); restore it, or start again from scratch with "
        f"`{typed('search', '--overwrite')}`"
    )
