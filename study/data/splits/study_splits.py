"""The splits of all runs of a study: one test set, fresh training and validation rows.

The test folder of a divided data set is the test set as it stands: nothing of it is drawn, and its
content is never trained or validated on.
"""

from collections.abc import Iterator

import numpy as np

from study.common.errors import UserError
from study.common.seeds import derive_seed
from study.common.text import counted, printable
from study.data.examples import Examples
from study.data.files.class_folders import TEST
from study.data.image_set import ImageSet
from study.data.splits.one_split import (
    Split,
    folders_split,
    keras_split,
    set_aside_test,
    stratified_split,
)
from study.data.splits.units import units_of


class Splits:
    """The rows of every run: one test set, and fresh training and validation rows.

    Args:
        examples: what to divide.
        split: "stratified", or one assignment for everything: "keras" for Keras's, "folders" for
            that of a divided folder.
        validation_split: part of all images outside a test folder, above 0 to below 1.
        test_split: part of all images, 0 to below 1; not heeded where there is a test folder.
        seed: of the study; every stratified split has a stream of its own.
        split_seed: of Keras's assignment.

    Raises:
        UserError: a class has too few images, or `split` does not suit the folder.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        split: str,
        validation_split: float,
        test_split: float,
        seed: int,
        split_seed: int,
    ) -> None:
        self.examples, self.validation_split, self.seed = examples, validation_split, seed
        self.split = split
        self._made: dict[tuple[str, int, int], Split] = {}
        self.fixed: Split | None = None
        if split == "keras":
            self.fixed = keras_split(_of_folders(examples), validation_split, seed=split_seed)
        elif split == "folders":
            self.fixed = folders_split(examples)
        self.given_test = TEST in examples.parts  # where divided data have it
        if self.fixed is None:
            self.pool = _outside_test(examples)  # (n_pool,) rows to draw from
            self._pooled = examples.only(self.pool)
        if self.given_test or split == "folders":
            self.test = examples.of_part(TEST)  # (n_test,)
        else:
            self.test = set_aside_test(examples, test_split, seed=derive_seed(seed, "test"))

    @property
    def learners(self) -> np.ndarray:
        """(n,) rows that are trained on in any split, in rising order."""
        if self.fixed is not None:
            return np.unique(self.fixed.train)
        return np.setdiff1d(self.pool, self.test)

    def __call__(self, purpose: str, repeat: int, number: int = 0) -> Split:
        """The split of `purpose`, "search" or "confirm", in a repeat; of its run `number`."""
        if self.fixed is not None:
            return self.fixed
        key = (purpose, repeat, number)
        if key not in self._made:
            words = key if number else key[:2]
            self._made[key] = self._drawn(derive_seed(self.seed, "split", *words))
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
        folders = self.examples.part_names
        noun, part_noun = self.examples.noun, self.examples.part_noun
        if self.split == "keras":
            return "Keras's one assignment, the same for all repeats"
        if self.split == "folders":
            return (
                f"the {part_noun}s {', '.join(folders.values())} as they are, the same for all "
                "repeats"
            )
        names = [name for part, name in folders.items() if part != TEST]
        pool = f" from {' and '.join(names)}" if names else ""
        drawn = f"training and validation {noun}s are drawn anew for every repeat{pool}"
        judged = sum(len(unit.rows) for unit in units_of(self._pooled))
        if never := len(self.pool) - judged:
            drawn += (
                f"; {never:,} {noun}s of contents in several classes are trained on, never judged"
            )
        if self.given_test:
            return (
                f"the test set is the {part_noun} {folders[TEST]} as it is, so `test_split` does "
                f"not apply; {drawn}"
            )
        return drawn

    def warnings(self, *, several: bool) -> list[str]:
        """What a folder's or Keras's division lets happen, in words; none of a stratified split.

        Args:
            several: whether there is more than one repeat.
        """
        found = self._of_one_split(several) if self.fixed is not None else self._copies_of_test()
        return found + self.examples.without_test()

    def _copies_of_test(self) -> list[str]:
        count = len(self.examples.labels) - len(self.pool) - len(self.examples.of_part(TEST))
        if not count:
            return []
        tested = {self.examples.seen[row] for row in self.examples.of_part(TEST)}
        copies = sum(digest in tested for digest in self.examples.seen) - len(
            self.examples.of_part(TEST)
        )
        noun, others = self.examples.noun, f"the other {self.examples.part_noun}s"
        what = [f"as copies of test {noun}s: {copies} in {others}"] if copies else []
        if related := count - copies:
            what.append(f"because they belong to test {noun}s: {related} in {others}")
        return [f"left out of the study, {text}" for text in what]

    def _of_one_split(self, several: bool) -> list[str]:
        assert self.fixed is not None
        owner = f"the {self.examples.part_noun}s' split"
        owner = "Keras's split" if self.split == "keras" else owner
        found = [*self._on_both_sides(self.fixed, owner)]
        for part, rows in (("training", self.fixed.train), ("validation", self.fixed.validation)):
            present = set(self.examples.labels[rows].tolist())
            missing = [n for i, n in enumerate(self.examples.class_names) if i not in present]
            if missing:
                noun = self.examples.noun
                found.append(f"{owner} leaves no {part} {noun} of {', '.join(missing)}")
        if several:
            found.append(
                f"with `split` {self.split} all repeats share one split, so the intervals leave "
                "out the luck of the split; `split` stratified draws fresh ones"
            )
        return found

    def _on_both_sides(self, split: Split, owner: str) -> Iterator[str]:
        """Copies, and what belongs together, in words."""
        seen, units = self.examples.seen, self.examples.units
        noun = self.examples.noun
        train, validation, test = ({seen[row] for row in part} for part in split)
        if both := train & validation:
            yield f"{len(both)} {noun}s stand on both sides of {owner}"
        if both := test & (train | validation):
            yield (
                f"{len(both)} test {noun}s have copies outside the test "
                f"{self.examples.part_noun}, so the test accuracy is too high; `split` stratified "
                "leaves these copies out"
            )
        if self.examples.grouped:
            learned, judged, tested = (set(units[part].tolist()) for part in split)
            apart = len((learned & judged) | (tested & (learned | judged)))
            if apart:
                yield (
                    f"{counted(apart, 'group')} of {noun}s that belong together "
                    f"stand on several sides of {owner}, so what is measured is too high; `split` "
                    "stratified keeps them on one"
                )


def _of_folders(examples: Examples) -> ImageSet:
    """Keras's split is one of class folders."""
    if isinstance(examples, ImageSet):
        return examples
    raise UserError(
        f"`split` keras is that of a folder of images, and {printable(examples.source)} is none: "
        "use `split` stratified"
    )


def _outside_test(examples: Examples) -> np.ndarray:
    """Rows that are neither in the test part nor belong to what is."""
    tested = examples.units[examples.of_part(TEST)]
    rows = np.flatnonzero(~np.isin(examples.units, tested)).astype(np.int32)
    left = set(examples.labels[rows].tolist())
    lost = [name for label, name in enumerate(examples.class_names) if label not in left]
    if lost:
        raise UserError(
            f"all {examples.noun}s of {', '.join(lost)} outside the test {examples.part_noun} of "
            f"{printable(examples.source)} are copies of test {examples.noun}s or belong to them, "
            "so there is nothing to train on: divide the data anew, or keep them as they are with "
            "`split` folders"
        )
    return rows
