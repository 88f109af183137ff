"""N labelled examples, images or rows of numbers: all that dividing them needs."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int, Int32

from study.common.text import counted


@dataclass(frozen=True, kw_only=True)
class Examples:
    """N examples in C classes, and which of them belong together."""

    source: Path  # the folder or file that they come from
    labels: Int32[np.ndarray, " N"]
    class_names: tuple[str, ...]  # C; printable
    digests: tuple[str, ...]  # N sha256 of what was read, hex
    contents: tuple[str, ...] = ()  # N digests, equal where a model sees the same; empty: `digests`
    parts: tuple[str, ...] = ()  # N of divided data: "train", "validation" or "test"
    part_names: Mapping[str, str] = field(default_factory=dict)  # part -> what the user calls it
    groups: tuple[str, ...] = ()  # N names of groups; "": none
    sample_weight: Float32[np.ndarray, " N"] | None = None  # in the training loss; None: all are 1
    near: tuple[tuple[int, ...], ...] = ()  # groups of rows that are near-duplicates
    notes: tuple[str, ...] = ()  # how the data were understood, in words
    noun: str = "image"  # what sentences call an example
    part_noun: str = "folder"  # what sentences call the thing that holds a part of divided data

    def of_part(self, part: str) -> Int32[np.ndarray, " n"]:
        """Return the rows of a part of divided data."""
        return np.array([row for row, its in enumerate(self.parts) if its == part], np.int32)

    def missing_in(self, part: str) -> list[str]:
        """Return the names of the classes without examples in a part; none if there is no part."""
        return self.classes_without(self.of_part(part)) if part in self.parts else []

    def classes_without(self, rows: Int[np.ndarray, " n"]) -> list[str]:
        """Return the names of the classes of which none of the rows is."""
        present = set(self.labels[rows].tolist())
        return [name for label, name in enumerate(self.class_names) if label not in present]

    def without_test(self) -> list[str]:
        """Return a sentence if the test part lacks a class."""
        names = ", ".join(self.missing_in("test"))
        return [f"the test {self.part_noun} has no {self.noun} of {names}"] if names else []

    def only(self, rows: Int32[np.ndarray, " n"]) -> "Examples":
        """Return the examples `rows`, undivided."""
        place = {int(row): at for at, row in enumerate(rows)}
        near = ([place[row] for row in members if row in place] for members in self.near)

        def chosen(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[row] for row in rows) if values else ()

        return Examples(
            source=self.source,
            labels=self.labels[rows],
            class_names=self.class_names,
            digests=chosen(self.digests),
            contents=chosen(self.contents),
            groups=chosen(self.groups),
            near=tuple(tuple(members) for members in near if len(members) > 1),
            noun=self.noun,
            part_noun=self.part_noun,
        )

    @property
    def seen(self) -> Sequence[str]:
        """N digests that are equal where a model sees the same."""
        return self.contents or self.digests

    @property
    def copies(self) -> int:
        """Number of examples with the content of an earlier one."""
        return len(self.seen) - len(set(self.seen))

    @property
    def grouped(self) -> bool:
        """Whether different contents belong together."""
        return bool(self.near) or any(self.groups)

    def name_of(self, row: int) -> str:
        """Return the name of an example in sentences and tables: its number in the file, from 0."""
        return f"row {row}"

    def in_several_classes(self) -> list[list[int]]:
        """Return groups of rows with the same content in different classes."""
        first: dict[str, int] = {}
        labels = zip(self.seen, self.labels.tolist(), strict=True)
        several = {one for one, label in labels if first.setdefault(one, label) != label}
        found: dict[str, list[int]] = defaultdict(list)
        for row, one in enumerate(self.seen):
            if one in several:
                found[one].append(row)
        return list(found.values())

    @property
    def fate_of_conflicts(self) -> str:
        """What a stratified split does with content in several classes, in words."""
        tested = set(self.units[self.of_part("test")].tolist())
        judged = [int(self.units[rows[0]]) in tested for rows in self.in_several_classes()]
        keeps = f"judges in the test {self.part_noun} and leaves out elsewhere"
        if all(judged):
            return f"which a stratified split {keeps}"
        some = f", but for {counted(sum(judged), 'group')}, which it {keeps}" if any(judged) else ""
        return f"which a stratified split only trains on{some}"

    @cached_property
    def units(self) -> Int32[np.ndarray, " N"]:
        """Numbers that are equal for examples that are never divided.

        Equal contents, the examples of a group, and near-duplicates are joined, by chains of these.
        """
        groups = [rows for rows in _equal(self.groups) if self.groups[rows[0]]]
        joined = [*_equal(self.seen), *groups, *self.near]
        pairs = [(rows[0], row) for rows in joined for row in rows[1:]]
        return components(len(self.labels), np.array(pairs, np.int64).reshape(-1, 2))

    @property
    def fingerprint(self) -> str:
        """Sha256 over all that a study takes from the data: equal for equal data."""
        content = [self.class_names, self.labels.tolist(), self.digests]
        content += [self.parts] if self.parts else []
        content += [["groups", *self.groups]] if any(self.groups) else []
        if self.sample_weight is not None:
            content += [["sample_weight", *self.sample_weight.tolist()]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _equal(values: Iterable[Hashable]) -> Iterable[list[int]]:
    """Return the rows of each value."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        found[value].append(row)
    return found.values()


def components(count: int, pairs: Int[np.ndarray, "P 2"]) -> Int32[np.ndarray, " N"]:
    """Return for each of `count` rows the first row that chains of pairs join it with."""
    from scipy.sparse import coo_array  # here, since it is too slow to load for --help
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(count, count))
    _, number = connected_components(graph, directed=False)
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32)
