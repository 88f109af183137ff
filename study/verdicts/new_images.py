"""Predicted classes of confirmation runs -> how uncertain differences are on new images.

Repeats split the same images anew, so they cannot tell a lucky collection from a good optimizer.
Single images can: over all runs, how much does each image favour one optimizer of a pair? The
influence of image i on the value of run s is n times the derivative of the value with respect to
the image's weight (Hampel 1974); h is 1 for a hit and else 0, n the images that the run judges, C
the classes that count:

    accuracy            h - value
    balanced accuracy   n / C (h - recall_y) / n_y                  y: true class, n_y images of it
    macro F1            n / C (2 h / b_y - F_y / b_y - F_z / b_z)   z: predicted class, b: images of
                                                            a class plus images predicted as it

With T_g the sum of a pair's influences over the images of unit g (a group that is never divided,
else one image) and over runs, m_g the runs that judge g, G units and N images that any run judges:

    raw  = (sum T_g^2 / sum m_g^2) G^2 / (N^2 (G - 1))   of the mean difference, by image
    q^2  = max(0, w - u + raw)                           of one run's difference, beyond its images
    V    = raw + 4 / G^2 + q^2 max(0.15, 1.2 / t)
    half width = sqrt((c se)^2 + c_I^2 V)

w is the variance of the runs' differences within repeats, u the part of it that the images of one
run explain, c se as on these images, c_I the quantile with G - 1 degrees of freedom. Two quantiles,
one for each variance: Banerjee 1961. Influences per image: Bayle, Bayle, Janson and Mackey 2020;
runs as readers and images as cases: Gallas 2006. 4 / G^2 ("plus four") is for few images. The last
term allows for the training images, t a class, which are a random sample, too: the fewer there are,
the more of q^2 is theirs. Both are measured, not proven (`tests/benchmarks/pools.py`). Where all
runs judge the same images nothing is claimed.

A value is that of all images of a run together, as records have it: of two folds that are
cross-fitted, each image has the class that was predicted at the epoch chosen on the other fold.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy.special import stdtrit

from study.common.metrics import ACCURACY, BALANCED_ACCURACY, MACRO_F1
from study.records.predicted_classes import (
    Labelled,
    PredictedClasses,
    PredictedRun,
    lacks_classes,
)
from study.records.study_meta import Look, StudyMeta
from study.records.trial_record import Phase, TrialRecord, TrialStatus
from study.verdicts.bounds import Bounds, comparable, enough
from study.verdicts.looks import ALPHA, FEWEST_REPEATS

PLUS = 4.0  # units of influence 1 that are added
# Of a run's variance beyond its images this share stays with the collection; at t training images a
# class FEW / t, if that is more.
LEAST_SHARE, FEW = 0.15, 1.2


NOTHING = -1  # in place of a rival: value and influences are 0


class ConfirmationRun(NamedTuple):
    """One confirmation run of one repeat, by K optimizers that share its split."""

    repeat: int  # from 0
    rows: Integer[np.ndarray, " n"]  # images that are judged, each once
    predicted: Sequence[Integer[np.ndarray, " n"] | None]  # K; None: it did not converge


class NewImages(NamedTuple):
    """Variances of the pairs' differences; NaN where nothing can be claimed of new images."""

    raw: Float[np.ndarray, "K K"]  # of the mean difference, from its images
    training: Float[np.ndarray, "K K"]  # of the mean difference, from its training images
    units: Float[np.ndarray, "K K"]  # number of units that any run judges

    @classmethod
    def none(cls, count: int) -> "NewImages":
        """Return what is known without any predicted class."""
        return cls(*[np.full((count, count), math.nan) for _ in cls._fields])

    @property
    def variance(self) -> Float[np.ndarray, "K K"]:
        """The part of each pair's variance that further repeats do not shrink."""
        found: Float[np.ndarray, "K K"] = self.raw + PLUS / self.units**2 + self.training
        return found

    def half_width(self, bounds: Bounds, *, strict: bool = False) -> Float[np.ndarray, "K K"]:
        """Return by how much a difference on new images may exceed the measured one.

        With `strict` for all ordered pairs simultaneously, as in `Bounds.reach`.
        """
        here = bounds.reach(strict=strict) * bounds.error
        images = self._quantile(bounds, strict=strict) ** 2 * self.variance
        found: Float[np.ndarray, "K K"] = np.sqrt(here**2 + images)
        return found

    def high(self, bounds: Bounds) -> Float[np.ndarray, "K K"]:
        """Return by how much column is at most behind row on new images."""
        found: Float[np.ndarray, "K K"] = bounds.difference + self.half_width(bounds)
        return found

    def times_as_many(self, bounds: Bounds, margin: float) -> Float[np.ndarray, "K K"]:
        """Return how many times as many images bring c_I sqrt(V) down to `margin`, a fraction.

        raw and the training images' part fall with 1 / G, the plus four with 1 / G^2: a quadratic
        equation for G.
        """
        spread = self.units * (self.raw + self.training)
        ratio = (self._quantile(bounds) / margin) ** 2
        needed = (ratio * spread + np.sqrt((ratio * spread) ** 2 + 4 * PLUS * ratio)) / 2
        found: Float[np.ndarray, "K K"] = needed / self.units
        return found

    def _quantile(self, bounds: Bounds, *, strict: bool = False) -> Float[np.ndarray, "K K"]:
        """Return c_I: as `Bounds.reach`, with the degrees of freedom of the images."""
        return bounds._replace(freedom=self.units - 1).reach(strict=strict)


