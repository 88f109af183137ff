"""Search trials -> what each hyperparameter does: importance, slices.

Hyperband trains some trials ten times as long as others, so their values cannot be compared
directly. A trial is therefore scored by the share of the other trials of its search that it beats
after the same number of epochs.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from study.common.aliases import Value
from study.records.outcomes import chance, score
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.space.domains import ONE_MINUS, argument_of, turned

BINS = 6
FEWEST = 20  # scored trials for a statement about a hyperparameter
WIDE = 30.0  # largest / smallest choice from which a set of numbers needs a logarithmic axis


class ScoredTrial(NamedTuple):
    """One search run and the share of its rivals that it beats."""

    values: Mapping[str, Value]
    beaten: float


class Importance(NamedTuple):
    """Share of the differences between trials that one hyperparameter alone explains, 0 to 1."""

    optimizers: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    share: Float[np.ndarray, "optimizers hyperparameters"]  # NaN where an optimizer lacks one


class Slice(NamedTuple):
    """How well one optimizer does over the values of one numeric hyperparameter."""

    optimizer: str
    values: Float[np.ndarray, " bins"]  # medians of the bins
    beaten: Float[np.ndarray, " bins"]  # mean share of the other trials that are beaten


class Range(NamedTuple):
    """Where the search space lets one number vary."""

    low: float
    high: float
    log: bool


class Slices(NamedTuple):
    """The slices of all optimizers for one numeric hyperparameter."""

    hyperparameter: str  # "1 - X" where the search space has one_minus_X
    across: Range  # over all these optimizers
    lines: tuple[Slice, ...]


def score_trials(meta: StudyMeta, records: Iterable[TrialRecord]) -> dict[str, list[ScoredTrial]]:
    """Score each search run among those of its search with the same epochs, by optimizer."""
    guess = chance(meta.metric, meta.class_counts)
    groups: dict[tuple[str, int, int], list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.phase is Phase.SEARCH and record.status is not TrialStatus.FAILED:
            groups[record.optimizer, record.repeat, record.epochs].append(record)
    found: dict[str, list[ScoredTrial]] = {name: [] for name in meta.optimizers}
    for (name, _, _), runs in groups.items():
        if len(runs) > 1:
            scores = np.array([score(run, guess) for run in runs])
            below = (scores[:, None] > scores).sum(axis=1)
            level = (scores[:, None] == scores).sum(axis=1) - 1
            shares = ((below + level / 2) / (len(runs) - 1)).tolist()
            pairs = zip(runs, shares, strict=True)
            found.setdefault(name, []).extend(ScoredTrial(r.hyperparameters, s) for r, s in pairs)
    return {name: scored for name, scored in found.items() if scored}


def importance(scored: Mapping[str, Sequence[ScoredTrial]]) -> Importance | None:
    """Return the share of variance by optimizer and hyperparameter (omega squared).

    None for fewer than two hyperparameters: one alone cannot be weighed against any other.
    """
    tuned = {name: keys for name, trials in scored.items() if (keys := _tuned(trials))}
    keys = list(dict.fromkeys(key for own in tuned.values() for key in own))
    if len(keys) < 2:
        return None
    share = np.full((len(tuned), len(keys)), np.nan)
    for row, (name, own) in enumerate(tuned.items()):
        for key in own:
            share[row, keys.index(key)] = _explained(scored[name], key)
    order = np.argsort(-np.nansum(share, axis=0), kind="stable")
    return Importance(tuple(tuned), tuple(keys[i] for i in order), share[:, order])


def _tuned(trials: Sequence[ScoredTrial]) -> list[str]:
    """Return the hyperparameters with several values and enough trials, in their usual order."""
    values: dict[str, list[Value]] = {}
    for trial in trials:
        for key, value in trial.values.items():
            values.setdefault(key, []).append(value)
    return [key for key, v in values.items() if len(v) >= FEWEST and len(set(v)) > 1]


def _explained(trials: Sequence[ScoredTrial], key: str) -> float:
    having = [trial for trial in trials if key in trial.values]
    beaten = np.array([trial.beaten for trial in having])
    groups = [beaten[group] for group in _bins([trial.values[key] for trial in having])]
    inside = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    total = float(((beaten - beaten.mean()) ** 2).sum())
    if not total or len(beaten) <= len(groups):
        return math.nan
    mean_square = inside / (len(beaten) - len(groups))
    return max(0.0, (total - inside - (len(groups) - 1) * mean_square) / (total + mean_square))


def _bins(values: Sequence[Value]) -> list[Int[np.ndarray, " _"]]:
    """Return the places of each value; many different numbers go into `BINS` equal groups."""
    distinct = set(values)
    if len(distinct) <= BINS or not all(map(_is_number, distinct)):
        texts = np.array([str(value) for value in values])
        return [np.flatnonzero(texts == str(value)) for value in sorted(distinct, key=str)]
    order = np.argsort(np.array([float(v) for v in values]), kind="stable")
    return np.array_split(order, BINS)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def slices(
    scored: Mapping[str, Sequence[ScoredTrial]], space: Mapping[str, Any], without: Iterable[str]
) -> list[Slices]:
    """Return an entry for each tuned number that is not in `without`, shared ones first.

    Args:
        scored: trials by optimizer.
        space: the table of the search space; of a key `one_minus_X`, 1 - X is shown.
        without: hyperparameters with figures of their own.
    """
    found: dict[str, list[Slice]] = defaultdict(list)
    for name, trials in scored.items():
        for key in ranges(space, [name]):
            having = [trial for trial in trials if argument_of(key) in trial.values]
            values = [turned(key, trial.values[argument_of(key)]) for trial in having]
            if key not in without and len(values) >= FEWEST and len(set(values)) > 2:
                beaten = np.array([trial.beaten for trial in having])
                found[key].append(_slice(name, np.array(values, float), beaten))
    across = ranges(space, scored)
    ordered = sorted(found, key=lambda key: -len(found[key]))
    return [
        Slices(key.replace(ONE_MINUS, "1 - "), across[key], tuple(found[key])) for key in ordered
    ]


def _slice(
    name: str, values: Float[np.ndarray, " trials"], beaten: Float[np.ndarray, " trials"]
) -> Slice:
    groups = _bins(values.tolist())
    groups.sort(key=lambda group: float(np.median(values[group])))
    return Slice(
        name,
        np.array([np.median(values[group]) for group in groups]),
        np.array([beaten[group].mean() for group in groups]),
    )


def ranges(space: Mapping[str, Any], optimizers: Iterable[str]) -> dict[str, Range]:
    """Return where each tuned number of these optimizers may vary, by its key in the space.

    A value that one schedule fixes belongs to the range of the others.
    """
    own = (space.get("optimizers", {}).get(name, {}) for name in optimizers)
    found: dict[str, Range] = {}
    for entry in (space.get("head", {}), *space.get("schedules", {}).values(), *own):
        for key, given in entry.items():
            if one := _range(given):
                low, high, log = found.get(key, one)
                found[key] = Range(min(low, one.low), max(high, one.high), log or one.log)
    return {key: one for key, one in found.items() if one.low < one.high}


def _range(given: Any) -> Range | None:
    """Return the range of an entry of the search space; None for words, switches and lists."""
    entry = given if isinstance(given, Mapping) else {"choices": [given]}
    values = entry.get("choices") or [entry["min"], entry["max"]]
    if not all(map(_is_number, values)):
        return None
    low, high = float(min(values)), float(max(values))
    wide = low > 0 and high / low > WIDE  # a set has no scale of its own
    return Range(low, high, wide if "choices" in entry else entry.get("scale") == "log")
