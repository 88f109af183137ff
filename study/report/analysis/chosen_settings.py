"""What was chosen for a study, setting by setting: the one place that the comparison asks.

Not a setting are what names or stores a study, how sure it wants to be, what decides the data or
their splits (studies on other splits are never compared by settings), and the machine.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from study.common.bases import BASES, is_file, short_name
from study.common.text import counted, join, number, plain
from study.records.study_meta import StudyMeta
from study.space.head_config import HEAD

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


class Setting(NamedTuple):
    """The value of one setting; equal if `value` is."""

    value: str
    text: str  # as sentences have it


def chosen_settings(metas: Sequence[StudyMeta]) -> list[dict[str, Setting]]:
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
            table["search space"] = Setting(own, str(meta.space["name"]))
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return [{key: table[key] for key in shared} for table in tables]


def differing(first: Mapping[str, Setting], second: Mapping[str, Setting]) -> list[str]:
    """The settings in which two studies differ; what comes with another base is no other one."""
    found = [key for key in first if first[key].value != second[key].value]
    return [key for key in found if key not in WITH_BASE or "base" not in found]


def _options(meta: StudyMeta) -> dict[str, Setting]:
    found, tuner = meta.settings, meta.settings["tuner"]
    table = {
        WORDS.get(key, key.replace("_", " ")): Setting(_value(meta, key, value), _text(key, value))
        for key, value in found.items()
        if key not in NO_SETTINGS and tuner in ONLY_FOR.get(key, (tuner,))
    }
    digest, dtype = str(meta.weights.get("digest", "")), str(meta.device.get("dtype", ""))
    return table | {
        "weights": Setting(digest, str(meta.weights.get("source", ""))),
        "arithmetic": Setting(dtype, dtype),
    }


def _head(meta: StudyMeta) -> dict[str, Setting]:
    given = {key: one.default for key, one in HEAD.items()} | meta.space["table"].get("head", {})
    return {
        WORDS.get(key, key.replace("_", " ")): Setting(json.dumps(value), _text(key, value))
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
