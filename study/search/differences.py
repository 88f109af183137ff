"""Compare two `study.json`s: list what keeps the new study from continuing the old one.

Records made with different settings must not be ranked together. What only adds is allowed: more
repeats and confirmation runs as planned looks (interim analyses) permit, more trials where the
shorter search is the beginning of the longer one, and another optimizer where each optimizer has
its own searches.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from study.records.study_meta import StudyMeta
from study.search.options import OPTIONS
from study.space.value_reader import shown

COMPUTES = ("tensorflow", "keras", "keras-tuner")  # another minor version may compute differently


def differences(
    old: StudyMeta, new: StudyMeta, longer: Callable[[int], bool], recorded: set[str]
) -> list[str]:
    """List in words what keeps `new` from continuing `old`; empty if nothing does.

    `longer` says whether the new searches begin like old ones with this number of trials; the
    optimizers `recorded` have runs.
    """
    found = [
        *_options(old, new, longer),
        *_space(old, new),
        *_code(old, new, recorded),
        *_versions(old, new),
        *_tables(old, new),
    ]
    return found or [*_splits(old, new)]  # splits follow from all the others


def more_trials(old: StudyMeta, new: StudyMeta) -> bool:
    """Return whether the searches get longer."""
    longer = bool(old.settings["trials"] < new.settings["trials"])
    return longer and new.settings["tuner"] != "hyperband"


def changed_versions(old: StudyMeta, new: StudyMeta) -> list[tuple[str, str, str]]:
    """Return (name, before, after) of each package that was updated since the last run."""
    before, after = old.versions[-1], new.versions[-1]
    return [(name, before[name], after[name]) for name in after if before[name] != after[name]]


def _options(old: StudyMeta, new: StudyMeta, longer: Callable[[int], bool]) -> Iterator[str]:
    same_weights = old.weights.get("digest") == new.weights.get("digest")
    for key, after in new.settings.items():
        before, allowed = old.settings.get(key, after), OPTIONS[key].continued  # rows have fewer
        if before == after or allowed in ("free", "space", "looks"):
            continue  # `continued_looks` checks the options of looks
        if allowed == "weights" and same_weights:
            continue
        words = ""
        if allowed == "longer":
            if longer(before):
                continue
            more = "cannot be removed" if after < before else "would begin differently"
            words = f" (trials of searches {more})"
        yield f"`{key}` {before} -> {after}{words}"


def _space(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    """Yield the keys of the search space that differ; skip optimizers of only one study."""
    if old.space["fingerprint"] == new.space["fingerprint"]:
        return
    before, after = set(old.optimizers), set(new.optimizers)
    for name in sorted(before - after):
        yield f"search space: optimizer {name} is missing"
    if new.settings["allocation"] == "joint":  # one search tries all optimizers
        for name in sorted(after - before):
            yield f"search space: optimizer {name} is added to a joint search"
    was, now = (_keys(one.space["table"], before & after) for one in (old, new))
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) != now.get(key):
            values = (shown(keys[key]) if key in keys else "nothing" for keys in (was, now))
            yield f"search space: {key} {' -> '.join(values)}"


def _keys(space: Mapping[str, Any], optimizers: set[str]) -> dict[str, Any]:
    """Return the table of a search space, cut to some optimizers, with dotted keys."""

    def flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            if isinstance(value, Mapping) and value:  # an empty table keeps its own key
                yield from flat(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    tables = space.get("optimizers", {})
    kept = {name: table for name, table in tables.items() if name in optimizers}
    return dict(flat({**space, "optimizers": kept}, ""))


def _code(old: StudyMeta, new: StudyMeta, recorded: set[str]) -> Iterator[str]:
    """Yield the user's optimizers whose code is not the code of their runs."""
    for name in sorted(old.code.keys() & new.code.keys() & recorded):
        before, after = old.code[name], new.code[name]
        digests = before["digest"][:12], after["digest"][:12]
        if before["digest"] != after["digest"]:
            yield f"code of {name} in {after['file']} {' -> '.join(digests)}"
        elif bool(before["alone"]) != bool(after["alone"]):
            yield f"{name} is trained {'alone' if after['alone'] else 'with others'} now"


def _versions(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    for name, before, after in changed_versions(old, new):
        if name in COMPUTES and before.split(".")[:2] != after.split(".")[:2]:
            yield f"{name} {before} -> {after}"


def _tables(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    """Yield differences of data, weights and device."""
    if old.white_points != new.white_points:  # the same images would have other features
        before, after = (_points(meta.white_points) for meta in (old, new))
        yield f"white points of deep grey {before} -> {after}"
    size, asked = old.device["population"], new.settings["population"]
    if None not in (size, asked) and size != asked:  # it decides how results are rounded
        yield f"`population` {size} -> {asked}"
    for words, table, key in (
        (f"{new.noun}s" if old.noun == new.noun else "data", "data", "fingerprint"),
        ("weights", "weights", "digest"),
        ("device", "device", "kind"),
        ("arithmetic", "device", "dtype"),
    ):
        was, now = (getattr(meta, table).get(key) for meta in (old, new))
        if was != now:
            yield f"{words} {str(was)[:12]} -> {str(now)[:12]}"


def _points(points: Mapping[str, Mapping[str, float]]) -> str:
    words = (f"{kind} {one['black']:g} to {one['white']:g}" for kind, one in points.items())
    return ", ".join(words) or "none"


def _splits(old: StudyMeta, new: StudyMeta) -> Iterator[str]:
    """Yield what divides the data differently although nothing else has changed."""
    shared = old.split_digests.keys() & new.split_digests.keys()
    if any(old.split_digests[key] != new.split_digests[key] for key in shared):
        before, after = (_together(meta) for meta in (old, new))
        yield f"what stays on one side of a split: {before} -> {after} (`near_duplicates`)"


def _together(meta: StudyMeta) -> str:
    near, same = sum(map(len, meta.data.get("near_copies", []))), meta.data.get("same_pixels", 0)
    found = {f"{near} near-duplicates": near, f"{same} files of equal pixels": same}
    return " and ".join(words for words, count in found.items() if count) or "files of equal bytes"
