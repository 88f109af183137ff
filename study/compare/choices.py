"""Studies on the same splits -> the levels of each choice, repeat by repeat.

A choice is a setting in which studies differ, or tuning (the optimizers are the third, in
`effects`). The value of a setting is the mean over the optimizers that all studies have, each with
its tuned winner: if only the best optimizer counted, picking it by its result would be part of the
effect. Not compared are options that name or store a study, say how sure it wants to be, choose the
machine, or decide the data or their splits.
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
SPACE = "search space"
WITH_BASE = ("weights", "arithmetic")  # settings that come with a base
WORDS = {
    "preprocess": "preprocessing",
    "max_epochs": "epochs of a trial",
    "normalize": "normalized features",
}
NOT_COMPARED = frozenset(
    (
        *("name", "overwrite", "logs", "cache_dir", "dry_run", "code", "space", "optimizers"),
        *("metric", "margin", "ask", "repeats", "most_repeats", "confirm", "time_limit"),
        *("data", "features", "labels", "follow_links", "strict", "group", "group_pattern"),
        *("near_duplicates", "split", "split_seed", "validation_split", "test_split", "seed"),
        *("population", "device", "weights"),
    )
)
ONLY_FOR = {"factor": ("hyperband",), "trials": ("random", "bayesian", "grid")}  # tuners


class Choice(NamedTuple):
    """The value of one setting in one study."""

    value: str  # equal if the settings are
    text: str  # for sentences


class Levels(NamedTuple):
    """One choice on one data set."""

    choice: str  # "image size", "base and image size together"
    levels: tuple[str, ...]
    table: Float[np.ndarray, "L R"]  # NaN where a repeat is not whole
    over: str  # what the values are a mean of, in words
    same_draws: bool = False  # whether other studies of its seed share the draws of its repeats
    parts: Mapping[str, float] = {}  # the last level less the first, for each optimizer of a mean


def chosen_settings(metas: Sequence[StudyMeta]) -> list[dict[str, Choice]]:
    """Return each study's settings by their names in words; only settings that all studies have.

    Keys of `[head]` are settings of their own if the search spaces differ in nothing else;
    otherwise the search space is one setting.
    """
    ranges = [_ranges(meta, metas) for meta in metas]
    alike = len(set(ranges)) == 1
    tables = [
        _options(meta) | (_head(meta) if alike else {SPACE: Choice(own, str(meta.space["name"]))})
        for meta, own in zip(metas, ranges, strict=True)
    ]
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return [{key: table[key] for key in shared} for table in tables]


def differing(first: Mapping[str, Choice], second: Mapping[str, Choice]) -> list[str]:
    """Return the settings in which two studies differ; those that come with a base do not count."""
    found = [key for key in first if first[key].value != second[key].value]
    return [key for key in found if key not in WITH_BASE or "base" not in found]


def _options(meta: StudyMeta) -> dict[str, Choice]:
    tuner = meta.settings["tuner"]
    digest, dtype = str(meta.weights.get("digest", "")), str(meta.device.get("dtype", ""))
    return {
        _in_words(key): Choice(_value(meta, key, value), _text(key, value))
        for key, value in meta.settings.items()
        if key not in NOT_COMPARED and tuner in ONLY_FOR.get(key, (tuner,))
    } | {
        "weights": Choice(digest, str(meta.weights.get("source", ""))),
        "arithmetic": Choice(dtype, dtype),
    }


def _head(meta: StudyMeta) -> dict[str, Choice]:
    given = {key: one.default for key, one in HEAD.items()} | meta.space["table"].get("head", {})
    return {
        _in_words(key): Choice(json.dumps(value), _text(key, value)) for key, value in given.items()
    }


def _in_words(key: str) -> str:
    return WORDS.get(key, key.replace("_", " "))


def _ranges(meta: StudyMeta, metas: Sequence[StudyMeta]) -> str:
    """Return a search space without its head: schedules, and the optimizers of every study."""
    shared = set(meta.optimizers).intersection(*(other.optimizers for other in metas))
    table = {key: value for key, value in meta.space["table"].items() if key != "head"}
    optimizers = table.get("optimizers", {})
    table["optimizers"] = {name: optimizers[name] for name in shared if name in optimizers}
    return json.dumps(table, sort_keys=True)


def _value(meta: StudyMeta, key: str, value: Any) -> str:
    """Return a text that is equal where the settings are.

    A user's base is what its file holds, wherever it is. Preprocessing as the base was trained with
    comes with the base.
    """
    if key == "base" and is_file(meta.base):
        return str(meta.weights["digest"])
    if key == "preprocess":
        base = BASES.get(meta.base)
        return "own" if base is None or base.preprocess == value else json.dumps(value)
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


def settings_of(block: Block) -> Iterator[Levels]:
    """Yield the settings in which the studies differ: alone or, where that fails, together."""
    chosen = chosen_settings([study.meta for study in block.studies])
    results = [block.table(study).mean(axis=0) for study in block.studies]  # (R,) each
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


def _contexts(
    chosen: Sequence[dict[str, Choice]], key: str
) -> list[tuple[frozenset[str], list[int]]]:
    """Return (levels of `key`, studies) for studies that agree in all else but not in `key`."""
    own = (key, *WITH_BASE) if key == "base" else (key,)
    found: dict[tuple[str, ...], list[int]] = {}
    for place, table in enumerate(chosen):
        others = tuple(one.value for name, one in table.items() if name not in own)
        found.setdefault(others, []).append(place)
    contexts = [(frozenset(chosen[i][key].value for i in rows), rows) for rows in found.values()]
    return [(levels, rows) for levels, rows in contexts if len(levels) > 1]


def _crossed(contexts: Sequence[dict[str, Choice]], key: str) -> str:
    """Return the values of other settings with which a setting was crossed, in words."""
    names = [n for n in contexts[0] if len({one[n].value for one in contexts}) > 1 and n != key]
    names = [n for n in names if n not in WITH_BASE or "base" not in names]
    texts = [f"{n} {join(list(dict.fromkeys(one[n].text for one in contexts)))}" for n in names]
    return f"over {', '.join(texts)}" if texts else ""


def _together(
    chosen: Sequence[dict[str, Choice]],
) -> tuple[str, list[int], tuple[str, ...]] | None:
    """Return (settings, studies, levels) where steps of one setting do not connect all studies.

    Each group that such steps connect is represented by the study most like the first one.
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
    """Number levels that read alike, such as two search spaces of one name."""
    return tuple(
        text if texts.count(text) == 1 else f"{text} ({place + 1})"
        for place, text in enumerate(texts)
    )


