"""Groups of images by the path of their files: a subject, a burst."""

import re
import signal
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from types import FrameType

from study.common.errors import UserError
from study.common.text import counted
from study.data.examples import Examples
from study.data.image_set import ImageSet

SECONDS = 1.0  # for one path
SUBFOLDER = "subfolder"  # the way of grouping that needs no pattern


def compiled(group: str | None, pattern: str | None) -> "re.Pattern[str] | None":
    """Return the pattern that groups by file name; None if nothing or the folder does.

    Raises:
        UserError: both are given, or the pattern is not a regular expression.
    """
    if pattern is None:
        return None
    if group is not None:
        raise UserError("`group` and `group_pattern` are two ways to set the groups: give only one")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"`group_pattern` {pattern} is not a regular expression ({error}): give one such as "
            r"'subject(\d+)', with brackets around what names the group"
        ) from None


def groups_of_subfolders(images: ImageSet) -> tuple[str, ...]:
    """Return the first folder below the class folder of each image; "" for none.

    Raises:
        UserError: no class folder has folders inside.
    """
    if not any(images.subfolders):
        raise UserError(
            f"`group` subfolder: no class folder in {images.root} has folders inside: "
            "give `group_pattern`, or a table with a column group"
        )
    return images.subfolders


def groups_of_names(images: ImageSet, pattern: "re.Pattern[str]") -> tuple[str, ...]:
    """Return what the brackets of `pattern` (without brackets: all of it) match in each path.

    The path is that below `root`, with slashes; "" where nothing matches.

    Raises:
        UserError: nothing matches in any path.
    """
    paths = [path.relative_to(images.root).as_posix() for path in images.paths]
    matches = _searched(pattern, paths)
    pieces = [(match.groups() or (match[0],)) if match else () for match in matches]
    names = tuple("/".join(filter(None, found)) for found in pieces)
    if not any(names):
        raise UserError(
            f"`group_pattern` {pattern.pattern} matches no path of an image, such as "
            f"{paths[0]}: give one that matches what names the group there"
        )
    return names


def _searched(pattern: "re.Pattern[str]", paths: Sequence[str]) -> list["re.Match[str] | None"]:
    """Search each path, with a limit in the main thread: an expression may take years."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        return list(map(pattern.search, paths))  # without signals nothing ends it
    found: list[re.Match[str] | None] = []

    def give_up(number: int, frame: FrameType | None) -> None:
        raise UserError(
            f"`group_pattern` {pattern.pattern} takes longer than {SECONDS:g} s for "
            f"{paths[len(found)]}: give one without a repetition inside a repetition"
        )

    before = signal.signal(signal.SIGALRM, give_up)
    try:
        for path in paths:
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            found.append(pattern.search(path))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return found


def groups_in_words(examples: Examples) -> list[str]:
    """Return a line or two about the groups; nothing if there are none."""
    sizes = Counter(name for name in examples.groups if name)
    if not sizes:
        return []
    noun, (largest, most) = examples.noun, sizes.most_common(1)[0]
    labels: dict[str, set[int]] = defaultdict(set)
    for name, label in zip(examples.groups, examples.labels.tolist(), strict=True):
        labels[name].add(label)
    across = sum(len(labels[name]) > 1 for name in sizes)
    lines = [
        f"groups: {len(sizes):,}, with {sum(sizes.values()):,} {noun}s in all, each on one side of "
        f"every stratified split; the largest, {largest}, has {most:,}"
        + (f"; {counted(across, 'group')} with {noun}s of several classes" if across else "")
    ]
    if alone := len(examples.groups) - sum(sizes.values()):
        lines.append(f"in no group, each on its own: {counted(alone, noun)}")
    return lines
