"""The answer -> what to do next: each step in words, with the command that does it.

A search is continued by its own command, with what the step changes.
"""

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.command import typed
from study.common.text import counted, points, printable
from study.records.study_meta import StudyMeta
from study.verdicts.answer import Answer, Judged, Verdict
from study.verdicts.looks import AUTO, FEWEST_REPEATS

_VALUE = r"(?:'(?:[^']|'\"'\"')*'|[^\s'])+"  # as `shlex.quote` writes it


class Step(NamedTuple):
    """Something that a user may do now."""

    what: str
    command: str  # for a shell, or the file to open


def next_steps(meta: StudyMeta, answer: Answer, folder: Path) -> Iterator[Step]:
    """Yield what to do with a study in its folder, the most urgent first."""
    logs = [] if folder.parent.absolute() == Path("logs").absolute() else ["--logs", folder.parent]
    place = ("--study", folder.name, *map(str, logs))
    if command := _continued(meta, answer):
        yield Step("go on until the answer is known", command)
    if answer.leader:
        best = answer.about(answer.leader)
        good = best.verdict is Verdict.GOOD_ENOUGH
        if not good and best.at_most_behind is not None and not best.diverged:
            found = f"call {best.optimizer} good enough by a larger margin"
            yield _by_margin(found, best.at_most_behind, place)
        if meta.finished and meta.noun == "image":
            photo = typed("predict", "photo.jpg", *place)
            yield Step(f"classify a photo with {best.optimizer}", photo)
        if meta.finished:
            page = printable(folder / "report" / "report.html")
            copied = f"copy the Keras code of {best.optimizer} with all settings, from the page"
            yield Step(copied, page)
        if good:
            yield from _about_new_images(meta, answer, best, place)
            yield from _more_precise(meta, answer, best)
    board = printable(shlex.join(["tensorboard", "--logdir", str(folder.parent)]))
    yield Step("see all curves in TensorBoard", board)


def _continued(meta: StudyMeta, answer: Answer) -> str:
    """Return the command that brings the study nearer to its answer, "" if none does."""
    if not meta.finished or meta.partial:
        return meta.command
    repeats = max((one.repeats for one in answer.optimizers), default=0)
    fixed = meta.settings["repeats"] != AUTO
    few = fixed and len(answer.optimizers) > 1 and 0 < repeats < FEWEST_REPEATS
    if not few and (answer.known or not answer.racing):
        return ""
    if fixed:
        return _changed(meta.command, repeats=AUTO)
    if answer.looked == len(answer.looks):
        return ""
    return _changed(meta.command, margin=f"{float(meta.settings['margin']):g}")


def _by_margin(what: str, bound: float, place: Sequence[str]) -> Step:
    """Return how to judge by a margin that keeps a bound."""
    margin = math.ceil(1000 * bound) / 10
    return Step(what, typed("report", *place, "--margin", f"{margin:g}"))


def _about_new_images(
    meta: StudyMeta, answer: Answer, best: Judged, place: Sequence[str]
) -> Iterator[Step]:
    """Yield what would make the answer certain of new images, too, where it is not."""
    new, bound = f"new {meta.noun}s", best.at_most_behind_new_images
    if meta.one_split:
        other = _changed(meta.command, split="stratified", name=f"{meta.name}-drawn")
        yield Step(f"draw a fresh split for each repeat, to learn about {new}", other)
    elif np.isnan(answer.new_images.units).all():
        yield Step(
            f"repeat the runs that predicted.jsonl lacks, to learn about {new}", meta.command
        )
    elif bound is None or bound > answer.margin:
        if answer.images_needed > 1:
            images = sum(meta.class_counts)
            yield Step(
                f"guarantee {points(answer.margin)} points on {new}, too: collect at least about "
                f"{rounded(images * answer.images_needed)} {meta.noun}s instead of {images} (more "
                "repeats do not help), then search under another name",
                _changed(meta.command, name=f"{meta.name}-more"),
            )
        if bound is not None:
            yield _by_margin(f"accept a margin that also holds on {new}", bound, place)


def _more_precise(meta: StudyMeta, answer: Answer, best: Judged) -> Iterator[Step]:
    """Yield what further looks may show of a good enough optimizer and of the others."""
    if meta.settings["repeats"] != AUTO or answer.looked == len(answer.looks):
        return
    half = 50 * answer.margin
    if 100 * best.bound > half:
        closer = f"go on until it is at most {counted(half, 'point')} behind"
        yield Step(closer, _changed(meta.command, margin=f"{half:g}"))
    if others := len(answer.of(Verdict.NOT_PURSUED)):
        names = "one" if others == 1 else str(others)
        yield Step(f"get a verdict on the {names} not pursued", _changed(meta.command, ask="all"))


def _changed(command: str, **options: str) -> str:
    """Return a search command with these options, each once."""
    for name, value in options.items():
        command = re.sub(rf" --{name}[ =]{_VALUE}", "", command)
        command += f" --{name} {shlex.quote(value)}"
    return command


def rounded(images: float) -> str:
    """Return a rough number with two digits."""
    digits = max(len(str(int(images))) - 2, 0)
    return f"{round(images, -digits):,.0f}"
