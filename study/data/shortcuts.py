"""Whether how images are stored predicts their class: format, mode, size, depth of grey.

A model may then learn the camera, the program or the archive instead of the content. The guess from
one such fact is the class of most other images of equal format (mode, ...); others, because images
that are one unit in `Examples.units`, such as copies, do not count for each other. So a size that
only one image has predicts nothing, and data whose sizes vary freely raise no doubt.

A fact is reported if it leaves at most half of the errors of always predicting the largest class,
or if it finds a class with an F1 score of 90 %. Chance must explain neither: its probability, by
the bound of Chernoff for a binomial number of units, is at most 0.1 %. It takes ten units in two
equal classes to reach that.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from study.common.text import first_few
from study.data.image_set import ImageSet

ERRORS_LEFT = 0.5
FOUND = 0.9  # F1 of one class
CHANCE = 0.001


class Guess(NamedTuple):
    """How well a fact predicts the classes."""

    fact: str  # "format"
    accuracy: float  # of guessing from it
    found: tuple[int, ...]  # classes that it predicts
    strong: bool  # whether `accuracy` is far above the largest class's share, and not by chance


def shortcuts(images: ImageSet) -> list[str]:
    """Return a sentence for each fact that predicts a class."""
    largest = int(np.bincount(images.labels).argmax())
    share = float(np.mean(images.labels == largest))
    return [
        f"{_claim(guess, images.class_names)} (always predicting {images.class_names[largest]}: "
        f"{share:.0%}); {_by_class(guess.fact, images)}; a model may learn that instead of the "
        "content"
        for guess in _guesses(images)
        if guess.strong or guess.found
    ]


def _guesses(images: ImageSet) -> Iterator[Guess]:
    """Yield a guess for each fact; of two ways to compare sizes the better one."""

    def guess(fact: str, values: Iterable[Hashable]) -> Guess:
        return guess_from(fact, list(values), images.labels, images.units)

    headers = images.headers
    yield guess("format", (its.format for its in headers))
    mode = guess("mode", (its.mode for its in headers))
    yield mode
    if not (mode.strong or mode.found):
        yield guess("depth", images.depths)
    exact = guess("size", (its.size for its in headers))
    rough = guess("size", (_rough(its.size) for its in headers))
    yield max(exact, rough, key=lambda one: (one.strong, len(one.found), one.accuracy))


def _rough(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in steps of a factor of the square root of 2."""
    width, height = (round(2 * math.log2(side)) for side in size)
    return width, height


def guess_from(
    fact: str,
    values: Sequence[Hashable],
    labels: Int[np.ndarray, " N"],
    units: Int[np.ndarray, " N"],
) -> Guess:
    """Guess every class from the images whose `fact` has an equal value, in other units."""
    counts = np.bincount(labels)
    if len(set(values)) < 2:
        return Guess(fact, float(counts.max()) / len(labels), (), strong=False)
    guesses = _guessed(values, labels.tolist(), units.tolist())
    total, number, most = len(labels), len(set(units.tolist())), int(counts.max())
    right = np.sum(np.where(guesses < 0, counts.argmax(), guesses) == labels)
    share, accuracy = most / total, float(right) / total
    strong = (
        1 - accuracy <= ERRORS_LEFT * (1 - share) and _chance(number, accuracy, share) <= CHANCE
    )
    guessed = np.bincount(guesses[guesses >= 0], minlength=len(counts))
    hits = np.bincount(labels[guesses == labels], minlength=len(counts))
    found = tuple(
        int(label)
        for label in np.flatnonzero(2 * hits >= FOUND * (guessed + counts))
        if guessed[label]
        and _chance(
            guessed[label] * number / total, hits[label] / guessed[label], counts[label] / total
        )
        <= CHANCE
    )
    several = most < total
    return Guess(fact, accuracy, found if several else (), strong and several)


def _guessed(
    values: Sequence[Hashable], labels: Sequence[int], units: Sequence[int]
) -> Int[np.ndarray, " N"]:
    """Return the class of most images of equal value in other units; -1 if there is no such one.

    The time grows with the images, however many classes there are.
    """
    having: dict[Hashable, Counter[int]] = defaultdict(Counter)
    in_unit: dict[tuple[Hashable, int], Counter[int]] = defaultdict(Counter)
    for value, unit, label in zip(values, units, labels, strict=True):
        having[value][label] += 1
        in_unit[value, unit][label] += 1
    ranked = {value: counts.most_common() for value, counts in having.items()}
    answers = {}
    for (value, unit), own in in_unit.items():
        others = ((count, label) for label, count in ranked[value] if label not in own)
        left = [(having[value][label] - count, label) for label, count in own.items()]
        first, second = sorted([*islice(others, 2), *left, (0, -1), (0, -1)], reverse=True)[:2]
        answers[value, unit] = first[1] if first[0] > second[0] else -1
    return np.array([answers[key] for key in zip(values, units, strict=True)])


def _chance(number: float, fraction: float, share: float) -> float:
    """Bound the probability that `fraction` of `number` draws are right, if each is by `share`."""
    if fraction <= share:
        return 1.0
    divergence = fraction * math.log(fraction / share)
    if fraction < 1:
        divergence += (1 - fraction) * math.log((1 - fraction) / (1 - share))
    return math.exp(-number * divergence)


def _claim(guess: Guess, names: Sequence[str]) -> str:
    if guess.strong or len(guess.found) == len(names):
        return f"the {guess.fact} alone predicts the class of {guess.accuracy:.0%} of the images"
    found = first_few(names[label] for label in guess.found)
    return f"the {guess.fact} alone distinguishes {found} from the others"


def _by_class(fact: str, images: ImageSet) -> str:
    """Return the values of the first classes."""
    if fact == "depth":
        values: list[Any] = [depth or "8 bits" for depth in images.depths]
    else:
        values = [getattr(header, fact) for header in images.headers]
    say: Callable[[Iterable[Any]], str] = _sizes if fact == "size" else _tally
    of_class: list[list[Any]] = [[] for _ in images.class_names]
    for label, value in zip(images.labels.tolist(), values, strict=True):
        of_class[label].append(value)
    found = zip(images.class_names, of_class, strict=True)
    return first_few(f"{name} {say(those)}" for name, those in found)


def _tally(values: Iterable[str]) -> str:
    return " and ".join(f"{value} {count:,}" for value, count in Counter(values).most_common(3))


def _sizes(sizes: Iterable[tuple[int, int]]) -> str:
    ranges = ((min(sides), max(sides), median(sides)) for sides in zip(*sizes, strict=True))
    return " x ".join(
        f"{low}" if low == high else f"{low} to {high} (median {middle:.0f})"
        for low, high, middle in ranges
    )