def judged_repeats(
    table: Float[np.ndarray, "K R"], spent: Bool[np.ndarray, "K R"], looks: Sequence[Look]
) -> Int[np.ndarray, "K K"]:
    """Return the repeats of the latest look at which `compared` judges each pair; 0: at none."""
    given = np.isfinite(table) & spent
    found = np.zeros((len(table), len(table)), int)
    for look in looks:
        reached = comparable(table, spent, look)
        until = given[:, : look.repeats].astype(int)
        found[reached[:, None] & reached & (until @ until.T >= enough(look))] = look.repeats
    np.fill_diagonal(found, 0)
    return found


class Evidence(NamedTuple):
    """All that a study knows of single images."""

    examples: Labelled
    metric: str
    training: float  # images a class that a run trains on
    runs: Sequence[ConfirmationRun]  # of any order


def evidence_of(
    meta: StudyMeta,
    optimizers: Sequence[str],
    records: Iterable[TrialRecord],
    known: PredictedClasses,
) -> Evidence | None:
    """Return what the confirmation runs among the records predict.

    None if a run lacks its predicted classes: without it a bound could be too narrow.
    """
    together: dict[tuple[int, int | None], dict[str, PredictedRun | None]] = defaultdict(dict)
    for record in records:
        if record.phase is not Phase.CONFIRM:
            continue
        if lacks_classes(record, known):
            return None
        converged = record.status is TrialStatus.COMPLETED
        run = known.of(record.trial_id) if converged else None
        together[record.repeat, record.confirm][record.optimizer] = run
    runs = []
    for (repeat, _), found in together.items():
        rows = next((run.rows for run in found.values() if run), None)
        if rows is not None:
            runs_of = [found.get(name) for name in optimizers]
            runs.append(ConfirmationRun(repeat, rows, [run and run.classes for run in runs_of]))
    if known.examples is None:
        return None
    training = meta.split_sizes["train"] / known.examples.classes
    return Evidence(known.examples, meta.metric, training, runs)


def new_images(evidence: Evidence, repeats: Int[np.ndarray, "K K"]) -> NewImages:
    """Return the variances of all pairs, each over the runs that converged for both.

    Memory: a few numbers per optimizer and image, however many runs there are.

    Args:
        evidence: of the study.
        repeats: number of repeats on which each pair is judged, as `judged_repeats` has it.
    """
    size, runs = len(repeats), evidence.runs
    found = NewImages.none(size)
    there = np.array([[one is not None for one in run.predicted] for run in runs], bool)
    there = there.reshape(len(runs), size)
    numbers = np.array([run.repeat for run in runs], int)
    alike: dict[bytes, list[tuple[int, int]]] = defaultdict(list)  # pairs on the same runs
    for one, other in itertools.combinations(range(size), 2):
        common = there[:, one] & there[:, other] & (numbers < repeats[one, other])
        alike[common.tobytes()].append((one, other))
    for key, pairs in alike.items():
        chosen = [run for run, of in zip(runs, np.frombuffer(key, bool), strict=True) if of]
        places = sorted({place for pair in pairs for place in pair})
        if not chosen:
            continue
        mine = _variances(evidence._replace(runs=chosen), places)
        where = {place: number for number, place in enumerate(places)}
        for one, other in pairs:
            for whole, part in zip(found, mine, strict=True):
                whole[one, other] = whole[other, one] = part[where[one], where[other]]
    return found


def value_interval(
    evidence: Evidence, optimizer: int, values: Float[np.ndarray, " R"]
) -> tuple[float, float, float]:
    """Return an optimizer's value and its 95 % interval on new images; NaN where unknown.

    As the bound of a pair, against a rival that is always 0, and two-sided.

    Args:
        evidence: of the study.
        optimizer: its index.
        values: its means by repeat; NaN where there is none. Runs of these repeats do not count.
    """
    there = np.isfinite(values)
    runs = [run for run in evidence.runs if there[run.repeat]]
    runs = [run for run in runs if run.predicted[optimizer] is not None]
    repeats, mean = int(there.sum()), float(values[there].mean()) if there.any() else math.nan
    if repeats < FEWEST_REPEATS:
        return mean, math.nan, math.nan
    found = _variances(evidence._replace(runs=runs), [optimizer, NOTHING])
    here = stdtrit(repeats - 1, 1 - ALPHA / 2) * values[there].std(ddof=1) / math.sqrt(repeats)
    images = stdtrit(found.units[0, 1] - 1, 1 - ALPHA / 2) * math.sqrt(found.variance[0, 1])
    half = math.hypot(here, images)
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)


