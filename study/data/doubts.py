"""What is doubtful in an `ImageSet`, in a few lines however many files it concerns."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from study.common.text import NAMED, counted, first_few
from study.data.files.class_folders import Problem
from study.data.image_set import ImageSet
from study.data.names import class_doubts, mask_pairs
from study.data.shortcuts import shortcuts

NEAR_NAMED, PAIR = 3, 2  # groups of near-duplicates, images of each


def doubts(images: ImageSet) -> list[str]:
    """Return lines to print: what was left out, copies in several classes, shortcuts and so on."""
    lines = []
    if images.duplicates:
        lines += _groups("the same content in several classes", images.duplicates, NAMED, NAMED)
        lines[-1] += f", {images.fate_of_conflicts}"
    lines += name_doubts(images)
    lines += [f"left out: {text}" for text in _by_reason(images.problems)]
    if images.near:
        near = [list(map(images.name_of, rows)) for rows in images.near]
        lines += _groups("nearly the same image", near, NEAR_NAMED, PAIR)
        across = sum(len(set(images.labels[list(rows)].tolist())) > 1 for rows in images.near)
        lines[-1] += f", {across} of the groups in several classes" if across else ""
        lines[-1] += (
            "; a stratified split keeps each group on one side (--near-duplicates keep treats "
            "them as different images)"
        )
    if not any(images.groups) and (inside := subfolders_of_all(images)):
        lines.append(
            f"every class has folders inside ({', '.join(inside)}): if each is one subject or "
            "scene, --group subfolder keeps it on one side of every split"
        )
    for paths, what in (
        (images.flat, "one flat colour"),
        (images.dark, "nearly black, like label masks or 16-bit colour that uses only 12 bits"),
    ):
        if paths:
            number = "1 image is" if len(paths) == 1 else f"{len(paths)} images are"
            lines.append(f"{number} {what}: {first_few(paths)}")
    return [*lines, *_unseen(images), *mixed_grey(images), *shortcuts(images)]


def _unseen(images: ImageSet) -> Iterator[str]:
    """Yield what is in the files and not in what a model sees."""
    if images.more:
        named = (f"{path} ({more})" for path, more in images.more.items())
        yield (
            f"not used of {counted(len(images.more), 'image')}: all but the first page or frame, "
            f"all but its grey or its first three bands: {first_few(named)}"
        )
    if images.veiled == len(images.paths):
        yield (
            "all images are laid on white by their last band, an opacity that differs from pixel "
            "to pixel; if it is something else, such as near infrared, save the first three bands "
            "alone (gdal_translate -b 1 -b 2 -b 3, or as in docs/data.md)"
        )


def name_doubts(images: ImageSet) -> list[str]:
    """Return sentences on the names of classes and files."""
    return [*class_doubts(images), *mask_pairs(images)]


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


def _groups(what: str, groups: Sequence[Sequence[Path | str]], most: int, each: int) -> list[str]:
    """Return a line for each of the first groups, and one that counts them all."""
    rest = len(groups) - most
    more = f"{counted(rest, 'more such group')}; " if rest > 0 else ""
    return [
        *(f"{what}: {first_few(group, each)}" for group in groups[:most]),
        f"{what}: {more}{sum(map(len, groups))} images in all",
    ]


def mixed_grey(images: ImageSet) -> list[str]:
    """Return a sentence if no single white point can hold for all deep grey."""
    if len(images.deep_kinds) < 2:
        return []
    kinds = " and ".join(f"{kind} ({count:,})" for kind, count in images.deep_kinds.items())
    return [
        f"the 16/32-bit grey images hold {kinds}, each with its own white point, so equal things "
        "may look different: save all of them in one kind"
    ]


def subfolders_of_all(images: ImageSet) -> list[str]:
    """Return two folders inside a class folder, as "cats/anna", if every class has two or more."""
    inside: dict[int, set[str]] = defaultdict(set)
    for label, name in zip(images.labels.tolist(), images.subfolders, strict=False):
        if name:
            inside[label].add(name)
    if len(inside) < len(images.class_names) or min(map(len, inside.values()), default=0) < 2:
        return []
    return [f"{images.class_names[0]}/{name}" for name in sorted(inside[0])[:2]]
