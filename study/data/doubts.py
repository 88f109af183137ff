"""What is doubtful in an `ImageSet`, in a few lines however many files it concerns."""

from collections import defaultdict
from collections.abc import Iterable

from study.common.text import counted, first_few, printable
from study.data.files.class_folders import Problem
from study.data.image_set import ImageSet
from study.data.shortcuts import shortcuts

NAMED = 5  # of a kind; the rest is a number
NEAR_NAMED, PAIR = 3, 2  # groups of near copies, images of each


def doubts(images: ImageSet) -> list[str]:
    """Lines to print: what was left out by reason, copies across classes, shortcuts and so on."""
    lines = [f"left out: {text}" for text in _by_reason(images.problems)]
    several = "the same content in several classes"
    lines += [f"{several}: {first_few(group, NAMED)}" for group in images.duplicates[:NAMED]]
    if images.duplicates:
        rest = len(images.duplicates) - NAMED
        more = f"{counted(rest, 'more such group')}; " if rest > 0 else ""
        lines.append(
            f"{several}: {more}{sum(map(len, images.duplicates))} images in all, which a "
            "stratified split trains on and never judges"
        )
    lines += _near_copies(images)
    if not any(images.groups) and (inside := subfolders_of_all(images)):
        lines.append(
            f"every class has folders inside ({', '.join(inside)}): if each is one subject or "
            "scene, --group subfolder keeps it on one side of every split"
        )
    if images.flat:
        number = "1 image is" if len(images.flat) == 1 else f"{len(images.flat)} images are"
        lines.append(f"{number} one flat colour: {first_few(images.flat, NAMED)}")
    if dark := images.dark:
        number = "1 image is" if len(dark) == 1 else f"{len(dark)} images are"
        lines.append(
            f"{number} nearly black, as label masks are and 16-bit colour that fills 12 bits only: "
            f"{first_few(dark, NAMED)}"
        )
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


def _near_copies(images: ImageSet) -> list[str]:
    """The first groups, and what is done with them."""
    groups = [[images.paths[row].relative_to(images.root) for row in rows] for rows in images.near]
    lines = [f"nearly the same picture: {first_few(group, PAIR)}" for group in groups[:NEAR_NAMED]]
    if groups:
        rest = len(groups) - NEAR_NAMED
        more = f"{counted(rest, 'more such group')}; " if rest > 0 else ""
        across = sum(len(set(images.labels[list(rows)].tolist())) > 1 for rows in images.near)
        several = f", {across} of the groups in several classes" if across else ""
        lines.append(
            f"nearly the same picture: {more}{sum(map(len, groups))} images in all{several}; none "
            "stands on several sides of a stratified split (--near-duplicates keep: all differ)"
        )
    return lines


def subfolders_of_all(images: ImageSet) -> list[str]:
    """Two folders inside a class folder, as "cats/anna", if every class has two or more."""
    inside: dict[int, set[str]] = defaultdict(set)
    for label, name in zip(images.labels.tolist(), images.subfolders, strict=False):
        if name:
            inside[label].add(name)
    if len(inside) < len(images.class_names) or min(map(len, inside.values()), default=0) < 2:
        return []
    return [f"{images.class_names[0]}/{printable(name)}" for name in sorted(inside[0])[:2]]


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
