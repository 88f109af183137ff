"""Studies on the same splits -> the levels of each choice, repeat by repeat.

What is compared of a setting is the mean over the optimizers that all studies have, each with its
tuned winner: of a best one, chosen by its result, the choice would be part of the effect.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from study.common.aliases import Numbers
from study.common.text import join, points_signed, some
from study.records.outcomes import chance, score
from study.records.trial_record import Phase
from study.report.analysis.chosen_settings import WITH_BASE, Setting, chosen_settings, differing
from study.report.analysis.data_sets import Block
from study.report.analysis.summary import Summary
from study.verdicts.set_means import mean_of_known

TUNING = "tuning"
UNTUNED_TUNED = ("untuned", "tuned")


class Levels(NamedTuple):
    """One choice on one data set."""

    choice: str  # "image size", "base and image size together"
    levels: tuple[str, ...]  # L
    table: Numbers  # (L, R); NaN where a repeat is not whole
    over: str  # what it is a mean of, in words


def settings_of(block: Block) -> Iterator[Levels]:
    """The settings in which the studies differ, alone or, where that is all there is, together."""
    chosen = chosen_settings([study.meta for study in block.studies])
    results = [_over_optimizers(block.table(study)) for study in block.studies]  # (R,) each
    over = block.optimizers[0]
    if len(block.optimizers) > 1:
        over = f"mean of {some(block.optimizers, 'optimizer')}"
    for key in chosen[0]:
        contexts = _contexts(chosen, key)
        for levels in dict.fromkeys(tuple(sorted(levels)) for levels, _ in contexts):
            places = [
                [[i for i in rows if chosen[i][key].value == level] for level in levels]
                for found, rows in contexts
                if tuple(sorted(found)) == levels
            ]  # context, level -> studies
            table = np.mean(
                [[np.mean([results[i] for i in one], axis=0) for one in row] for row in places],
                axis=0,
            )  # (L, R)
            texts = tuple(chosen[row[0]][key].text for row in places[0])
            crossed = _crossed([chosen[row[0][0]] for row in places], key)
            yield Levels(key, _distinct(texts), table, "; ".join(filter(None, (over, crossed))))
    together = _together(chosen)
    if together is not None:
        choice, rows, texts = together
        yield Levels(choice, _distinct(texts), np.array([results[row] for row in rows]), over)


def _over_optimizers(table: Numbers) -> Numbers:
    """(R,) mean over optimizers of each repeat that all of them have, else NaN."""
    means: Numbers = table.mean(axis=0)
    return means


def _contexts(
    chosen: Sequence[dict[str, Setting]], key: str
) -> list[tuple[frozenset[str], list[int]]]:
    """(levels of `key`, studies) of the studies that agree in everything else, if there are two."""
    found: dict[tuple[str, ...], list[int]] = {}
    for place, table in enumerate(chosen):
        others = tuple(one.value for name, one in table.items() if name not in _of(key))
        found.setdefault(others, []).append(place)
    contexts = [(frozenset(chosen[i][key].value for i in rows), rows) for rows in found.values()]
    return [(levels, rows) for levels, rows in contexts if len(levels) > 1]


def _of(key: str) -> tuple[str, ...]:
    """A setting and what comes with it: each base has its own weights."""
    return (key, *WITH_BASE) if key == "base" else (key,)


def _crossed(contexts: Sequence[dict[str, Setting]], key: str) -> str:
    """With which values of other settings a setting was crossed."""
    names = [n for n in contexts[0] if len({one[n].value for one in contexts}) > 1 and n != key]
    names = [n for n in names if n not in WITH_BASE or "base" not in names]
    said = [f"{n} {join(list(dict.fromkeys(one[n].text for one in contexts)))}" for n in names]
    return f"over {', '.join(said)}" if said else ""


def _together(
    chosen: Sequence[dict[str, Setting]],
) -> tuple[str, list[int], tuple[str, ...]] | None:
    """(settings, studies, levels) where steps of one setting do not lead from study to study.

    Of each group that such steps connect, the study that differs least from the first one.
    """
    groups: list[list[int]] = []
    for place in range(len(chosen)):
        near = [g for g in groups if any(len(differing(chosen[place], chosen[i])) < 2 for i in g)]
        groups = [g for g in groups if g not in near]
        groups.append(sorted([place, *(i for g in near for i in g)]))
    if len(groups) < 2:
        return None
    groups.sort()
    rows = [min(g, key=lambda i: len(differing(chosen[0], chosen[i]))) for g in groups]
    keys = [
        key
        for key in chosen[0]
        if any(key in differing(chosen[rows[0]], chosen[row]) for row in rows)
    ]
    levels = tuple(", ".join(chosen[row][key].text for key in keys) for row in rows)
    return f"{join(keys)} together", rows, levels


def _distinct(texts: Sequence[str]) -> tuple[str, ...]:
    """Levels that read alike are numbered: two search spaces of one name."""
    return tuple(
        text if texts.count(text) == 1 else f"{text} ({place + 1})"
        for place, text in enumerate(texts)
    )


def tuning_of(block: Block) -> Levels | None:
    """Keras's default settings against the tuned winners; None where nothing was run untuned.

    A default that diverged counts as a guess, as in the report of one study.
    """
    untuned = np.mean([_untuned(block, study) for study in block.studies], axis=0)  # (K, R)
    tuned = np.where(np.isfinite(untuned), block.mean_table, math.nan)
    there = np.isfinite(untuned).any(axis=1)
    if not there.any():
        return None
    table = np.array([_over_optimizers(untuned[there]), _over_optimizers(tuned[there])])
    names = [name for name, has in zip(block.optimizers, there, strict=True) if has]
    if len(names) == 1:
        return Levels(TUNING, UNTUNED_TUNED, table, names[0])
    gains = mean_of_known(tuned[there] - untuned[there])
    least, most = int(gains.argmin()), int(gains.argmax())
    over = (
        f"mean of {some(names, 'optimizer')}, from {points_signed(float(gains[least]))} "
        f"({names[least]}) to {points_signed(float(gains[most]))} ({names[most]})"
    )
    return Levels(TUNING, UNTUNED_TUNED, table, over)


def _untuned(block: Block, study: Summary) -> Numbers:
    """(K, R): what Keras's default settings reached; NaN where they were not run."""
    guess = chance(study.meta.metric, study.meta.class_counts)
    table = np.full((len(block.optimizers), block.repeats), math.nan)
    for record in study.records:
        if (
            record.phase is Phase.DEFAULT
            and record.optimizer in block.optimizers
            and record.repeat < block.repeats
        ):
            table[block.optimizers.index(record.optimizer), record.repeat] = score(record, guess)
    return table