def tuning_of(block: Block) -> Levels | None:
    """Return Keras's default settings against the tuned winners; None without default runs."""
    untuned = untuned_table(block)
    tuned = np.where(np.isfinite(untuned), block.mean_table, math.nan)
    there = np.isfinite(untuned).any(axis=1)
    if not there.any():
        return None
    table = np.array([untuned[there].mean(axis=0), tuned[there].mean(axis=0)])
    names = [name for name, has in zip(block.optimizers, there, strict=True) if has]
    if len(names) == 1:
        return Levels(TUNING, UNTUNED_TUNED, table, names[0])
    gains = mean_of_known(tuned[there] - untuned[there])
    parts = dict(zip(names, map(float, gains), strict=True))
    return Levels(TUNING, UNTUNED_TUNED, table, spread_over(parts), parts=parts)


def spread_over(parts: Mapping[str, float]) -> str:
    """Return in words how unequal the parts of a mean over optimizers are."""
    least, most = min(parts, key=parts.__getitem__), max(parts, key=parts.__getitem__)
    return (
        f"mean of {some(list(parts), 'optimizer')}, from {points_signed(parts[least])} ({least}) "
        f"to {points_signed(parts[most])} ({most}), median "
        f"{points_signed(float(np.median(list(parts.values()))))}"
    )


def untuned_table(block: Block) -> Float[np.ndarray, "K R"]:
    """Return what Keras's default settings reached, mean over studies; NaN where not all ran them.

    A default run that diverged scores at chance.
    """
    found: np.ndarray = np.mean([_untuned(block, study) for study in block.studies], axis=0)
    return found


def _untuned(block: Block, study: Summary) -> Float[np.ndarray, "K R"]:
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
