"""Two `study.json`s come in, what a continued study may not change goes out, key by key.

Records made under two settings must not be ranked together. What only adds is allowed: repeats and
reruns as the looks have it, more trials where the shorter search is the beginning of the longer
one, an optimizer where each one has searches of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from study.records.study_meta import StudyMeta
from study.search.options import OPTIONS
from study.space.value_reader import shown

COMPUTES = ("tensorflow", "keras", "keras-tuner")  # another series may compute or propose otherwise


def differences(
    old: StudyMeta, new: StudyMeta, longer: Callable[[int], bool], recorded: set[str]
) -> list[str]:
    """What is another, in words; empty if `new` may continue `old`.

    Args:
        old: as the study stands in its folder.
        new: as it is asked for.
        longer: whether searches with so many trials were the beginning of those asked for now.
        recorded: optimizers that have runs.
    """
    found = [
        *_options(old, new, longer),
        *_space(old, new),
        *_code(old, new, recorded),
        *_versions(old, new),
        *_pixels(old, new),
    ]
    size, asked = old.device["population"], new.settings["population"]
    if None not in (size, asked) and size != asked:  # it decides how the results are rounded
        found.append(f"`population` {size} -> {asked}")
    compared: list[tuple[str, Mapping[str, Any], Mapping[str, Any], str]] = [
        (f"{new.noun}s" if old.noun == new.noun else "data", old.data, new.data, "fingerprint"),
        ("weights", old.weights, new.weights, "digest"),
        ("device", old.device, new.device, "kind"),
        ("arithmetic", old.device, new.device, "dtype"),
    ]
    for words, before_table, after_table, key in compared:
        before, after = before_table.get(key), after_table.get(key)
        if before != after:
            found.append(f"{words} {str(before)[:12]} -> {str(after)[:12]}")
    return found or [*_splits(old, new)]


def more_trials(old: StudyMeta, new: StudyMeta) -> bool:
    """Whether the searches get longer."""
    longer = bool(old.settings["trials"] < new.settings["trials"])
    return longer and new.settings["tuner"] != "hyperband"


def _options(old: StudyMeta, new: StudyMeta, longer: Callable[[int], bool]) -> Iterator[str]:
    same_weights = old.weights.get("digest") == new.weights.get("digest")
    for key, value in new.settings.items():
        if key not in old.settings:  # one of the two is of images, the other one of rows
            continue
        option, before = OPTIONS[key], old.settings[key]
        if before == value or option.continued in ("free", "space", "looks"):
            continue  # the looks say themselves what does not fit
        if option.continued == "weights" and same_weights:
            continue
        if option.continued == "longer":
            if longer(before):
                continue
            more = "cannot be taken away" if value < before else "begin otherwise than the old ones"
            yield f"`{key}` {before} -> {value} (trials of searches {more})"
            continue
        yield f"`{key}` {before} -> {value}"


def _space(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    """Keys of the search space; of the optimizers only those that both studies have."""
    if old.space["fingerprint"] == new.space["fingerprint"]:
        return
    before, after = set(old.optimizers), set(new.optimizers)
    for name in sorted(before - after):
        yield f"search space: optimizer {name} is left out"
    if new.settings["allocation"] == "joint":  # its one search tries all of them
        for name in sorted(after - before):
            yield f"search space: optimizer {name} is added to a joint search"
    tables = (
        _keys({**one.space["table"], "optimizers": _both(one.space["table"], before & after)})
        for one in (old, new)
    )
    was, now = tables
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            yield f"search space: {key} {_word(was, key)} -> {_word(now, key)}"


def _both(table: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: one for name, one in table.get("optimizers", {}).items() if name in names}


def _keys(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested table as dotted keys; an empty one keeps its own."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found |= _keys(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _word(keys: Mapping[str, Any], key: str) -> str:
    return shown(keys[key]) if key in keys else "nothing"


def _code(old: StudyMeta, new: StudyMeta, recorded: set[str]) -> Iterator[str]:
    """Optimizers of the user's whose code is another than that of their runs."""
    for name in sorted(old.code.keys() & new.code.keys() & recorded):
        before, after = old.code[name], new.code[name]
        if before["digest"] != after["digest"]:
            yield (
                f"code of {name} in {after['file']} {before['digest'][:12]} -> "
                f"{after['digest'][:12]}"
            )
        elif bool(before["alone"]) != bool(after["alone"]):
            yield f"{name} is trained {'alone' if after['alone'] else 'with others'} now"


def _pixels(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    """Images that are shown otherwise: features of two kinds must not be mixed in one study."""
    before, after = old.white_points, new.white_points
    if before != after:
        yield f"white points of deep grey {_points(before)} -> {_points(after)}"


def _splits(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    """Splits that are drawn otherwise although nothing else has changed."""
    shared = old.split_digests.keys() & new.split_digests.keys()
    if any(old.split_digests[key] != new.split_digests[key] for key in shared):
        before, after = (_together(meta) for meta in (old, new))
        yield f"what stays on one side of a split: {before} -> {after} (`near_duplicates`)"


def _together(meta: StudyMeta) -> str:
    near, same = sum(map(len, meta.data.get("near_copies", []))), meta.data.get("same_pixels", 0)
    parts = {f"{near} near copies": near, f"{same} files of equal pixels": same}
    return " and ".join(part for part, count in parts.items() if count) or "files of equal bytes"


def _points(points: Mapping[str, Mapping[str, float]]) -> str:
    words = (f"{kind} {one['black']:g} to {one['white']:g}" for kind, one in points.items())
    return ", ".join(words) or "none"


def _versions(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    for name, before, after in changed_versions(old, new):
        if name in COMPUTES and before.split(".")[:2] != after.split(".")[:2]:
            yield f"{name} {before} -> {after}"


def changed_versions(old: StudyMeta, new: StudyMeta) -> list[tuple[str, str, str]]:
    """(name, before, after) of what was updated since the last run."""
    before, after = old.versions[-1], new.versions[-1]
    return [(name, before[name], after[name]) for name in after if before[name] != after[name]]
