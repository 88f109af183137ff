"""`Examples` -> units that are never divided, and draws of them, class by class.

Rows of equal content, of one group and of near-duplicates are one unit: a copy of a training image
among the validation images would be an answer learned by heart. Content that is in several classes
cannot be classified correctly, so it is trained on and never evaluated, nor is what belongs to it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.seeds import draw_of
from study.common.text import counted
from study.data.examples import Examples

DRAWS = 100

Stream = Callable[[int], np.random.Generator]  # of a class; after the last one: of several classes


class Unit(NamedTuple):
    """Rows that are never divided."""

    rows: list[int]
    labels: frozenset[int]


def units_of(examples: Examples) -> list[Unit]:
    """Return the units that may be evaluated, by first rows: no content of several classes."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, unit in enumerate(examples.units.tolist()):
        rows[unit].append(row)
    labels = examples.labels.tolist()
    alone = [frozenset((label,)) for label in range(len(examples.class_names))]  # shared: memory
    never = {row for group in examples.in_several_classes() for row in group}
    return [
        Unit(
            members,
            alone[labels[members[0]]]
            if len(members) == 1
            else frozenset(labels[row] for row in members),
        )
        for members in rows.values()
        if not never or never.isdisjoint(members)
    ]


def require(examples: Examples, units: Sequence[Unit], parts: str) -> None:
    """Refuse examples of which a class has fewer units than there are parts."""
    needed = 3 if "test" in parts else 2
    having = Counter(label for unit in units for label in unit.labels)
    noun, count = examples.noun, len(examples.class_names)
    few = [label for label in range(count) if having[label] < needed]
    for label in few[:1]:
        name = examples.class_names[label]
        what = f"{counted(having[label], f'distinct {noun}')} of its own"
        fix = f"add {noun}s or remove the class"
        if examples.grouped:
            what = f"{counted(having[label], 'group')} of {noun}s that stay together"
            fix = f"add {noun}s of other groups or remove the class"
            fix += ", or make the groups smaller" if any(examples.groups) else ""
            if near := [rows for rows in examples.near if label in examples.labels[list(rows)]]:
                pair = " and ".join(examples.name_of(row) for row in near[0][:2])
                fix += f", or give `near_duplicates` keep if {noun}s such as {pair} are different"
        others = f" ({len(few) - 1:,} more have too few, too)" if few[1:] else ""
        raise UserError(
            f"class {name} in {examples.source} has {what}, but {parts} need at least "
            f"{needed}: {fix}{others}"
        )


def drawn(
    examples: Examples, units: Sequence[Unit], fraction: float, *, leave: int, seed: int, part: str
) -> list[int]:
    """Draw about `fraction` of every class's rows: at least one unit, and at least `leave` stay.

    If units have several classes, a draw may lack a class, and another one is tried.

    Raises:
        UserError: none of `DRAWS` has every class.
    """
    classes = len(examples.class_names)
    for number in range(DRAWS):

        def stream(label: int, first: int = number * (classes + 1)) -> np.random.Generator:
            return draw_of(seed, part, first + label)

        chosen = _draw_once(examples, units, fraction, leave=leave, stream=stream)
        if len(np.unique(examples.labels[chosen])) == classes:
            return chosen
    keep = "give `near_duplicates` keep if near-duplicates are different images"
    fix = "make the groups smaller" if any(examples.groups) else keep
    raise UserError(
        f"{examples.source}: too many groups have {examples.noun}s of several classes: "
        f"no {part} set was found that has every class and leaves enough to train on; {fix}, "
        f"add {examples.noun}s of other groups, or try another `seed`"
    )


def _draw_once(
    examples: Examples, units: Sequence[Unit], fraction: float, *, leave: int, stream: Stream
) -> list[int]:
    """Draw units of several classes first, for their own share; then each class draws its own."""
    every = np.bincount(examples.labels, minlength=len(examples.class_names)).tolist()
    stay = Counter(label for unit in units for label in unit.labels)
    chosen = _across(examples, units, fraction, leave=leave, rng=stream(len(every)), stay=stay)
    taken = Counter(examples.labels[chosen].tolist())
    owned: dict[int, list[list[int]]] = defaultdict(list)
    for unit in units:
        if len(unit.labels) == 1:
            owned[min(unit.labels)].append(unit.rows)
    for label, count in enumerate(every):
        own = owned[label]
        target = _target(count, fraction) - taken[label]
        most = min(stay[label] - leave, len(own))
        chosen += _draw(own, target, most=most, some=not taken[label], rng=stream(label))
    return chosen


def _across(
    examples: Examples,
    units: Sequence[Unit],
    fraction: float,
    *,
    leave: int,
    rng: np.random.Generator,
    stay: Counter[int],
) -> list[int]:
    """Draw from the units of several classes about `fraction` of their rows; `stay` counts down.

    A class without units of its own gets at least one.
    """
    wide = [unit for unit in units if len(unit.labels) > 1]
    counts = [Counter(examples.labels[unit.rows].tolist()) for unit in wide]
    free = Counter(examples.labels[[row for unit in units for row in unit.rows]].tolist())
    every = Counter(examples.labels.tolist())
    targets = {  # the fraction of all rows of a class that wide units hold of those to draw from
        label: _target(every[label] * count / free[label], fraction)
        for label, count in sum(counts, Counter[int]()).items()
    }
    alone = {label for unit in units if len(unit.labels) == 1 for label in unit.labels}
    taken: Counter[int] = Counter()
    chosen: list[int] = []
    order = rng.permutation(len(wide)).tolist()

    def take(number: int) -> None:
        order.remove(number)
        stay.subtract(wide[number].labels)
        taken.update(counts[number])
        chosen.extend(wide[number].rows)

    def may_go(number: int) -> bool:
        return all(stay[label] > leave for label in wide[number].labels)

    for number in list(order):
        fits = all(taken[label] + n <= targets[label] for label, n in counts[number].items())
        if fits and may_go(number):
            take(number)
    for label in sorted(targets.keys() - alone):
        having = [number for number in order if label in wide[number].labels and may_go(number)]
        if not taken[label] and having:
            take(min(having, key=lambda number: len(wide[number].rows)))
    return chosen


def _draw(
    units: list[list[int]], target: int, *, most: int, some: bool, rng: np.random.Generator
) -> list[int]:
    """Draw at most `most` units at random until `target` rows, or a unit nearer to it.

    With `some` at least one: if all are larger, any that is not twice as large as the smallest.
    """
    rows: list[int] = []
    drawn = 0
    larger = []
    for number in rng.permutation(len(units)):
        if drawn < most and len(rows) + len(units[number]) <= target:
            rows += units[number]
            drawn += 1
        else:
            larger.append(units[number])
    short = target - len(rows)
    near = [unit for unit in larger if len(unit) - short < short] if drawn < most else []
    if near:
        return rows + near[0]
    if rows or not some or not units or most < 1:
        return rows
    least = min(map(len, units))
    return next(unit for unit in larger if len(unit) < 2 * least)


def _target(count: float, fraction: float) -> int:
    return max(1, int(fraction * count + 0.5 + 1e-9))
