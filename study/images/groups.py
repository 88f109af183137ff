"""Whom or what an image is about, by the place and the name of its file: a subject, a burst."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from study.common.errors import UserError
from study.common.text import first_few, printable
from study.images.listing import Listed

SUBFOLDER = "subfolder"  # the way of grouping that asks for no pattern


def named_by(group: str | None, pattern: str | None) -> "re.Pattern[str] | None":
    """The pattern that groups by file name; None where nothing or the folder does.

    Raises:
        UserError: both are given, or it is no regular expression.
    """
    if pattern is None:
        return None
    if group is not None:
        raise UserError("`group` and `group_pattern` are two ways to say the same: give one")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"`group_pattern` {pattern} is no regular expression ({error}): give one such as "
            r"'subject(\d+)', whose brackets match what names the group"
        ) from None


def groups_of_subfolders(files: Sequence[Listed], root: Path) -> list[str]:
    """The first folder below the class folder of each file; "" for a file directly in it.

    Raises:
        UserError: no class folder has subfolders.
    """
    names = []
    for one in files:
        inside = one.path.relative_to(root).parts[bool(one.part) :]
        names.append(inside[1] if len(inside) > 2 else "")
    if not any(names):
        raise UserError(
            f"`group` subfolder: no class folder in {printable(root)} has folders inside: give "
            "`group_pattern`, or a table with a column group"
        )
    return names


def groups_of_names(files: Sequence[Listed], root: Path, pattern: "re.Pattern[str]") -> list[str]:
    """What the brackets of `pattern` (without brackets: all of it) find in each file's place.

    The place is that below `root`, folders included, with slashes; "" where nothing is found.

    Raises:
        UserError: nothing is found anywhere.
    """
    names = []
    for one in files:
        found = pattern.search(one.path.relative_to(root).as_posix())
        parts = (found.groups() or (found[0],)) if found else ()
        names.append("/".join(part for part in parts if part))
    if files and not any(names):
        first = printable(files[0].path.relative_to(root).as_posix())
        raise UserError(
            f"`group_pattern` {pattern.pattern} matches no file, the first is {first}: it must "
            "find what names the group in that text"
        )
    return names


def groups_in_words(files: Sequence[Listed], names: Sequence[str]) -> list[str]:
    """What the groups are, in a line or two."""
    sizes = Counter(name for name in names if name)
    if not sizes:
        return []
    largest, most = max(sizes.items(), key=lambda item: item[1])
    labels: dict[str, set[str]] = {}
    for one, name in zip(files, names, strict=True):
        labels.setdefault(name, set()).add(one.label)
    across = sum(len(labels[name]) > 1 for name in sizes)
    lines = [
        f"groups: {len(sizes):,} of {sum(sizes.values()):,} images, none stands on both sides of a "
        f"split; the largest, {printable(largest)}, has {most:,}"
        + (f"; {across:,} have images of several classes" if across else "")
    ]
    alone = [one.path for one, name in zip(files, names, strict=True) if not name]
    if alone:
        lines.append(f"in no group, each on its own: {first_few(map(printable, alone))}")
    return lines