def _variances(evidence: Evidence, places: Sequence[int]) -> NewImages:
    """Return the variances of all pairs of `places`, over runs that converged for all of them."""
    (labels, units_of, classes), metric, _, runs = evidence
    units = int(units_of.max()) + 1
    seen = np.zeros(len(labels), bool)
    judging = np.zeros(units)  # runs that judge each unit
    totals = np.zeros((len(places), units))  # influences, summed over runs
    values = np.empty((len(places), len(runs)))
    by_images = np.zeros((len(places), len(places)))
    for number, run in enumerate(runs):
        own = units_of[run.rows]
        seen[run.rows] = True
        here = np.bincount(own, minlength=units) > 0
        judging += here
        sums = np.empty_like(totals)
        for place, optimizer in enumerate(places):
            if optimizer == NOTHING:
                values[place, number] = sums[place] = 0.0
                continue
            predicted = run.predicted[optimizer]
            assert predicted is not None
            values[place, number], influence = value_and_influences(
                labels[run.rows], predicted, classes, metric
            )
            sums[place] = np.bincount(own, influence, units)
        totals += sums
        count = int(here.sum())
        correction = count / (count - 1) if count > 1 else math.nan
        by_images += correction * _squared_distances(sums) / len(run.rows) ** 2 / len(runs)
    judged, images = int((judging > 0).sum()), int(seen.sum())
    if judged < 2 or judging.sum() == judged * len(runs):  # all runs judge the same units
        return NewImages.none(len(places))
    raw = _squared_distances(totals) / (judging**2).sum() * judged**2 / (images**2 * (judged - 1))
    of_runs = _variance_within(
        values[:, None] - values[None], np.array([run.repeat for run in runs])
    )
    beyond = np.maximum(of_runs - by_images + raw, 0.0)  # q^2
    share = max(LEAST_SHARE, FEW / evidence.training)
    return NewImages(raw, share * beyond, np.full(raw.shape, float(judged)))


def _squared_distances(rows: Float[np.ndarray, "k G"]) -> Float[np.ndarray, "k k"]:
    """Return the sums of squared differences of all pairs of rows, without a cube of them."""
    products = rows @ rows.T
    squares = np.diag(products)
    found: Float[np.ndarray, "k k"] = np.maximum(squares[:, None] + squares - 2 * products, 0.0)
    return found


def _variance_within(
    differences: Float[np.ndarray, "k k S"], repeats: Int[np.ndarray, " S"]
) -> Float[np.ndarray, "k k"]:
    """Return the variance of runs' differences, pooled within repeats.

    Where repeats have about one run each, over all runs: chance in the search then counts as the
    runs' own, which is too much rather than too little.
    """
    numbers, places = np.unique(repeats, return_inverse=True)
    freedom = len(repeats) - len(numbers)
    if freedom < len(numbers) - 1:
        places, freedom = np.zeros_like(places), len(repeats) - 1
    member = np.eye(int(places.max()) + 1)[places]  # (runs, repeats)
    means = (differences @ member / member.sum(axis=0)) @ member.T
    squares: Float[np.ndarray, "k k"] = ((differences - means) ** 2).sum(axis=-1)
    return squares / freedom if freedom else np.full(squares.shape, math.nan)


def value_and_influences(
    labels: Integer[np.ndarray, " n"],
    predicted: Integer[np.ndarray, " n"],
    classes: int,
    metric: str,
) -> tuple[float, Float[np.ndarray, " n"]]:
    """Return a run's value and the influence of each image on it; influences sum to 0.

    Values are scikit-learn's `accuracy_score`, `balanced_accuracy_score` and
    `f1_score(average="macro", zero_division=0)`, as in `study.common.metrics`.

    Raises:
        ValueError: the metric is unknown.
    """
    hits = (labels == predicted).astype(float)
    if metric == ACCURACY:
        value = float(hits.mean())
        return value, hits - value
    there = np.bincount(labels, minlength=classes)
    right = np.bincount(labels, hits, classes)
    if metric == BALANCED_ACCURACY:
        possible, worth = there, 1.0
    elif metric == MACRO_F1:
        possible, worth = there + np.bincount(predicted, minlength=classes), 2.0
    else:
        raise ValueError(f"metric {metric!r} is unknown")
    scores = worth * right / np.maximum(possible, 1)  # recall or F1 of each class
    counting = int((possible > 0).sum())
    scale = len(labels) / counting / np.maximum(possible, 1)
    influence = worth * scale[labels] * hits - (scale * scores)[labels]
    if metric == MACRO_F1:
        influence -= (scale * scores)[predicted]
    return float(scores.sum() / counting), influence
