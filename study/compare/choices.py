"""Studies on the same splits -> the levels of each choice, repeat by repeat.

What is compared of a setting is the mean over the optimizers that all studies have, each with its
tuned winner: of a best one, chosen by its result, the choice would be part of the effect.

What was chosen for a study, setting by setting: the one place that the comparison asks.

Not a setting are what names or stores a study, how sure it wants to be, what decides the data or
their splits (studies on other splits are never compared by settings), and the machine.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from study.common.bases import BASES, is_file, short_name
from study.common.text import counted, join, number, plain, points_signed, some
from study.compare.data_sets import Block
from study.compare.set_bounds import mean_of_known
from study.records.outcomes import chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.summary import Summary
from study.space.head_config import HEAD

TUNING = "tuning"
UNTUNED_TUNED = ("untuned", "tuned")

WITH_BASE = ("weights", "arithmetic")  # what each base has of its own
WORDS = {
    "preprocess": "preprocessing",
    "max_epochs": "epochs of a trial",
    "normalize": "normalized features",
}
NO_SETTINGS = frozenset(
    (
        *("name", "overwrite", "logs", "cache_dir", "dry_run", "code", "space", "optimizers"),
        *("metric", "margin", "repeats", "most_repeats", "confirm", "time_limit"),
        *("data", "features", "labels", "follow_links", "strict", "group", "group_pattern"),
        *("near_duplicates", "split", "split_seed", "validation_split", "test_split", "seed"),
        *("population", "device", "weights"),
    )
)
ONLY_FOR = {"factor": ("hyperband",), "trials": ("random", "bayesian", "grid")}  # tuners


class Choice(NamedTuple):
    """The value of one setting; equal if `value` is."""

    value: str
    text: str  # as sentences have it


def chosen_settings(metas: Sequence[StudyMeta]) -> list[dict[str, Choice]]:
    """What each of several studies chose, by the words for it; only settings that all of them have.

    Keys of `[head]` stand for themselves where that is all in which the search spaces differ; else
    the search space is one setting.
    """
    tables = [_options(meta) for meta in metas]
    ranges = [_ranges(meta, metas) for meta in metas]
    for table, meta, own in zip(tables, metas, ranges, strict=True):
        if len(set(ranges)) == 1:
            table |= _head(meta)
        else:
            table["search space"] = Choice(own, str(meta.space["name"]))
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return [{key: table[key] for key in shared} for table in tables]


def differing(first: Mapping[str, Choice], second: Mapping[str, Choice]) -> list[str]:
    """The settings in which two studies differ; what comes with another base is no other one."""
    found = [key for key in first if first[key].value != second[key].value]
    return [key for key in found if key not in WITH_BASE or "base" not in found]


def _options(meta: StudyMeta) -> dict[str, Choice]:
    found, tuner = meta.settings, meta.settings["tuner"]
    table = {
        WORDS.get(key, key.replace("_", " ")): Choice(_value(meta, key, value), _text(key, value))
        for key, value in found.items()
        if key not in NO_SETTINGS and tuner in ONLY_FOR.get(key, (tuner,))
    }
    digest, dtype = str(meta.weights.get("digest", "")), str(meta.device.get("dtype", ""))
    return table | {
        "weights": Choice(digest, str(meta.weights.get("source", ""))),
        "arithmetic": Choice(dtype, dtype),
    }


def _head(meta: StudyMeta) -> dict[str, Choice]:
    given = {key: one.default for key, one in HEAD.items()} | meta.space["table"].get("head", {})
    return {
        WORDS.get(key, key.replace("_", " ")): Choice(json.dumps(value), _text(key, value))
        for key, value in given.items()
    }


def _ranges(meta: StudyMeta, metas: Sequence[StudyMeta]) -> str:
    """All of a search space but its head: schedules, and the optimizers that every study has."""
    shared = set(meta.optimizers).intersection(*(other.optimizers for other in metas))
    table = {key: value for key, value in meta.space["table"].items() if key != "head"}
    optimizers = table.get("optimizers", {})
    table["optimizers"] = {name: optimizers[name] for name in shared if name in optimizers}
    return json.dumps(table, sort_keys=True)


def _value(meta: StudyMeta, key: str, value: Any) -> str:
    """What is equal where the settings are.

    A base of the user's is what the file holds, wherever it lies. Pixels that are prepared as the
    base was trained come with the base.
    """
    if key == "base" and is_file(meta.base):
        return str(meta.weights["digest"])
    if key == "preprocess":
        named = BASES.get(meta.base)
        return "own" if named is None or named.preprocess == value else json.dumps(value)
    return json.dumps(value)


def _text(key: str, value: Any) -> str:
    if isinstance(value, Mapping):  # of a search space: a set or a range
        choices = value.get("choices")
        if choices:
            return join([_text(key, one) for one in choices], "or")
        return f"{number(value['min'])} to {number(value['max'])}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "base":
        return plain(short_name(value), 40)
    if key == "image_size":
        return f"{value} px"
    if key == "views":
        return counted(value, "view")
    return plain(number(value), 40)


class Levels(NamedTuple):
    """One choice on one data set."""

    choice: str  # "image size", "base and image size together"
    levels: tuple[str, ...]  # L
    table: Float[np.ndarray, "L R"]  # NaN where a repeat is not whole
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


def _over_optimizers(table: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """(R,) mean over optimizers of each repeat that all of them have, else NaN."""
    means: np.ndarray = table.mean(axis=0)
    return means


def _contexts(
    chosen: Sequence[dict[str, Choice]], key: str
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


def _crossed(contexts: Sequence[dict[str, Choice]], key: str) -> str:
    """With which values of other settings a setting was crossed."""
    names = [n for n in contexts[0] if len({one[n].value for one in contexts}) > 1 and n != key]
    names = [n for n in names if n not in WITH_BASE or "base" not in names]
    said = [f"{n} {join(list(dict.fromkeys(one[n].text for one in contexts)))}" for n in names]
    return f"over {', '.join(said)}" if said else ""


def _together(
    chosen: Sequence[dict[str, Choice]],
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


def _untuned(block: Block, study: Summary) -> Float[np.ndarray, "..."]:
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
