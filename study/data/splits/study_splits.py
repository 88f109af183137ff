"""The splits of all runs of a study: one test set, fresh training and validation rows.

The test part of divided data is the test set as it is: nothing of it is drawn, and its content is
never trained or validated on.
"""

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from study.common.errors import UserError
from study.common.seeds import derive_seed
from study.common.text import counted, first_few, join, points
from study.data.examples import Examples
from study.data.files.class_folders import TEST, VALIDATION
from study.data.image_set import ImageSet
from study.data.splits.one_split import (
    Split,
    folders_split,
    keras_split,
    set_aside_test,
    stratified_split,
    unlisted_by_keras,
)
from study.data.splits.units import units_of

FRACTION = 0.2  # of the examples validate, and as many test, unless another fraction is asked for
FEW = 10  # examples to judge by


class Splits:
    """The rows of every run: one test set, and fresh training and validation rows."""

    def __init__(
        self,
        examples: Examples,
        *,
        split: str = "stratified",
        validation_split: float = FRACTION,
        test_split: float = FRACTION,
        seed: int = 1,
        split_seed: int = 12,
    ) -> None:
        """Draw the test set; without options as a search does without options.

        Args:
            examples: what to divide.
            split: "stratified", or one split for everything: "keras" for Keras's, "folders" for
                that of divided data.
            validation_split: fraction of all examples outside a test part, above 0 to below 1.
            test_split: fraction of all examples, 0 to below 1; ignored if there is a test part.
            seed: of the study; every stratified split has a stream of its own.
            split_seed: of Keras's split.

        Raises:
            UserError: a class has too few examples, or `split` does not suit them.
        """
        self.examples, self.seed = examples, seed
        self.validation_split, self.test_split = validation_split, test_split
        self.split = split
        self._made: dict[tuple[str | int, ...], Split] = {}
        self.fixed: Split | None = None
        if split == "keras":
            self.fixed = keras_split(_of_folders(examples), validation_split, seed=split_seed)
        elif split == "folders":
            self.fixed = folders_split(examples)
        else:
            self.pool = _outside_test(examples)  # rows to draw from
        self.given_test = TEST in examples.parts
        if self.given_test or split == "folders":
            self.test = examples.of_part(TEST)
        else:
            self.test = set_aside_test(examples, test_split, seed=derive_seed(seed, "test"))

    @cached_property
    def _pooled(self) -> Examples:
        return self.examples.only(self.pool)

    @property
    def learners(self) -> Int32[np.ndarray, " n"]:
        """Rows that are trained on in any split, in ascending order."""
        if self.fixed is not None:
            return np.unique(self.fixed.train)
        return np.setdiff1d(self.pool, self.test)

    def __call__(self, purpose: str, repeat: int, number: int = 0) -> Split:
        """Return the split for run `number` of a repeat; `purpose`: "search" or "confirm"."""
        if self.fixed is not None:
            return self.fixed
        key = (purpose, repeat, number) if number else (purpose, repeat)
        if key not in self._made:
            self._made[key] = self._drawn(derive_seed(self.seed, "split", *key))
        return self._made[key]

    def _drawn(self, seed: int) -> Split:
        if not self.given_test:
            return stratified_split(self.examples, self.test, self.validation_split, seed=seed)
        none = np.array([], dtype=np.int32)
        drawn = stratified_split(self._pooled, none, self.validation_split, seed=seed)
        return Split(self.pool[drawn.train], self.pool[drawn.validation], self.test)

    @property
    def origin(self) -> str:
        """Where the rows come from, in words."""
        names = self.examples.part_names
        noun, part_noun = self.examples.noun, self.examples.part_noun
        if self.split == "keras":
            return f"Keras's own, the same for all repeats{self._beside_keras()}"
        if self.split == "folders":
            listed = ", ".join(names.values())
            return f"the {part_noun}s {listed} as they are, the same for all repeats"
        pool = " and ".join(name for part, name in names.items() if part != TEST)
        drawn = f"training and validation {noun}s are drawn afresh for every repeat"
        drawn += f" from {pool}" if pool else ""
        judged = sum(len(unit.rows) for unit in units_of(self._pooled))
        if never := len(self.pool) - judged:
            drawn += f"; {never:,} {noun}s with content of several classes are only trained on"
        if not self.given_test:
            return drawn
        return (
            f"the test set is the {part_noun} {names[TEST]} as it is, so `test_split` does not "
            f"apply; {drawn}"
        )

    def _beside_keras(self) -> str:
        """Return how many images Keras would not list, in words."""
        others = unlisted_by_keras(_of_folders(self.examples))
        if not others:
            return ""
        return (
            f"; but Keras itself would leave out {counted(len(others), 'image')}, such as "
            f"{Path(others[0]).name}, which are divided apart by the same rule"
        )

    def warnings(self, *, several: bool) -> list[str]:
        """Return warnings: what folders or Keras let leak, what a stratified split leaves out.

        There may be `several` repeats.
        """
        found = self._left_out() if self.fixed is None else self._of_fixed(self.fixed, several)
        return [*found, *self._small(), *self._weightless(), *self.examples.without_test()]

    def _of_fixed(self, split: Split, several: bool) -> Iterator[str]:
        owner = "Keras's" if self.split == "keras" else f"the {self.examples.part_noun}s'"
        yield from self._on_several_sides(split, f"{owner} split")
        for part, rows in (("training", split.train), ("validation", split.validation)):
            if missing := ", ".join(self.examples.classes_without(rows)):
                yield f"{owner} split leaves no {part} {self.examples.noun} of {missing}"
        if several:
            yield (
                f"with `split` {self.split} all repeats share one split, so the intervals ignore "
                "variation between splits; `split` stratified draws a fresh one for each repeat"
            )

    def _left_out(self) -> Iterator[str]:
        """Yield how many test examples have copies, or belong to examples, that are left out."""
        seen, units = self.examples.seen, self.examples.units.tolist()
        test = self.examples.of_part(TEST).tolist()
        tested = {seen[row] for row in test}
        others = set(range(len(units))).difference(self.pool.tolist(), test)
        copies = {row for row in others if seen[row] in tested}
        yield from self._apart(test, copies, seen, "copies")
        grouped = any(self.examples.groups)
        kin = f"{self.examples.noun}s of the same group" if grouped else "near-duplicates"
        kin += " or near-duplicates" if grouped and self.examples.near else ""
        yield from self._apart(test, others - copies, units, kin)

    def _apart(
        self, test: list[int], left_out: set[int], keys: Sequence[Hashable], what: str
    ) -> Iterator[str]:
        """Yield how many test examples share a key with those left out, in words."""
        if not left_out:
            return
        partner = {keys[row]: row for row in sorted(left_out, reverse=True)}
        both = [row for row in test if keys[row] in partner]
        examples, first = self.examples, partner[keys[both[0]]]
        places = {examples.parts[row] for row in left_out}
        names = join([name for part, name in examples.part_names.items() if part in places])
        these = "this one is" if len(left_out) == 1 else f"these {len(left_out):,} are"
        pair = f"{examples.name_of(both[0])} and {examples.name_of(first)}"
        yield (
            f"{counted(len(both), f'test {examples.noun}')} {'has' if len(both) == 1 else 'have'} "
            f"{what} in {names}, such as {pair}: {these} left out there"
        )

    def _small(self) -> Iterator[str]:
        """Yield which parts are too small to learn from or to judge by, and whether by groups."""
        now, noun, asked = self("search", 0), self.examples.noun, [0.0, 0.0]
        if self.fixed is None:
            asked[0] = self.validation_split * len(self.pool)
            asked[1] = 0 if self.given_test else self.test_split * len(self.pool)
        for part, rows, wanted in zip(("validation", "test"), now[1:], asked, strict=True):
            groups = self.examples.grouped and 2 * len(rows) < wanted
            if len(rows) and (len(rows) < FEW or groups):
                why = f" ({wanted:.0f} were asked for, but groups stay whole)" if groups else ""
                yield (
                    f"only {counted(len(rows), f'{part} {noun}')}{why}: one is "
                    f"{points(1 / len(rows))} % of them"
                )
        counts = np.bincount(self.examples.labels[now.train]).tolist()
        names = zip(self.examples.class_names, counts, strict=False)
        if single := [name for name, count in names if count == 1]:
            yield f"only 1 training {noun} of {first_few(single)}"

    def _weightless(self) -> Iterator[str]:
        """Yield the classes that the first repeat cannot learn, since their weights are 0."""
        examples, weights, lost = self.examples, self.examples.sample_weight, dict[int, None]()
        if weights is None:
            return
        for purpose in ("search", "confirm"):
            rows = self(purpose, 0).train
            labels = examples.labels[rows]
            lost |= dict.fromkeys(np.setdiff1d(labels, labels[weights[rows] > 0]).tolist())
        if lost:
            names = ", ".join(examples.class_names[label] for label in lost)
            yield (
                f"all training {examples.noun}s of {names} weigh 0 in a split, so its heads do not "
                "learn them"
            )

    def _on_several_sides(self, split: Split, owner: str) -> Iterator[str]:
        """Yield how many copies, and examples that belong together, are divided, in words."""
        seen, units, noun = self.examples.seen, self.examples.units, self.examples.noun
        train, validation, test = ({seen[row] for row in part} for part in split)
        if both := train & validation:
            yield f"on both sides of {owner}: {counted(len(both), noun)}"
        if both := test & (train | validation):
            yield (
                f"copied outside the test {self.examples.part_noun}: "
                f"{counted(len(both), f'test {noun}')}, so the test accuracy is too high; `split` "
                "stratified leaves these copies out"
            )
        if self.examples.grouped:
            learned, judged, tested = (set(units[part].tolist()) for part in split)
            if divided := len((learned & judged) | (tested & (learned | judged))):
                yield (
                    f"on several sides of {owner}: {counted(divided, 'group')} of {noun}s that "
                    "belong together, so what is measured is too high; `split` stratified keeps "
                    "each on one"
                )


def _of_folders(examples: Examples) -> ImageSet:
    if isinstance(examples, ImageSet):
        return examples
    raise UserError(
        f"`split` keras is for a folder of images, but {examples.source} is not one: "
        "use `split` stratified"
    )


def _outside_test(examples: Examples) -> Int32[np.ndarray, " n"]:
    """Return the rows that are neither in the test part nor belong to what is."""
    tested = examples.units[examples.of_part(TEST)]
    rows = np.flatnonzero(~np.isin(examples.units, tested)).astype(np.int32)
    if lost := examples.classes_without(rows):
        noun, divided = examples.noun, VALIDATION in examples.parts
        kept = ", or keep them as they are with `split` folders" if divided else ""
        raise UserError(
            f"all {noun}s of {', '.join(lost)} outside the test {examples.part_noun} of "
            f"{examples.source} are copies of test {noun}s or belong to them, so there "
            f"is nothing to train on: divide the data again{kept}"
        )
    return rows
