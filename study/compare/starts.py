"""Studies of several data sets by the same searches -> configurations to start from.

A random search proposes the same configurations to every study with its search space and seed, so
each of them was tried on every data set. For each optimizer, the one that loses least against
tuning, on average over the sets, is the configuration to start from. How far it is behind tuning is
judged by leaving one set out: it is chosen on all others and judged on that one, where nothing was
chosen by its result.

Both count with their values after the last epoch, since nobody who starts from a configuration
knows the best one; the configuration on a split of the searches, tuning on splits of the
confirmation. A set is one observation: Student's t on the differences, at the error rate of
`set_bounds` for this number of sets, divided by the number of optimizers. Choices on sets that
overlap are not independent: where they differ, no interval is given. How often an interval is false
is simulated by `tests/benchmarks/calibration.py`: of the collections of six or ten sets that have
any, 0.4 to 5.6 % have a false one, and 8 to 13 % if all configurations are equal.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from study.common.aliases import OPTIMIZER_NAME, Value
from study.common.text import number
from study.compare.data_sets import DataSet, with_results
from study.compare.searches import whole_trials
from study.compare.set_bounds import FEWEST_SETS, alpha_of
from study.records.outcomes import chance, confirmation_runs, converged, last_value
from study.records.study_meta import StudyMeta
from study.report.analysis.search_trials import TYPICAL
from study.report.analysis.summary import Summary
from study.space.domains import argument_of
from study.space.head_config import HEAD

FEWEST = 3  # data sets that can choose for each other
ALIKE = ("seed", "max_epochs", "trials", "base", "image_size", "preprocess", "views", "metric")
Configuration = tuple[tuple[str, Value], ...]  # hyperparameters in the order of their names


class Start(NamedTuple):
    """A configuration to start from. Fractions.

    Bounds are NaN for fewer than five data sets, and where not all choices are the same.
    """

    optimizer: str
    hyperparameters: Mapping[str, Value]
    tried: int  # configurations that every data set has
    agree: int  # of the choices on all sets but one, how many are this one
    value: float  # of configurations chosen without the set that judges them, mean over the sets
    behind: float  # tuning, likewise
    low: float
    high: float
    by_set: tuple[float, ...]  # behind tuning on each set


class Overall(NamedTuple):
    """The best configuration of any optimizer, chosen, too, on all sets but the one that judges."""

    optimizers: tuple[str, ...]  # chosen, without each set
    value: float
    behind: float  # tuning the same optimizer


class Starts(NamedTuple):
    """The configurations of all optimizers that were searched alike, the highest value first."""

    sets: tuple[str, ...] = ()
    found: tuple[Start, ...] = ()
    overall: Overall | None = None
    studies: tuple[StudyMeta, ...] = ()  # that searched them


class Tried(NamedTuple):
    """The configurations of one optimizer that were tried on all M data sets."""

    optimizer: str
    configurations: tuple[Configuration, ...]  # S
    values: Float[np.ndarray, "M S"]
    tuned: Float[np.ndarray, " M"]


def starting_points(sets: Sequence[DataSet]) -> Starts:
    """Return a configuration of each optimizer; none for fewer than three sets searched alike."""
    alike = _searched_alike(sets)
    if len(alike) < FEWEST:
        return Starts()
    studies = [found for _, found in alike]
    names = [
        name
        for name in studies[0][0].meta.optimizers
        if all(name in with_results(one) for found in studies for one in found)
        and OPTIMIZER_NAME.fullmatch(name)  # it names a file, and an archive may be anybody's
    ]
    tried = [one for name in names if (one := _tried(name, studies)) is not None]
    found = [start_of(one, len(names)) for one in tried]
    return Starts(
        sets=tuple(name for name, _ in alike),
        found=tuple(sorted(found, key=lambda one: -one.value)),
        overall=_overall(tried) if len(tried) > 1 else None,
        studies=tuple(study.meta for found in studies for study in found),
    )


def _searched_alike(sets: Sequence[DataSet]) -> list[tuple[str, list[Summary]]]:
    """Return data sets with their studies, of the searches that most data sets have in common."""
    groups: dict[str, list[tuple[str, list[Summary]]]] = defaultdict(list)
    for data in sets:
        own: dict[str, list[Summary]] = defaultdict(list)
        for study in data.studies:
            if study.meta.settings["tuner"] == "random":
                settings = {key: study.meta.settings.get(key) for key in ALIKE}
                inputs = [study.meta.data["features"], study.meta.weights.get("digest")]
                same = [study.meta.space["fingerprint"], settings, inputs]
                own[json.dumps(same, sort_keys=True)].append(study)
        for key, studies in own.items():
            groups[key].append((data.name, studies))
    return max(groups.values(), key=len, default=[])


def _tried(name: str, sets: Sequence[Sequence[Summary]]) -> Tried | None:
    each = [[_values(name, study) for study in found] for found in sets]
    shared = set.intersection(*(set(values) for found in each for values in found))
    configurations = tuple(sorted(shared, key=str))
    if not configurations:
        return None
    values = [[np.mean([one[s] for one in found]) for s in configurations] for found in each]
    tuned = [np.mean([_tuned(name, study) for study in found]) for found in sets]
    return Tried(name, configurations, np.array(values), np.array(tuned))


def start_of(one: Tried, optimizers: int) -> Start:
    """Return the configuration to start from of one of `optimizers` optimizers."""
    behind = one.tuned[:, None] - one.values
    rows = np.arange(len(behind))
    chosen = [int(np.delete(behind, row, axis=0).mean(axis=0).argmin()) for row in rows]
    best = int(behind.mean(axis=0).argmin())
    judged = behind[rows, chosen]
    agree = sum(place == best for place in chosen)
    mean, reach = float(judged.mean()), math.nan
    if agree == len(rows) >= FEWEST_SETS:
        error = float(judged.std(ddof=1)) / math.sqrt(len(rows))
        alpha = alpha_of(len(rows)) / (2 * optimizers)
        reach = float(stdtrit(len(rows) - 1, 1 - alpha)) * error
    return Start(
        optimizer=one.optimizer,
        hyperparameters=dict(one.configurations[best]),
        tried=len(one.configurations),
        agree=agree,
        value=float(one.values[rows, chosen].mean()),
        behind=mean,
        low=mean - reach,
        high=mean + reach,
        by_set=tuple(map(float, judged)),
    )


def _overall(tried: Sequence[Tried]) -> Overall:
    """Choose the optimizer, too, without the set that judges."""
    names, values, behind = [], [], []
    for left in range(len(tried[0].tuned)):
        means = [np.delete(one.values, left, axis=0).mean(axis=0) for one in tried]
        one, mean = max(zip(tried, means, strict=True), key=lambda pair: float(pair[1].max()))
        value = float(one.values[left, int(mean.argmax())])
        names.append(one.optimizer)
        values.append(value)
        behind.append(float(one.tuned[left]) - value)
    return Overall(tuple(names), float(np.mean(values)), float(np.mean(behind)))


def _tuned(name: str, study: Summary) -> float:
    """Return the value of the winners after their last epochs, mean over repeats."""
    own = [record for record in study.records if record.optimizer == name]
    found = defaultdict(list)
    for run in converged(confirmation_runs(own)):
        found[run.repeat].append(run.measured.validation[-1])
    return float(np.mean([np.mean(values) for values in found.values()]))


def _values(name: str, study: Summary) -> dict[Configuration, float]:
    """Return the value after the last epoch of each configuration that searches trained whole.

    Repeats have splits of their own: an easy one is no merit of the configurations that it drew.
    """
    guess, easier = chance(study.meta.metric, study.meta.class_counts), _easier(study)
    found = defaultdict(list)
    for record in whole_trials(study, study.records):
        if record.optimizer == name and not math.isnan(value := last_value(record, guess)):
            configuration = tuple(sorted(record.hyperparameters.items()))
            found[configuration].append(min(value - easier[record.repeat], 1.0))
    return {configuration: float(np.mean(values)) for configuration, values in found.items()}


def _easier(study: Summary) -> dict[int, float]:
    """Return by how much each repeat's search split is easier than their mean, from all trials."""
    guess = chance(study.meta.metric, study.meta.class_counts)
    found = defaultdict(list)
    for record in whole_trials(study, study.records):
        if not math.isnan(value := last_value(record, guess)):
            found[record.repeat].append(value)
    good = {repeat: float(np.quantile(values, TYPICAL)) for repeat, values in found.items()}
    return {repeat: one - float(np.mean(list(good.values()))) for repeat, one in good.items()}


def as_words(values: Mapping[str, Value]) -> str:
    """Return the hyperparameters of an optimizer and its head as a table has them."""
    of_head = [key for key in HEAD if values.get(key, HEAD[key].default) != HEAD[key].default]
    first = ("learning_rate", "schedule")
    others = [key for key in values if key not in HEAD and key not in first]
    return ", ".join(f"{key} {number(values[key], 3)}" for key in (*first, *others, *of_head))


def space_of(start: Start, meta: StudyMeta) -> str:
    """Return a search space with this configuration alone, as TOML."""
    table, values = meta.space["table"], start.hyperparameters
    own = table["optimizers"][start.optimizer]
    schedule = str(values["schedule"])
    return "\n".join(
        [
            f"# A configuration of {start.optimizer} to start from: the best over data sets",
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
