"""Best values at the edge of their range: there the search space decides, not the optimizer."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from study.common.aliases import Value
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase
from study.report.analysis.winners import Settings
from study.report.analysis.wording import number
from study.space.domains import argument_of, turned

EDGE = 0.04  # of a range, on its own scale

# Ends that no range can leave: nothing is dropped or smoothed, or the rate does not fall at all.
NATURAL = {("dropout", -1): 0.0, ("label_smoothing", -1): 0.0, ("final_factor", 1): 1.0}


def edges(
    meta: StudyMeta, settings: Iterable[Settings], diverging: Collection[str] = ()
) -> Iterator[str]:
    """A sentence for each hyperparameter whose best values lie at an edge in most repeats.

    Nobody is told to raise the learning rate of those in `diverging`: what is above is no better.
    An untuned run says nothing of a range.
    """
    table = meta.space.get("table")
    if not isinstance(table, Mapping):
        return
    for found in settings:
        if found.run.phase is Phase.DEFAULT:
            continue
        for key, spec in _ranges(table, found):
            values = [v for s in found.by_repeat.values() if (v := _sampled(s, key)) is not None]
            sides = [_side(value, spec) for value in values]
            for side, word, wider in ((-1, "lower", "lower it"), (1, "upper", "raise it")):
                if (key, side) == ("learning_rate", 1) and found.optimizer in diverging:
                    continue
                limit = spec["min" if side < 0 else "max"]
                if NATURAL.get((key, side)) != limit and 2 * sides.count(side) > len(sides):
                    yield (
                        f"{found.optimizer}: the best {key} ({_values(values)}) is at the "
                        f"{word} edge of its range, {number(limit)}; {wider} and search again."
                    )


def _values(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _ranges(table: Mapping[str, Any], found: Settings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    schedule = found.values.get("schedule", "")
    for part in (
        table.get("optimizers", {}).get(found.optimizer, {}),
        table.get("head", {}),
        table.get("schedules", {}).get(schedule, {}),
    ):
        for key, spec in part.items():
            if isinstance(spec, Mapping) and "min" in spec and "max" in spec:
                yield key, spec


def _sampled(values: Mapping[str, Value], key: str) -> float | None:
    """The value as it was sampled."""
    value = values.get(argument_of(key))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(turned(key, value))


def _side(value: float, spec: Mapping[str, Any]) -> int:
    """-1 at the lower edge, 1 at the upper, 0 inside."""
    low, high = float(spec["min"]), float(spec["max"])
    if spec.get("scale") == "log" and low > 0 and value > 0:
        low, high, value = math.log(low), math.log(high), math.log(value)
    if high <= low:
        return 0
    place = (value - low) / (high - low)
    return -1 if place < EDGE else 1 if place > 1 - EDGE else 0
