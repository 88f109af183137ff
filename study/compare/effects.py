"""Data sets -> one line for each choice: the points from its worst to its best level.

Choices are compared on the same splits of the same images, paired by repeat:

- *A setting*: studies that differ in nothing else. If other settings were crossed with it, the mean
  over all their values that have the same levels; effects are not assumed to add up.
- *Several settings together*: where no step of one setting leads from some studies to the others,
  the settings cannot be separated and share a line.
- *Tuned against untuned*: Keras's default settings against the tuned winners, in every study.
- *Optimizer*: from the worst tuned optimizer to the best one, mean over the studies.
- *Inside a search*: its budget, the schedule, the dense width (`searches`).

A choice with the same levels on several data sets is one line, the mean over these sets. If a
setting was tried on some of the data sets only, tuning and optimizer have a line for these, too,
since only lines on the same data sets are compared with each other.

Bounds are those of `set_bounds`, at the error rate of the studies' looks divided by the number of
lines (Bonferroni), so they hold simultaneously for all lines with 95 % confidence. Each line also
says how far every level is behind the best one (`gaps`), at 95 % for itself.
"""

import enum
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from study.common.text import join, points, points_signed
from study.compare.choices import TUNING, Levels, settings_of, spread_over, tuning_of
from study.compare.data_sets import Block, DataSet, common_optimizers
from study.compare.gaps import Gap, gaps
from study.compare.searches import choices_inside
from study.compare.set_bounds import SetResults, Span, span_of

OPTIMIZER = "optimizer"
MANY = 4  # levels from which on the worst and the best alone say too little


class Matters(enum.StrEnum):
    """What may be claimed of a choice, on these images."""

    MATTERS = "matters"  # certainly more than the margin
    MOVES = "more than luck"  # certainly some effect
    SMALL = "within the margin"  # certainly no more than the margin
    UNDECIDED = "undecided"


class Effect(NamedTuple):
    """One line. Points are fractions; bounds are NaN where none is known."""

    choice: str  # "image size", "base and image size together", TUNING, OPTIMIZER
    data: tuple[str, ...]  # data sets that the line is a mean of
    worst: str  # level, as measured
    best: str
    moves: float  # from worst to best, as measured
    low: float  # 95 %, simultaneous for all lines, on these images
    high: float
    says: Matters
    repeats: int  # the smallest number of a data set
    by_set: tuple[float, ...]  # from the same worst to the same best, on each data set
    over: str  # what the line is estimated from, in words
    levels: tuple[str, ...]
    gaps: tuple[Gap, ...]  # of each level to the best, the best first
    median: float  # over the optimizers that the line is a mean of; NaN but for tuning


class _NamedBlock(NamedTuple):
    """A block of studies and the name of its data set."""

    data: str
    block: Block


def effects(sets: Sequence[DataSet], *, alpha: float, margin: float) -> list[Effect]:
    """Return all lines, the largest effect first.

    Args:
        sets: the data sets.
        alpha: the error rate of all lines together.
        margin: a fraction; a choice that moves more matters.
    """
    blocks = [
        _NamedBlock(_name(one, block), block)
        for one in sets
        for block in one.blocks
        if block.optimizers
    ]
    lines = list(_lines(blocks)) if blocks else []
    found = [
        _effect(levels, [blocks[i] for i in scope], alpha, len(lines), margin)
        for scope, levels in lines
    ]
    known = [one for one in found if not math.isnan(one.moves)]
    return sorted(known, key=lambda one: -one.moves)


def _name(data: DataSet, block: Block) -> str:
    if len(data.blocks) == 1:
        return data.name
    return f"{data.name} ({join([study.meta.name for study in block.studies])})"


def _lines(blocks: Sequence[_NamedBlock]) -> Iterator[tuple[tuple[int, ...], list[Levels]]]:
    """Yield (indices of blocks, the levels in each of these blocks) of every line."""
    settings: dict[tuple[str, tuple[str, ...]], dict[int, Levels]] = {}
    for number, (_, block) in enumerate(blocks):
        for one in (*settings_of(block), *choices_inside(block)):
            settings.setdefault((one.choice, one.levels), {})[number] = one
    tuned = {number: tuning_of(block) for number, (_, block) in enumerate(blocks)}
    scopes = [tuple(found) for found in settings.values()]
    for scope in dict.fromkeys([*scopes, tuple(range(len(blocks)))]):
        for found in settings.values():
            if tuple(found) == scope:
                yield scope, list(found.values())
        having = {n: levels for n in scope if (levels := tuned[n]) is not None}
        if having:
            yield tuple(having), list(having.values())
        names = common_optimizers([one for number in scope for one in blocks[number].block.studies])
        if len(names) > 1:
            yield scope, [_optimizers(blocks[number].block, names) for number in scope]


def _optimizers(block: Block, names: tuple[str, ...]) -> Levels:
    rows = [block.optimizers.index(name) for name in names]
    return Levels(OPTIMIZER, names, block.mean_table[rows], "")


def _effect(
    found: Sequence[Levels],
    blocks: Sequence[_NamedBlock],
    alpha: float,
    lines: int,
    margin: float,
) -> Effect:
    sets = [
        SetResults(one.table, block.step) for one, (_, block) in zip(found, blocks, strict=True)
    ]
    levels, same = found[0].levels, found[0].same_draws
    span = span_of(sets, alpha / lines, same_draws=same)
    return Effect(
        choice=found[0].choice,
        data=tuple(data for data, _ in blocks),
        worst=levels[span.worst],
        best=levels[span.best],
        moves=span.moves,
        low=span.low,
        high=span.high,
        says=_says(span, margin),
        repeats=span.repeats,
        by_set=span.by_set,
        over="; ".join(filter(None, _over(found, blocks, span))),
        levels=levels,
        gaps=gaps(levels, sets, alpha, same_draws=same),
        median=float(np.median(list(parts.values()))) if (parts := _parts(found)) else math.nan,
    )


def _parts(found: Sequence[Levels]) -> dict[str, float]:
    """Return the part of each optimizer that all data sets have, mean over the sets."""
    shared = set.intersection(*(set(one.parts) for one in found))
    names = [name for name in found[0].parts if name in shared]
    return {name: float(np.mean([one.parts[name] for one in found])) for name in names}


def _over(found: Sequence[Levels], blocks: Sequence[_NamedBlock], span: Span) -> Iterator[str]:
    """Yield what a line is a mean of and, of many optimizers, how far most are behind."""
    if len(found) > 1:
        ordered = sorted(zip(span.by_set, [data for data, _ in blocks], strict=True))
        yield f"mean of {len(found)} data sets, from " + " to ".join(
            f"{points_signed(value)} ({name})" for value, name in (ordered[0], ordered[-1])
        )
        if len(parts := _parts(found)) > 1:
            yield spread_over(parts)
    else:
        yield found[0].over
        studies = len(blocks[0].block.studies)
        if studies > 1 and found[0].choice in (OPTIMIZER, TUNING):
            yield f"mean of {studies} studies"
    if found[0].choice == OPTIMIZER and len(span.behind) >= MANY:
        middle = float(np.nanmedian(span.behind))
        yield f"half of the {len(span.behind)} within {points(middle)} points of the best"


def _says(span: Span, margin: float) -> Matters:
    if span.low > margin:  # NaN is never more
        return Matters.MATTERS
    if span.high <= margin:
        return Matters.SMALL
    return Matters.MOVES if span.low > 0 else Matters.UNDECIDED
