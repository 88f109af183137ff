"""N labelled examples, images or rows of numbers: all that dividing them asks for."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Examples:
    """N examples in C classes, and which of them belong together."""

    source: Path  # the folder or file that they come from
    labels: np.ndarray  # (N,) int32
    class_names: tuple[str, ...]  # C; printable
    digests: tuple[str, ...]  # N sha256 of what was read, hex
    contents: tuple[str, ...] = ()  # N digests, equal where a model sees the same; empty: `digests`
    parts: tuple[str, ...] = ()  # N of divided data: "train", "validation" or "test"
    part_names: Mapping[str, str] = field(default_factory=dict)  # part -> what the user calls it
    groups: tuple[str, ...] = ()  # N names of whom an example is about; "": of nobody else
    near: tuple[tuple[int, ...], ...] = ()  # rows that are nearly the same image, two or more each
    notes: tuple[str, ...] = ()  # how the data were understood, in words
    noun: str = "image"  # what sentences call one of them
    part_noun: str = "folder"  # and what holds a part of divided data

    def of_part(self, part: str) -> np.ndarray:
        """The rows of a part of divided data, int32."""
        rows = [row for row, its in enumerate(self.parts) if its == part]
        return np.array(rows, dtype=np.int32)

    def missing_in(self, part: str) -> list[str]:
        """Names of the classes that have nothing in a part which the data have."""
        present = set(self.labels[self.of_part(part)].tolist())
        names = enumerate(self.class_names)
        return [name for label, name in names if part in self.parts and label not in present]

    def without_test(self) -> list[str]:
        """A sentence where a class has nothing in the test part."""
        missing = self.missing_in("test")
        names = ", ".join(missing)
        return [f"the test {self.part_noun} has no {self.noun} of {names}"] if missing else []

    def only(self, rows: np.ndarray) -> "Examples":
        """The examples `rows`, undivided."""
        place = {int(row): at for at, row in enumerate(rows)}
        near = ([place[row] for row in members if row in place] for members in self.near)
        return Examples(
            source=self.source,
            labels=self.labels[rows],
            class_names=self.class_names,
            digests=tuple(self.digests[row] for row in rows),
            contents=tuple(self.contents[row] for row in rows) if self.contents else (),
            groups=tuple(self.groups[row] for row in rows) if self.groups else (),
            near=tuple(tuple(members) for members in near if len(members) > 1),
            noun=self.noun,
            part_noun=self.part_noun,
        )

    @property
    def seen(self) -> Sequence[str]:
        """N digests that are equal where a model sees the same."""
        return self.contents or self.digests

    @property
    def grouped(self) -> bool:
        """Whether different contents belong together."""
        return bool(self.near) or any(self.groups)

    @cached_property
    def units(self) -> np.ndarray:
        """(N,) int32: examples of one number never part in a split.

        Joined are equal contents, those of one group, and near copies, by chains of these.
        """
        same = _rows_by_name((content, row) for row, content in enumerate(self.seen))
        whose = _rows_by_name((name, row) for row, name in enumerate(self.groups) if name)
        return _components(len(self.labels), [*same, *whose, *self.near])

    @property
    def fingerprint(self) -> str:
        """Sha256 over class names, labels, contents, parts and groups: equal for equal data."""
        content = [self.class_names, self.labels.tolist(), self.digests]
        content += [self.parts] if self.parts else []
        content += [["groups", *self.groups]] if any(self.groups) else []
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _rows_by_name(named: Iterable[tuple[str, int]]) -> Iterable[list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for name, row in named:
        found[name].append(row)
    return found.values()


def _components(count: int, together: Iterable[Sequence[int]]) -> np.ndarray:
    """(count,) int32: the first row of what each row is joined with, by chains."""
    first = list(range(count))

    def root(row: int) -> int:
        while first[row] != row:
            first[row] = first[first[row]]
            row = first[row]
        return row

    for members in together:
        for row in members[1:]:
            low, high = sorted((root(members[0]), root(row)))
            first[high] = low
    return np.array([root(row) for row in range(count)], dtype=np.int32)
