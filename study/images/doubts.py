"""What is doubtful in an `ImageSet`, in a few lines however many files it concerns."""

from collections import defaultdict
from collections.abc import Iterable

from study.common.text import first_few
from study.images.folders import Problem
from study.images.image_set import ImageSet
from study.images.shortcuts import shortcuts

NAMED = 5  # of a kind; the rest is a number


def doubts(images: ImageSet) -> list[str]:
    """Lines to print: what was left out by reason, copies across classes, shortcuts and so on."""
    lines = [f"left out: {text}" for text in _by_reason(images.problems)]
    several = "the same content in several classes"
    lines += [f"{several}: {first_few(group, NAMED)}" for group in images.duplicates[:NAMED]]
    if images.duplicates:
        rest = len(images.duplicates) - NAMED
        more = f"{rest} more such group{'' if rest == 1 else 's'}; " if rest > 0 else ""
        lines.append(
            f"{several}: {more}{sum(map(len, images.duplicates))} images in all, which a "
            "stratified split trains on and never judges"
        )
    if images.flat:
        number = "1 image is" if len(images.flat) == 1 else f"{len(images.flat)} images are"
        lines.append(f"{number} one flat colour: {first_few(images.flat, NAMED)}")
    return [*lines, *mixed_grey(images), *shortcuts(images)]


def mixed_grey(images: ImageSet) -> list[str]:
    """A sentence where no one white point can hold for all deep grey."""
    if len(images.deep_kinds) < 2:
        return []
    parts = " and ".join(f"{kind} ({count:,})" for kind, count in images.deep_kinds.items())
    return [
        f"the deep grey images hold {parts}, which have white points of their own: equal things "
        "may look different, so save all of them in one kind"
    ]


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
