"""Studies of several data sets by the same searches -> a setting of each optimizer to start from.

A random search proposes the same configurations to every study with its search space and seed, so
each of them was tried on every data set. The one that loses least against tuning, on average over
the sets, is the setting to start from. How far it is behind tuning is judged by leaving one set
out: it is chosen on all others and judged on that one, where nothing was chosen by its result.

Both count with their values after the last epoch, since nobody who starts from a setting knows the
best one. A set is one observation: Student's t on
the differences, at the error rate of `set_bounds` for this number of sets, divided by the number
of optimizers. That takes the sets as independent, although two choices share all sets but two;
where most of them agree (`agree`) this matters little.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from study.common.aliases import Value
from study.common.text import number
from study.compare.data_sets import DataSet, with_results
from study.compare.set_bounds import FEWEST_SETS, alpha_of
from study.records.outcomes import chance, confirmation_runs, converged
from study.records.study_meta import StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.report.analysis.search_trials import TYPICAL
from study.report.analysis.summary import Summary
from study.space.domains import argument_of
from study.space.head_config import HEAD

Setting = tuple[tuple[str, Value], ...]  # hyperparameters in the order of their names


class Start(NamedTuple):
    """A setting to start from. Fractions; bounds are NaN for fewer than five data sets."""

    optimizer: str
    hyperparameters: Mapping[str, Value]
    tried: int  # settings that every data set has
    agree: int  # of the choices on all sets but one, how many are this one
    value: float  # of settings chosen without the set that judges them, mean over the sets
    behind: float  # tuning, likewise
    low: float
    high: float
    by_set: tuple[float, ...]  # behind tuning on each set


class Starts(NamedTuple):
    """The settings of all optimizers that were searched alike, the least behind tuning first."""

    sets: tuple[str, ...]
    found: tuple[Start, ...]
    studies: tuple[StudyMeta, ...]  # that searched them


def starting_points(sets: Sequence[DataSet]) -> Starts:
    """Return a setting of each optimizer; none for fewer than three sets searched alike."""
    alike = _searched_alike(sets)
    if len(alike) < 3:
        return Starts((), (), ())
    studies = list(alike.values())
    names = [
        name
        for name in studies[0][0].meta.optimizers
        if all(name in with_results(one) for found in studies for one in found)
    ]
    found = [_start(name, studies) for name in names]
    known = [_bounded(one, len(names)) for one in found if one is not None]
    return Starts(
        tuple(alike),
        tuple(sorted(known, key=lambda one: -one.value)),
        tuple(study.meta for found in studies for study in found),
    )


def _searched_alike(sets: Sequence[DataSet]) -> dict[str, list[Summary]]:
    """Return data set -> its studies, of the searches that most data sets have in common."""
    groups: dict[str, dict[str, list[Summary]]] = defaultdict(dict)
    for data in sets:
        for study in data.studies:
            settings = study.meta.settings
            if settings["tuner"] == "random":
                same = [settings[key] for key in ("seed", "max_epochs", "trials")]
                key = json.dumps([study.meta.space["fingerprint"], *same])
                groups[key].setdefault(data.name, []).append(study)
    return max(groups.values(), key=len, default={})


def _start(name: str, sets: Sequence[Sequence[Summary]]) -> Start | None:
    """Return the setting of one optimizer without bounds; None if no setting is on all sets."""
    each = [[_values(name, study) for study in found] for found in sets]
    shared = set.intersection(*(set(values) for found in each for values in found))
    settings = sorted(shared, key=str)
    if not settings:
        return None
    values = np.array(
        [[np.mean([one[s] for one in found]) for s in settings] for found in each]
    )  # (M, settings)
    tuned = np.array([np.mean([_tuned(name, study) for study in found]) for found in sets])  # (M,)
    behind = tuned[:, None] - values
    chosen = [int(np.delete(behind, i, axis=0).mean(axis=0).argmin()) for i in range(len(sets))]
    best = int(behind.mean(axis=0).argmin())
    judged = behind[np.arange(len(sets)), chosen]
    return Start(
        optimizer=name,
        hyperparameters=dict(settings[best]),
        tried=len(settings),
        agree=sum(one == best for one in chosen),
        value=float(values[np.arange(len(sets)), chosen].mean()),
        behind=float(judged.mean()),
        low=math.nan,
        high=math.nan,
        by_set=tuple(map(float, judged)),
    )


def _tuned(name: str, study: Summary) -> float:
    """Return the value of the winners after their last epochs, mean over repeats."""
    own = [record for record in study.records if record.optimizer == name]
    found = defaultdict(list)
    for run in converged(confirmation_runs(own)):
        found[run.repeat].append(run.measured.validation[-1])
    return float(np.mean([np.mean(values) for values in found.values()]))


def _values(name: str, study: Summary) -> dict[Setting, float]:
    """Return the value after the last epoch of each setting that a study's searches trained whole.

    Repeats have splits of their own: an easy one is no merit of the settings that it drew.
    """
    guess, easier = chance(study.meta.metric, study.meta.class_counts), _easier(study)
    found = defaultdict(list)
    for record in _whole_trials(study):
        if record.optimizer == name and not math.isnan(value := _last(record, guess)):
            setting = tuple(sorted(record.hyperparameters.items()))
            found[setting].append(value - easier[record.repeat])
    return {setting: float(np.mean(values)) for setting, values in found.items()}


def _easier(study: Summary) -> dict[int, float]:
    """Return by how much each repeat's search split is easier than their mean, from all trials."""
    guess = chance(study.meta.metric, study.meta.class_counts)
    found = defaultdict(list)
    for record in _whole_trials(study):
        if not math.isnan(value := _last(record, guess)):
            found[record.repeat].append(value)
    good = {repeat: float(np.quantile(values, TYPICAL)) for repeat, values in found.items()}
    return {repeat: one - float(np.mean(list(good.values()))) for repeat, one in good.items()}


