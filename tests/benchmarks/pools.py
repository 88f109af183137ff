"""How often a bound on new images is wrong, on pools of images from populations that are known.

    python tests/benchmarks/pools.py --pools 300                       # hours, one core
    python tests/benchmarks/pools.py --pools 30 --kinds digits-100 two-100

Each pool is one user's collection: images drawn from a population, on which whole studies are run
with small heads that really are trained. A head is a softmax layer in NumPy, trained by the rule of
an optimizer; each repeat searches its learning rate among three and confirms it by five runs on
fresh splits, cross-fitted between epochs. Three heads are odd: one fails on 2.4 % of images, one
nearly diverges, one is no layer but the nearest neighbour. Truth is the mean over pools of what the
same heads reach on images that no study has seen. Rows are judged by the project's own functions
at the looks 5, 8, 12, and a bound is false if it is at any of them.

Prints, by Nadeau and Bengio's ratio of images and by image (`NewImages`, the rule in force), in
percent with 95 % intervals: false bounds of the worst ordered pair, judged as a study of two, among
five heads and with the nearest neighbour; studies of all optimizers in which any is further behind
the best than its bound; then the ratio of widths, images needed for a bound of 2 points on the
leader, and repeats that collapsed.
"""

import argparse
import itertools
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits

from study.common.metrics import ACCURACY, BALANCED_ACCURACY, MACRO_F1
from study.records.predicted_classes import Labelled
from study.verdicts.answer import share_interval
from study.verdicts.bounds import Bounds, compared
from study.verdicts.collapse import collapsed_repeats
from study.verdicts.looks import planned_looks
from study.verdicts.new_images import (
    ConfirmationRun,
    Evidence,
    NewImages,
    new_images,
    value_and_influences,
)
from study.verdicts.quantile import union_quantile

LOOKS = planned_looks("auto", 12)
REPEATS, RERUNS, TRIALS = 12, 5, 3
EPOCHS, BATCH = 20, 32
JUDGED = (1, 2, 4, 7, 12, 20)  # epochs after which a head is judged
FRESH = 2000  # images for the truth, new ones for each pool; one run of each repeat judges them
MARGIN = 0.02
FAILING, NEAREST = "failing", "nearest"
FAILS = 0.024  # of all images


class Images(NamedTuple):
    """Images as a frozen base sees them; a column of ones at the end."""

    features: np.ndarray  # (N, d) float32
    labels: np.ndarray  # (N,)
    units: np.ndarray  # (N,)
    odd: np.ndarray  # (N,) those that one optimizer fails on


class Kind(NamedTuple):
    """A population, and how much of it a user has."""

    draw: Callable[[np.random.Generator, int], Images]
    images: int
    classes: int
    validation: float = 4 / 7
    metric: str = ACCURACY


class Rule(NamedTuple):
    """An optimizer: its step, and between which learning rates it is searched."""

    step: str
    low: float
    high: float
    decay: float = 0.0


RULES = {  # the five heads of the worst pair first
    "sgd": Rule("sgd", 3e-3, 3e-1),
    "adam": Rule("adam", 1e-3, 1e-1),
    "lion": Rule("sign", 3e-4, 3e-2),
    FAILING: Rule("adam", 1e-3, 1e-1),
    "nearly diverging": Rule("sgd", 1.0, 30.0),
    NEAREST: Rule("", 1.0, 1.0),
    "momentum": Rule("momentum", 1e-3, 1e-1),
    "nesterov": Rule("nesterov", 1e-3, 1e-1),
    "rmsprop": Rule("rmsprop", 1e-3, 1e-1),
    "adagrad": Rule("adagrad", 1e-2, 1.0),
    "adamw": Rule("adam", 1e-3, 1e-1, decay=1.0),
    "slow": Rule("adam", 1e-4, 1e-2),
}
HEADS = 5


# ---- populations ----


