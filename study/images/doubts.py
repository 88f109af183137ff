"""What is doubtful in an `ImageSet`, in a few lines however many files it concerns."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from study.common.text import printable
from study.images.folders import Problem
from study.images.image_set import ImageSet

NAMED = 5  # of a kind; the rest is a number


def doubts(images: ImageSet) -> list[str]:
    """Lines to print: what was left out by reason, copies across classes, flat pictures."""
    lines = [f"left out: {text}" for text in _by_reason(images.problems)]
    several = "the same content in several classes"
    lines += [f"{several}: {some(group)}" for group in images.duplicates[:NAMED]]
    if images.duplicates:
        rest = len(images.duplicates) - NAMED
        more = f"{rest} more such group{'' if rest == 1 else 's'}; " if rest > 0 else ""
        lines.append(
            f"{several}: {more}{sum(map(len, images.duplicates))} images in all, which a "
            "stratified split trains on and never judges"
        )
    if images.flat:
        number = "1 image is" if len(images.flat) == 1 else f"{len(images.flat)} images are"
        lines.append(f"{number} one flat colour: {some(images.flat)}")
    return lines


def some(paths: Iterable[Path]) -> str:
    """The first few, and how many more."""
    names = [printable(path) for path in paths]
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _by_reason(problems: Iterable[Problem]) -> list[str]:
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[problem.reason].append(problem)
    lines = []
    for reason, group in groups.items():
        lines += [str(problem) for problem in group[:NAMED]]
        rest = len(group) - NAMED
        lines += [f"{'one' if rest == 1 else f'each of {rest}'} more {reason}"] if rest > 0 else []
    return lines