def _whole_trials(study: Summary) -> Iterator[TrialRecord]:
    for record in study.records:
        whole = record.epochs == study.meta.settings["max_epochs"]
        if record.phase is Phase.SEARCH and whole:
            yield record


def _last(record: TrialRecord, guess: float) -> float:
    """Return the value of a run after its last epoch; `guess` if it diverged, NaN if it failed."""
    if record.status is TrialStatus.COMPLETED:
        return record.measured.validation[-1]
    return guess if record.status is TrialStatus.DIVERGED else math.nan


def _bounded(start: Start, optimizers: int) -> Start:
    """Add the bounds over data sets of this sort, which hold for all optimizers together."""
    count = len(start.by_set)
    if count < FEWEST_SETS:
        return start
    error = float(np.std(start.by_set, ddof=1)) / math.sqrt(count)
    reach = float(stdtrit(count - 1, 1 - alpha_of(count) / (2 * optimizers))) * error
    return start._replace(low=start.behind - reach, high=start.behind + reach)


def as_words(values: Mapping[str, Value]) -> str:
    """Return the settings of an optimizer and its head as a table has them."""
    of_head = [key for key in HEAD if values.get(key, HEAD[key].default) != HEAD[key].default]
    first = ("learning_rate", "schedule")
    others = [key for key in values if key not in HEAD and key not in first]
    return ", ".join(f"{key} {number(values[key], 3)}" for key in (*first, *others, *of_head))


def space_of(start: Start, meta: StudyMeta) -> str:
    """Return a search space with this setting alone, as TOML."""
    table, values = meta.space["table"], start.hyperparameters
    own = table["optimizers"][start.optimizer]
    schedule = str(values["schedule"])
    return "\n".join(
        [
            f"# A setting of {start.optimizer} to start from, the same on every data set.",
            "",
            *_table("head", {key: values[key] for key in HEAD if key in values}),
            *_table(
                f"schedules.{schedule}",
                {key: values[key] for key in table.get("schedules", {}).get(schedule, {})},
            ),
            *_table(
                f"optimizers.{start.optimizer}", {"class": own["class"]} | _arguments(own, values)
            ),
        ]
    )


def _arguments(own: Mapping[str, Value], values: Mapping[str, Value]) -> dict[str, Value]:
    names = [argument_of(key) for key in own if key not in ("class", "schedules")]
    return {key: values[key] for key in names if key in values}


def _table(name: str, values: Mapping[str, Value]) -> Iterator[str]:
    yield f"[{name}]"
    yield from (f"{key} = {json.dumps(value)}" for key, value in values.items())
    yield ""
