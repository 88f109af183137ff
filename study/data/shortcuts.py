"""Whether how images are stored tells their class: format, mode, size, depth of grey.

A model may then learn the camera, the program or the archive in place of what is to be seen. The
guess from one such fact is what most other images of equal format (mode, ...) are; others, because
images that stand together in `Examples.units`, such as copies, do not vouch for each other. So a
size that only one image has tells nothing, and data whose sizes vary freely raise no doubt.

Named is a fact that leaves at most half of the errors of always saying the largest class, or that
finds a class with an F1 score of 90 %. Both must be out of reach of luck: their chance, by the
bound of Chernoff for a binomial number of units, is at most 0.1 %. It takes ten units in two
equal classes to say so much.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from study.common.text import first_few
from study.data.image_set import ImageSet

ERRORS_LEFT = 0.5
FOUND = 0.9  # F1 of one class
LUCK = 0.001
NAMED = 5  # classes in one sentence


class Guess(NamedTuple):
    """What a fact says of the classes."""

    fact: str  # "format"
    accuracy: float  # of guessing from it
    told: tuple[int, ...]  # classes that are found by it
    strong: bool  # whether `accuracy` is far above the largest class's share, and not by luck


def shortcuts(images: ImageSet) -> list[str]:
    """Sentences, one for each fact that tells a class."""
    largest = int(np.bincount(images.labels).argmax())
    share = float(np.mean(images.labels == largest))
    return [
        f"{_claim(guess, images.class_names)} (always saying {images.class_names[largest]}: "
        f"{share:.0%}); {_by_class(guess.fact, images)}; a model may learn that in place of what "
        "is to be seen"
        for guess in _guesses(images)
        if guess.strong or guess.told
    ]


def _guesses(images: ImageSet) -> Iterator[Guess]:
    """One for each fact; of two ways to compare sizes the one that says more."""
    headers = images.headers
    yield guess_from("format", [its.format for its in headers], images.labels, images.units)
    mode = guess_from("mode", [its.mode for its in headers], images.labels, images.units)
    yield mode
    if not (mode.strong or mode.told):
        yield guess_from("depth", images.depths, images.labels, images.units)
    sizes = ([its.size for its in headers], [_rough(its.size) for its in headers])
    yield max(
        (guess_from("size", size, images.labels, images.units) for size in sizes),
        key=lambda guess: (guess.strong, len(guess.told), guess.accuracy),
    )


def guess_from(
    fact: str, values: Sequence[Hashable], labels: np.ndarray, units: np.ndarray
) -> Guess:
    """Guess every class from the images of equal value in other units.

    Args:
        fact: what the values are.
        values: N.
        labels: (N,) int32.
        units: (N,) int32; images of one number stand together.
    """
    having: dict[Hashable, Counter[int]] = defaultdict(Counter)
    in_unit: dict[tuple[Hashable, int], Counter[int]] = defaultdict(Counter)
    rows = list(zip(values, units.tolist(), labels.tolist(), strict=True))
    for value, unit, label in rows:
        having[value][label] += 1
        in_unit[value, unit][label] += 1
    said = {key: _most(having[key[0]] - own) for key, own in in_unit.items()}
    counts = Counter(label for _, _, label in rows)
    largest, most = counts.most_common(1)[0]
    guesses = [(said[value, unit], label) for value, unit, label in rows]
    right = sum((largest if guess is None else guess) == label for guess, label in guesses)
    share, accuracy = most / len(rows), right / len(rows)
    number = len(set(units.tolist()))
    strong = 1 - accuracy <= ERRORS_LEFT * (1 - share) and _chance(number, accuracy, share) <= LUCK
    told = tuple(
        label
        for label, count in sorted(counts.items())
        if _is_found(guesses, label, count / len(rows), number / len(rows))
    )
    return Guess(fact, accuracy, told if len(counts) > 1 else (), strong and len(counts) > 1)


def _most(counts: Counter[int]) -> int | None:
    """The class of most images; None if there is no image, or no single such class."""
    first = counts.most_common(2)
    if not first or (len(first) == 2 and first[0][1] == first[1][1]):
        return None
    return first[0][0]


def _is_found(
    guesses: Sequence[tuple[int | None, int]], label: int, share: float, weight: float
) -> bool:
    """Whether a class of this share is found; an image counts as `weight` units."""
    named = sum(guess == label for guess, _ in guesses)
    hits = sum(guess == label == its for guess, its in guesses)
    count = share * len(guesses)
    if not named or 2 * hits / (named + count) < FOUND:
        return False
    return _chance(named * weight, hits / named, share) <= LUCK


def _chance(number: float, part: float, share: float) -> float:
    """At most so likely are `part` or more of `number` draws right, if each is by `share`."""
    if part <= share:
        return 1.0
    divergence = part * math.log(part / share)
    if part < 1:
        divergence += (1 - part) * math.log((1 - part) / (1 - share))
    return math.exp(-number * divergence)


def _rough(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height in steps of a factor of the square root of 2."""
    width, height = (round(2 * math.log2(side)) for side in size)
    return width, height


def _claim(guess: Guess, names: Sequence[str]) -> str:
    if guess.strong or len(guess.told) == len(names):
        return f"the {guess.fact} alone tells the class of {guess.accuracy:.0%} of the images"
    told = first_few((names[label] for label in guess.told), NAMED)
    return f"the {guess.fact} alone tells {told} from the others"


def _by_class(fact: str, images: ImageSet) -> str:
    """What the first classes have."""
    say: Callable[[list[int]], str] = {
        "format": lambda rows: _tally(images.headers[row].format for row in rows),
        "mode": lambda rows: _tally(images.headers[row].mode for row in rows),
        "depth": lambda rows: _tally(images.depths[row] or "8 bits" for row in rows),
        "size": lambda rows: _sizes([images.headers[row].size for row in rows]),
    }[fact]
    found = (
        f"{name} {say(np.flatnonzero(images.labels == label).tolist())}"
        for label, name in enumerate(images.class_names)
    )
    return first_few(found, NAMED)


def _tally(values: Iterable[str]) -> str:
    return " and ".join(f"{value} {count:,}" for value, count in Counter(values).most_common(3))


def _sizes(sizes: Sequence[tuple[int, int]]) -> str:
    sides = zip(*sizes, strict=True)
    return " x ".join(_range(side) for side in sides)


def _range(sides: Sequence[int]) -> str:
    low, high = min(sides), max(sides)
    return f"{low}" if low == high else f"{low} to {high} (median {median(sides):.0f})"
