"""`Examples` -> units that never part, and draws of them, class by class.

Rows of equal content, of one group and of near copies are one unit: a copy of a training image
among the validation images would be an answer learned by heart. Content that lies in several
classes cannot be judged right, so it is trained on and never evaluated, nor is what belongs to it.
"""

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.seeds import draw_of
from study.common.text import printable
from study.data.examples import Examples

DRAWS = 100


class Unit(NamedTuple):
    """Rows that never part."""

    rows: list[int]
    labels: frozenset[int]


def units_of(examples: Examples) -> list[Unit]:
    """What may be evaluated, in the order of first rows: nothing with a content of two classes."""
    rows: dict[int, list[int]] = defaultdict(list)
    label_of: dict[str, int] = {}
    several: set[str] = set()  # contents of two classes
    labels, seen = examples.labels.tolist(), examples.seen
    alone = [frozenset((label,)) for label in range(len(examples.class_names))]
    for row, unit in enumerate(examples.units.tolist()):
        rows[unit].append(row)
        if label_of.setdefault(seen[row], labels[row]) != labels[row]:
            several.add(seen[row])
    return [
        Unit(
            members,
            alone[labels[members[0]]]
            if len(members) == 1
            else frozenset(labels[row] for row in members),
        )
        for members in rows.values()
        if not several or several.isdisjoint(seen[row] for row in members)
    ]


def drawn(
    examples: Examples, units: list[Unit], fraction: float, *, leave: int, seed: int, part: str
) -> list[int]:
    """About `fraction` of every class's rows, at least one unit, and at least `leave` stay.

    Where units have several classes a draw may leave a class out, and another one is tried.

    Raises:
        UserError: none of `DRAWS` gives every class something.
    """
    classes = len(examples.class_names)
    for number in range(DRAWS):
        stream = number * (classes + 1)  # of the first draw 0, as where no unit has several classes
        chosen = _draw_once(
            examples, units, fraction, leave=leave, seed=seed, part=part, stream=stream
        )
        if len(np.unique(examples.labels[chosen])) == classes:
            return chosen
    raise UserError(
        f"{printable(examples.source)}: too many groups have {examples.noun}s of several classes: "
        f"no {part} set was found that has something of each class and leaves enough to train on; "
        f"make the groups smaller, add {examples.noun}s of others, or try another `seed`"
    )


def _draw_once(
    examples: Examples,
    units: list[Unit],
    fraction: float,
    *,
    leave: int,
    seed: int,
    part: str,
    stream: int,
) -> list[int]:
    """One draw with the random streams from `stream` on.

    Units of several classes go first, for their own share; then each class draws the rest from
    units of its own, with a stream of its own.
    """
    stay = Counter(label for unit in units for label in unit.labels)
    across = draw_of(seed, part, stream + len(examples.class_names))
    chosen = _across(examples, units, fraction, leave=leave, rng=across, stay=stay)
    taken = Counter(examples.labels[chosen].tolist())
    every = np.bincount(examples.labels, minlength=len(examples.class_names))
    owned: dict[int, list[list[int]]] = defaultdict(list)
    for unit in units:
        if len(unit.labels) == 1:
            owned[min(unit.labels)].append(unit.rows)
    for label, count in enumerate(every.tolist()):
        own = owned[label]
        target = _target(count, fraction) - taken[label]
        rng = draw_of(seed, part, stream + label)
        most = min(stay[label] - leave, len(own))
        chosen += _draw(own, target, most=most, some=not taken[label], rng=rng)
    return chosen


def _across(
    examples: Examples,
    units: list[Unit],
    fraction: float,
    *,
    leave: int,
    rng: np.random.Generator,
    stay: Counter[int],
) -> list[int]:
    """Of the units of several classes about `fraction` of their rows; `stay` counts down.

    A class without units of its own gets at least one.
    """
    wide = [unit for unit in units if len(unit.labels) > 1]
    counts = [Counter(examples.labels[unit.rows].tolist()) for unit in wide]
    free = Counter(examples.labels[[row for unit in units for row in unit.rows]].tolist())
    every = Counter(examples.labels.tolist())
    targets = {  # of all rows of a class the part that such units hold of what may be drawn
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

    def spare(number: int) -> bool:
        return all(stay[label] > leave for label in wide[number].labels)

    for number in list(order):
        fits = all(taken[label] + n <= targets[label] for label, n in counts[number].items())
        if fits and spare(number):
            take(number)
    for label in sorted(targets.keys() - alone):
        having = [number for number in order if label in wide[number].labels and spare(number)]
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


def require(examples: Examples, units: list[Unit], parts: str) -> None:
    """Every class needs a unit for each part."""
    needed = 3 if "test" in parts else 2
    having = Counter(label for unit in units for label in unit.labels)
    for label, name in enumerate(examples.class_names):
        if having[label] >= needed:
            continue
        what = f"different {'one' if having[label] == 1 else 'ones'} of its own"
        mend = f"add {examples.noun}s or remove the class"
        if examples.grouped:
            what = "group that never parts" if having[label] == 1 else "groups that never part"
            mend = f"add {examples.noun}s of others, remove the class, or make the groups smaller"
        raise UserError(
            f"class {name} in {printable(examples.source)} has too few {examples.noun}s: "
            f"{having[label]} {what}, but {parts} need at least {needed}; {mend}"
        )
