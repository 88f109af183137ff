"""Names, numbers and lists as they are printed: on one line, safe, short. No matplotlib here."""

import csv
import difflib
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from study.common.aliases import Value

T = TypeVar("T")
MISLEADING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, direction, invisible, raw bytes, line ends
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets compute a text that starts with one
NAMED = 5  # things in one sentence, where nothing else is said
JOINERS = "\u200c\u200d"  # of letters in Persian and Hindi, and of emoji


def plain(name: str, limit: int = 24) -> str:
    """Return `name` printable and shortened in the middle."""
    safe = printable(name)
    tail = limit // 3  # long names often differ at the end
    return safe if len(safe) <= limit else f"{safe[: limit - tail - 1]}…{safe[-tail:]}"


def printable(name: str | Path) -> str:
    """Return `name` on one line, with escapes for what moves the cursor, reverses or hides text.

    Every text from outside goes through here before it is shown: errors in `UserError`, what is
    read from the files of a study and what is written there in `printable_texts`.
    """
    text = str(name)
    if text.isprintable():  # thousands of names are, and each letter's category takes time
        return text
    return "".join(
        ascii(one)[1:-1] if unicodedata.category(one) in MISLEADING and one not in JOINERS else one
        for one in text
    )


def printable_texts(value: T) -> T:
    """Return a value of JSON with every text in it printable, at any depth."""
    found: Any = value
    if isinstance(value, str):
        found = printable(value)
    elif isinstance(value, Mapping):
        found = {printable_texts(key): printable_texts(inner) for key, inner in value.items()}
    elif isinstance(value, list | tuple) and not set(map(type, value)) <= {int, float}:
        found = [printable_texts(inner) for inner in value]
    return found  # type: ignore[no-any-return]


def first_few(names: Iterable[str | Path], most: int = NAMED, *, between: str = ", ") -> str:
    """Return the first `most` names, printable, and how many more: "a, b and 3 more"."""
    shown = [printable(name) for name in names]
    last = " and" if between == ", " else f"{between}and"
    more = f"{last} {len(shown) - most} more" if len(shown) > most else ""
    return between.join(shown[:most]) + more


def near(given: object, known: Iterable[str]) -> str:
    """Return " (did you mean Adam?)" for a name that is close to one of these, else "".

    Close are also names of which one contains the other, and initials: lr is learning_rate.
    """
    if not isinstance(given, str):
        return ""
    word = given[:60].lower()

    def closeness(name: str) -> float:
        letters = name.lower()
        shorter, longer = sorted((word, letters), key=len)
        inside = len(shorter) > 3 and shorter in longer
        initials = word == "".join(part[:1] for part in letters.split("_")) and len(word) > 1
        ratio = difflib.SequenceMatcher(None, letters, word).ratio()
        return ratio + 0.1 * inside + initials

    best = max(known, key=closeness, default="")
    return f" (did you mean {best}?)" if closeness(best) >= 0.6 else ""


def label_width(names: Iterable[str], size: float = 9) -> float:
    """Return the width of the longest name in inches; wide letters (CJK) count double."""
    widths = (
        sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name) for name in names
    )
    return max(widths, default=0) * size * 0.0083  # a letter is about 0.6 em wide


def join(names: Sequence[str], word: str = "and", *, most: int | None = None) -> str:
    """Return "a", "a and b" or "a, b and c"; of more than `most` the first few."""
    if most and len(names) > most:
        return first_few(names, most)
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def some(names: Sequence[str], noun: str, most: int = 4) -> str:
    """Return the names, or only how many they are: "12 optimizers"."""
    return join(names) if len(names) <= most else counted(len(names), noun)


def counted(number: float, noun: str) -> str:
    """Return "1 repeat", "1,200 repeats", "0.5 points", "12 searches"."""
    count = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    plural = "es" if noun.endswith("search") else "s"
    return f"{count} {noun}{'' if number == 1 else plural}"


def points(value: float, sign: str = "") -> str:
    """Return a fraction in percent, or a difference in percentage points: "3.1".

    Halves go away from 0, even if a sum left them a last digit too low: 89.25 is 89.3 everywhere.
    """
    return f"{100 * value + math.copysign(1e-9, value):{sign}z.1f}"


def at_most(value: float) -> str:
    """Return an upper bound in points, rounded up: what is shown is never too small."""
    return points(math.ceil(1000 * value - 1e-6) / 1000)


def at_least(value: float) -> str:
    """Return a lower bound in points, rounded down."""
    return points(math.floor(1000 * value + 1e-6) / 1000)


def points_signed(value: float) -> str:
    """Return the same with its sign, "+3.1" or "-0.4"."""
    return points(value, "+")


def number(value: Value, digits: int = 4) -> str:
    """Return a hyperparameter as text, a float with this many significant digits.

    Of a float just below 1, such as beta_2, these are the digits of its distance to 1.
    """
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    if 0.99 < value < 1:
        digits -= 1 + math.floor(math.log10(1 - value))
    return f"{value:.{digits}g}"


def as_text(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]#|<>$~])", r"\\\1", plain(text, 2000))


def as_csv(head: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the columns `head` of the rows as CSV; empty for None and NaN.

    A text that a spreadsheet would compute gets an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(_cell, head))
    writer.writerows([_cell(row.get(key)) for key in head] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{printable(value)}" if value.startswith(FORMULA) else printable(value)
    return "" if value is None or value != value else value  # NaN is not itself