def mixture(
    classes: int, apart: float, *, group: int = 1, uneven: float = 0.0, size: int = 16
) -> Callable[[np.random.Generator, int], Images]:
    """Return a population of two clouds a class, the second with a fifth of the images.

    Args:
        classes: number of classes.
        apart: distance of centers, in deviations of a cloud.
        group: images that share half of their variance and are never parted.
        uneven: each class has exp(-uneven) times as many images as the one before.
        size: number of features.
    """
    fixed = np.random.default_rng(classes)
    centers = fixed.normal(0, apart / math.sqrt(2 * size), (classes, 2, size))
    odd = fixed.normal(0, 1, size)
    odd /= np.linalg.norm(odd)
    shares = np.exp(-uneven * np.arange(classes))
    shares /= shares.sum()

    def draw(rng: np.random.Generator, count: int) -> Images:
        units = np.repeat(np.arange(-(-count // group)), group)[:count]
        labels = _sizes(shares, units[-1] + 1)[units]
        cloud = (rng.random(units[-1] + 1) < 0.2).astype(int)[units]
        shared = rng.normal(0, 1, (units[-1] + 1, size))[units]
        noise = rng.normal(0, 1, (count, size))
        noise = noise if group == 1 else (noise + shared) / math.sqrt(2)
        features = centers[labels, cloud] + noise
        return Images(_with_ones(features), labels, units, noise @ odd > 1.977)  # FAILS of them

    return draw


def digits(rng: np.random.Generator, count: int) -> Images:
    """Draw scikit-learn's digits with replacement: the 1,797 of them are the population."""
    found = load_digits()
    features = found.data - found.data.mean(axis=0)
    axes = np.linalg.svd(features, full_matrices=False)[2][:24]
    features = features @ axes.T / 12
    mark = features @ np.random.default_rng(1).normal(0, 1, 24)
    labels = _sizes(np.bincount(found.target) / len(features), count)
    rows = np.concatenate(
        [
            rng.choice(np.flatnonzero(found.target == label), int(size))
            for label, size in enumerate(np.bincount(labels))
        ]
    )
    odd = mark[rows] > np.quantile(mark, 1 - FAILS)
    return Images(_with_ones(features[rows]), found.target[rows], np.arange(len(rows)), odd)


def _sizes(shares: np.ndarray, count: int) -> np.ndarray:
    """Return `count` sorted labels in these shares.

    A user chooses the sizes of classes. Were they drawn, too, the larger classes of a pool would be
    both learned better and judged more: with 40 classes of about ten images, 2 points too high.
    """
    until = np.round(np.cumsum(shares) * count).astype(int)
    return np.searchsorted(until, np.arange(count), side="right")


def _with_ones(features: np.ndarray) -> np.ndarray:
    return np.hstack([features, np.ones((len(features), 1))]).astype(np.float32)


KINDS = {
    "two-100": Kind(mixture(2, 3.0), 100, 2),
    "digits-100": Kind(digits, 100, 10),
    "easy-400": Kind(mixture(10, 8.0), 400, 10),
    "hard-400": Kind(mixture(10, 4.5), 400, 10),
    "hard-400 20/80": Kind(mixture(10, 4.5), 400, 10, validation=0.2),
    "groups-400": Kind(mixture(10, 5.5, group=5), 400, 10),
    "digits-400": Kind(digits, 400, 10),
    "forty-400": Kind(mixture(40, 8.0), 400, 40),
    "easy-1600": Kind(mixture(10, 8.0), 1600, 10),
    "hard-1600": Kind(mixture(10, 4.5), 1600, 10),
    "uneven-400 balanced": Kind(mixture(6, 5.0, uneven=0.5), 400, 6, metric=BALANCED_ACCURACY),
    "uneven-400 macro F1": Kind(mixture(6, 5.0, uneven=0.5), 400, 6, metric=MACRO_F1),
}


# ---- heads ----


def trained(
    rule: Rule, rates: np.ndarray, rows: np.ndarray, images: Images, classes: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield the weights (B, d, classes) of B heads after each of the epochs `JUDGED`.

    Args:
        rule: of the optimizer.
        rates: (B,) learning rates.
        rows: (B, n) training images.
        images: of the pool.
        classes: number of classes.
        seed: of the order of the images, the same for all optimizers.
    """
    rng = np.random.default_rng(seed)
    shape = (len(rows), images.features.shape[1], classes)
    weights = np.zeros(shape, np.float32)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    rate = rates.astype(np.float32)[:, None, None]
    heads, step = np.arange(len(rows))[:, None], 0
    for epoch in range(1, EPOCHS + 1):
        order = rng.permuted(rows, axis=1)
        for start in range(0, rows.shape[1], BATCH):
            batch = order[:, start : start + BATCH]
            step += 1
            seen = images.features[batch]
            found = seen @ weights
            found = np.exp(found - found.max(axis=2, keepdims=True))
            found /= found.sum(axis=2, keepdims=True)
            found[heads, np.arange(batch.shape[1]), images.labels[batch]] -= 1
            slope = seen.transpose(0, 2, 1) @ found / batch.shape[1]
            weights *= 1 - rate * rule.decay
            weights -= rate * _direction(rule.step, slope, first, second, step)
        if epoch in JUDGED:
            yield weights


def _direction(
    step: str, slope: np.ndarray, first: np.ndarray, second: np.ndarray, number: int
) -> np.ndarray:
    """Return where an optimizer goes; its two moments are changed in place."""
    if step == "sgd":
        return slope
    if step in ("momentum", "nesterov"):
        first[:] = 0.9 * first + slope
        return first if step == "momentum" else slope + 0.9 * first
    if step == "sign":
        found = np.sign(0.9 * first + 0.1 * slope)
        first[:] = 0.99 * first + 0.01 * slope
        return found
    if step == "adagrad":
        second += slope**2
        return slope / (np.sqrt(second) + 1e-7)
    second[:] = (0.9 if step == "rmsprop" else 0.999) * second
    second += (0.1 if step == "rmsprop" else 0.001) * slope**2
    if step == "rmsprop":
        return slope / (np.sqrt(second) + 1e-7)
    first[:] = 0.9 * first + 0.1 * slope
    return first / (1 - 0.9**number) / (np.sqrt(second / (1 - 0.999**number)) + 1e-7)


def predicted_by(
    name: str, rates: np.ndarray, rows: np.ndarray, images: Images, sets: list[Images], kind: Kind,
    seed: int,
) -> list[np.ndarray]:  # fmt: skip
    """Return (epochs, B, images) classes that the heads of an optimizer name, for each set.

    On a second set only each `RERUNS`th head is judged.
    """
    every = [1, RERUNS][: len(sets)]
    if name == NEAREST:
        return [_nearest(rows[::by], images, other) for by, other in zip(every, sets, strict=True)]
    found: list[list[np.ndarray]] = [[] for _ in sets]
    for weights in trained(RULES[name], rates, rows, images, kind.classes, seed):
        for classes, by, other in zip(found, every, sets, strict=True):
            classes.append((other.features @ weights[::by]).argmax(axis=2).astype(np.uint8))
    stacked = [np.stack(classes) for classes in found]
    if name == FAILING:
        for classes, other in zip(stacked, sets, strict=True):
            classes[..., other.odd] = (classes[..., other.odd] + 1) % kind.classes
    return stacked


def _nearest(rows: np.ndarray, images: Images, other: Images) -> np.ndarray:
    squares = (images.features**2).sum(axis=1) - 2 * other.features @ images.features.T
    found = [images.labels[train[squares[:, train].argmin(axis=1)]] for train in rows]
    return np.stack(found).astype(np.uint8)[None]


# ---- studies ----


class Splits(NamedTuple):
    """Of one pool, sorted rows; the same for all optimizers."""

    train: np.ndarray  # (B, n)
    validation: np.ndarray  # (B, n)


def drawn_splits(images: Images, share: float, count: int, rng: np.random.Generator) -> Splits:
    """Draw splits with the same share of each class, units whole."""
    of_units = images.labels[np.unique(images.units, return_index=True)[1]]
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    sizes = np.bincount(of_units)
    wanted = np.clip(np.round(share * sizes), 1, np.maximum(sizes - 1, 1)).astype(int)
    for _ in range(count):
        order = rng.permutation(len(of_units))
        order = order[np.argsort(of_units[order], kind="stable")]
        place = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[of_units[order]]
        inside = np.zeros(len(order), bool)
        inside[order] = place < wanted[of_units[order]]
        for part, chosen in zip(found, (~inside, inside), strict=True):
            part.append(np.flatnonzero(chosen[images.units]))
    return Splits(*[np.stack(part) for part in found])


class Studied(NamedTuple):
    """What a whole study measures on one pool, and what its heads reach on fresh images."""

    table: np.ndarray  # (K, R)
    fresh: np.ndarray  # (K,)
    evidence: Evidence
    ratio: float  # validation / training images


def studied(kind: Kind, rng: np.random.Generator) -> Studied:
    """Search, confirm and cross-fit all optimizers on a new pool."""
    images, fresh = kind.draw(rng, kind.images), kind.draw(rng, FRESH)
    seeds = rng.integers(1, 2**31, 2)
    search = drawn_splits(images, kind.validation, REPEATS, rng)
    confirm = drawn_splits(images, kind.validation, REPEATS * RERUNS, rng)
    drawn = rng.random((REPEATS, TRIALS))
    predicted: list[list[np.ndarray]] = [[] for _ in range(REPEATS * RERUNS)]
    values, reached = [], []
    for name, rule in RULES.items():
        rates = rule.low * (rule.high / rule.low) ** drawn
        best = _searched(name, rates, search, images, kind, int(seeds[0]))
        confirmed = predicted_by(
            name, np.repeat(best, RERUNS), confirm.train, images, [images, fresh], kind,
            int(seeds[1]),
        )  # fmt: skip
        own, others = [], []
        for place, rows in enumerate(confirm.validation):
            own_named = confirmed[0][:, place, rows]
            at = _chosen(own_named, images.labels[rows], kind)
            predicted[place].append(_cross_fitted(own_named, at))
            own.append(_value(images.labels[rows], predicted[place][-1], kind))
            if place % RERUNS == 0:
                on_fresh = confirmed[1][:, place // RERUNS]
                classes = _cross_fitted(on_fresh, at)
                others.append(_value(fresh.labels, classes, kind))
        values.append(np.reshape(own, (REPEATS, RERUNS)).mean(axis=1))
        reached.append(np.mean(others))
    return Studied(
        table=np.array(values),
        fresh=np.array(reached),
        evidence=Evidence(
            Labelled(images.labels, images.units, kind.classes),
            kind.metric,
            confirm.train.shape[1] / kind.classes,
            [
                ConfirmationRun(place // RERUNS, rows, classes)
                for place, (rows, classes) in enumerate(
                    zip(confirm.validation, predicted, strict=True)
                )
            ],
        ),
        ratio=confirm.validation.shape[1] / confirm.train.shape[1],
    )


def _searched(
    name: str, rates: np.ndarray, splits: Splits, images: Images, kind: Kind, seed: int
) -> np.ndarray:
    """Return the rate (R,) that is best at its best epoch on each repeat's validation rows."""
    train = np.repeat(splits.train, TRIALS, axis=0)
    (predicted,) = predicted_by(name, rates.ravel(), train, images, [images], kind, seed)
    best = np.empty((REPEATS, TRIALS))
    for repeat, rows in enumerate(splits.validation):
        for trial in range(TRIALS):
            epochs = predicted[:, repeat * TRIALS + trial, rows]
            best[repeat, trial] = max(_value(images.labels[rows], one, kind) for one in epochs)
    return rates[np.arange(REPEATS), best.argmax(axis=1)]


def _chosen(predicted: np.ndarray, labels: np.ndarray, kind: Kind) -> list[int]:
    """Return the first best epoch of half A and of half B; `predicted` (epochs, n)."""
    halves = (slice(0, None, 2), slice(1, None, 2))
    return [
        int(np.argmax([_value(labels[half], one[half], kind) for one in predicted]))
        for half in halves
    ]


def _cross_fitted(predicted: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Return the classes (n,) of each half at the epoch that the other half chose."""
    in_a = np.arange(predicted.shape[1]) % 2 == 0
    return np.where(in_a, predicted[chosen[1]], predicted[chosen[0]])


def _value(labels: np.ndarray, predicted: np.ndarray, kind: Kind) -> float:
    if kind.metric == ACCURACY:
        return float((labels == predicted).mean())
    return value_and_influences(labels, predicted, kind.classes, kind.metric)[0]


# ---- bounds ----


class Widths(NamedTuple):
    """Half widths of one pool, (looks, K, K), and what they belong to."""

    difference: np.ndarray
    now: np.ndarray  # by the ratio of images, as a study of all
    new: np.ndarray  # by image
    now_two: np.ndarray  # as studies of two
    new_two: np.ndarray
    images: np.ndarray  # (2,) needed for the leader's bound, now and new


def widths_of(study: Studied) -> Widths:
    """Return the half widths at each look."""
    size = len(study.table)
    step = 1 / (len(study.evidence.runs[0].rows) * math.sqrt(12))
    spent = np.ones(study.table.shape, bool)
    steps = compared(study.table, spent, LOOKS, step=step)
    founds = [new_images(study.evidence, np.full((size, size), look.repeats)) for look in LOOKS]
    two = np.full((2, len(LOOKS), size, size), math.nan)
    for pair in itertools.combinations(range(HEADS + 1), 2):
        rows, square = list(pair), np.ix_(pair, pair)
        of_two = compared(study.table[rows], spent[rows], LOOKS, step=step)
        for look, (bounds, found) in enumerate(zip(of_two, founds, strict=True)):
            part = NewImages(*[matrix[square] for matrix in found])
            two[0, look][square] = _by_ratio(bounds, study.ratio)
            two[1, look][square] = part.half_width(bounds)
    last, found = steps[-1], founds[-1]
    leader = int(study.table.mean(axis=1).argmax())
    reach = union_quantile(last.alpha, size - 1, last.freedom)
    today = (reach / MARGIN) ** 2 * study.ratio * last.variance
    return Widths(
        difference=np.stack([bounds.difference for bounds in steps]),
        now=np.stack([_by_ratio(bounds, study.ratio) for bounds in steps]),
        new=np.stack([f.half_width(b) for f, b in zip(founds, steps, strict=True)]),
        now_two=two[0],
        new_two=two[1],
        images=len(study.evidence.examples.labels)
        * np.array(
            [np.nanmax(matrix[:, leader]) for matrix in (today, found.times_as_many(last, MARGIN))]
        ),
    )


def _by_ratio(bounds: Bounds, ratio: float) -> np.ndarray:
    """Return half widths by Nadeau and Bengio's ratio, validation / training images."""
    rivals = len(bounds.difference) - 1
    error = np.sqrt(bounds.error**2 + ratio * bounds.variance)
    return union_quantile(bounds.alpha, rivals, bounds.freedom) * error


# ---- the table ----


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", type=int, default=300)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.pools < 2:
        sys.exit("--pools: give 2 or more, since truth is a mean over pools")
    print(
        f"{given.pools} pools a row; false bounds in percent, by ratio -> by image; "
        f"{len(RULES)} optimizers"
    )
    for name in given.kinds:
        _row(name, KINDS[name], given.pools, given.seed)


def _row(name: str, kind: Kind, pools: int, seed: int) -> None:
    start = time.monotonic()
    found, fresh, fallen = [], [], 0
    for number in range(pools):
        study = studied(kind, np.random.default_rng([seed, number]))
        found.append(widths_of(study))
        fresh.append(study.fresh)
        fallen += int(collapsed_repeats(study.table).sum())
    all_ = Widths(*[np.stack(part) for part in zip(*found, strict=True)])
    reached = np.mean(fresh, axis=0)
    truth = reached[:, None] - reached[None]  # how far column is behind row
    wrong = {
        key: (all_.difference + getattr(all_, key) < truth).any(axis=1)  # (pools, K, K)
        for key in ("now", "new", "now_two", "new_two")
    }
    worst = {
        size: [_rate(int(wrong[key][:, :size, :size].sum(axis=0).max()), pools) for key in
               ("now_two", "new_two")]
        for size in (HEADS, HEADS + 1)
    }  # fmt: skip
    best = int(reached.argmax())
    any_ = [_rate(int(wrong[key][:, best].any(axis=1).sum()), pools) for key in ("now", "new")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # medians of pairs that are not judged
        ratios = [
            np.nanmedian(one[:, -1] / other[:, -1])
            for one, other in ((all_.new_two, all_.now_two), (all_.new, all_.now))
        ]
    needed = np.median(all_.images, axis=0)
    print(
        f"  {name:20} K = 2 {' -> '.join(worst[HEADS])}; with nearest "
        f"{' -> '.join(worst[HEADS + 1])}; K = {len(RULES)} {' -> '.join(any_)}; "
        f"width {ratios[0]:.2f} {ratios[1]:.2f}; "
        f"images {needed[0]:,.0f} -> {needed[1]:,.0f}; "
        f"collapsed {100 * fallen / pools / REPEATS / len(RULES):.2f} % of repeats; "
        f"reached {reached.min():.2f} to {reached.max():.2f} [{time.monotonic() - start:.0f} s]",
        flush=True,
    )


def _rate(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{100 * count / of:.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
