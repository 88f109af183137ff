"""What an option of the search may be, and how it is read: the words of its declaration."""

import math
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from study.machines.connection import ADDRESS_RULE, cluster_address
from study.verdicts.looks import AUTO

# Nothing; what its looks allow; longer searches; anything; words for what is compared by itself.
Continued = Literal["same", "looks", "longer", "free", "space", "weights"]


class Option(NamedTuple):
    """What one option accepts; `fields(Options)` hold it as metadata."""

    read: Callable[[str], Any] | None  # None: a switch, off unless given
    rule: str
    default: Any
    group: str  # of the help
    help: str
    choices: tuple[str, ...] = ()
    faces: Any = None  # default for the built-in faces, where it is another
    in_space: bool = True  # may stand in a search space's [study] table
    decides: bool = True  # a study's result or its length
    continued: Continued = "same"  # what a study that is continued may change
    many: bool = False  # may be given several times
    only_for: Literal["images", "rows"] | None = None  # without effect on a study of the other


Rule = tuple[Callable[[str], Any], str]


def whole(low: int, high: int) -> Rule:
    """A whole number of this range."""

    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return read, f"a whole number, at least {low} and at most {high:,}"


def part(low_allowed: bool) -> Rule:
    """A part of the images."""

    def read(text: str) -> float:
        value = float(text)
        if not (0 <= value < 1) or (value == 0 and not low_allowed):
            raise ValueError
        return value

    return read, f"a part of the images, {'0' if low_allowed else 'above 0'} to below 1"


def minutes(text: str) -> float:
    """Minutes, above 0."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise ValueError
    return value


def repeats(text: str) -> int | str:
    """The word "auto", or a fixed number."""
    return AUTO if text == AUTO else whole(1, 10_000)[0](text)


def text_of(text: str) -> str:
    """Any text but an empty one."""
    if not text.strip():
        raise ValueError
    return text


def path(text: str) -> Path:
    """A place of files."""
    return Path(text_of(text))


def study_name(text: str) -> str:
    """A name that is a folder's, on every system."""
    if text.startswith((".", "-")) or not all(map(in_name, text)) or len(text.encode()) > 100:
        raise ValueError
    return text_of(text)


def in_name(character: str) -> bool:
    """Whether a study's name may have it."""
    return character.isalnum() or character in "-_."


CLUSTER = (cluster_address, ADDRESS_RULE)
TEXT, PATH = (text_of, "a text"), (path, "a text")
NAME = (study_name, "letters, digits, - _ and . (at most 100 bytes, not . or - first)")


def option(rule: Rule, default: Any, group: str, text: str, **more: Any) -> Any:
    """A field of `Options`."""
    return field(metadata={"option": Option(*rule, default, group, text, **more)})


def switch(group: str, text: str, **more: Any) -> Any:
    """A field of `Options` that is on where its flag is given."""
    own = Option(None, "True or False", False, group, text, in_space=False, decides=False, **more)
    return field(metadata={"option": own})
