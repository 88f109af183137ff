"""Whom or what an image is about, by the place and the name of its file: a subject, a burst."""

import re
from collections import Counter, defaultdict

from study.common.errors import UserError
from study.common.text import counted, printable
from study.data.examples import Examples
from study.data.image_set import ImageSet

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


def groups_of_subfolders(images: ImageSet) -> tuple[str, ...]:
    """The first folder below the class folder of each image; "" for one directly in it.

    Raises:
        UserError: no class folder has folders inside.
    """
    if not any(images.subfolders):
        raise UserError(
            f"`group` subfolder: no class folder in {printable(images.root)} has folders inside: "
            "give `group_pattern`, or a table with a column group"
        )
    return images.subfolders


def groups_of_names(images: ImageSet, pattern: "re.Pattern[str]") -> tuple[str, ...]:
    """What the brackets of `pattern` (without brackets: all of it) find in each file's place.

    The place is that below `root`, folders included, with slashes; "" where nothing is found.

    Raises:
        UserError: nothing is found anywhere.
    """
    places = [path.relative_to(images.root).as_posix() for path in images.paths]
    names = []
    for place in places:
        found = pattern.search(place)
        parts = (found.groups() or (found[0],)) if found else ()
        names.append("/".join(part for part in parts if part))
    if not any(names):
        raise UserError(
            f"`group_pattern` {pattern.pattern} finds nothing in any file's place, the first is "
            f"{printable(places[0])}: it must find what names the group there"
        )
    return tuple(names)


def groups_in_words(examples: Examples) -> list[str]:
    """What the groups are, in a line or two; nothing where there are none."""
    sizes = Counter(name for name in examples.groups if name)
    if not sizes:
        return []
    noun, (largest, most) = examples.noun, sizes.most_common(1)[0]
    labels: dict[str, set[int]] = defaultdict(set)
    for name, label in zip(examples.groups, examples.labels.tolist(), strict=True):
        labels[name].add(label)
    across = sum(len(labels[name]) > 1 for name in sizes)
    lines = [
        f"groups: {len(sizes):,} of {sum(sizes.values()):,} {noun}s, none stands on several sides "
        f"of a stratified split; the largest, {printable(largest)}, has {most:,}"
        + (f"; {across:,} have {noun}s of several classes" if across else "")
    ]
    if alone := len(examples.groups) - sum(sizes.values()):
        lines.append(f"in no group, each on its own: {counted(alone, noun)}")
    return lines
