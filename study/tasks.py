"""What a run is before it is trained, and which rows it sees."""

from typing import NamedTuple

import numpy as np

from study.images import ImageSet
from study.options import Options
from study.records import Phase
from study.space import HeadConfig
from study.splits import Split, keras_split, set_aside_test, stratified_split
from study.tuner import derive_seed


class Task(NamedTuple):
    """A run that the protocol wants, before it was trained."""

    trial_id: str
    phase: Phase
    repeat: int
    config: HeadConfig
    epochs: int
    seed: int
    split: Split
    confirm: int | None = None
    continues: str | None = None  # trial_id
    initial_epoch: int = 0
    bracket: int | None = None
    round: int | None = None


class Splits:
    """The rows of every repeat: one test set, and fresh training and validation rows.

    With `--split keras` there is Keras's one assignment for everything.

    Raises:
        UserError: a class has too few images.
    """

    def __init__(self, images: ImageSet, options: Options) -> None:
        self.images, self.options = images, options
        self._made: dict[tuple[str, int], Split] = {}
        self.keras: Split | None = None
        if options.split == "keras":
            self.keras = keras_split(images, options.validation_split, seed=options.split_seed)
        seed = derive_seed(options.seed, "test")
        self.test = set_aside_test(images, options.test_split, seed=seed)  # (n_test,)

    def __call__(self, purpose: str, repeat: int) -> Split:
        """The split of `purpose`, "search" or "confirm", in a repeat."""
        if self.keras is not None:
            return self.keras
        if (purpose, repeat) not in self._made:
            self._made[purpose, repeat] = stratified_split(
                self.images,
                self.test,
                self.options.validation_split,
                seed=derive_seed(self.options.seed, "split", purpose, repeat),
            )
        return self._made[purpose, repeat]

    def warnings(self) -> list[str]:
        """What Keras's assignment lets happen, in words; a stratified split prevents it."""
        if self.keras is None:
            return []
        found = []
        train, validation = self.keras.train, self.keras.validation
        digests = self.images.digests
        both = {digests[row] for row in train} & {digests[row] for row in validation}
        if both:
            found.append(f"{len(both)} images stand on both sides of Keras's split")
        for part, rows in (("training", train), ("validation", validation)):
            present = set(self.images.labels[rows].tolist())
            missing = [n for i, n in enumerate(self.images.class_names) if i not in present]
            if missing:
                found.append(f"Keras's split leaves no {part} image of {', '.join(missing)}")
        if self.options.repeats > 1:
            found.append(
                "with --split keras all repeats share one split, so the intervals leave out the "
                "luck of the split; --split stratified draws fresh ones"
            )
        return found


class Data(NamedTuple):
    """What the heads are trained on."""

    features: np.ndarray  # (N, 512) float32
    labels: np.ndarray  # (N,) int32
    n_classes: int
    splits: Splits
