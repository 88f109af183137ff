"""Made-up results whose truth is known, judged by the project's own functions.

`tests/test_verdicts.py` runs a few hundred of these studies, `tests/benchmarks/calibration.py`
thousands.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from study.common.metrics import ACCURACY
from study.records.predicted_classes import Labelled
from study.records.study_meta import Look
from study.verdicts.answer import Answer, Verdict
from study.verdicts.judge import first_round, judge, next_round
from study.verdicts.looks import planned_looks
from study.verdicts.new_images import ConfirmationRun, Evidence
from study.verdicts.results import Results

REPEATS = 27
VALIDATION, TRAIN = 160, 120  # the built-in faces
STEP = 1 / (VALIDATION * math.sqrt(12))
REPEAT_SPREAD = 0.012  # easy and hard splits, the same for all

# As measured on the built-in faces (means, residual deviations of one repeat).
FACES = (0.911, 0.908, 0.906, 0.903, 0.899, 0.897, 0.894, 0.892, 0.886, 0.879, 0.868, 0.860)
SPREADS = (0.010, 0.012, 0.007, 0.011, 0.015, 0.009, 0.013, 0.012, 0.020, 0.014, 0.018, 0.025)


class Truth(NamedTuple):
    """What is simulated."""

    means: np.ndarray  # (K,) of the population that is spoken of
    spreads: np.ndarray  # (K,) deviation of one repeat's residual
    tails: float = math.inf  # degrees of freedom of Student's t
    shared: float = 0.0  # part of the residual variance that each half of the optimizers shares
    images: int = 0  # results are rounded to so many images; 0: not at all
    diverging: np.ndarray | None = None  # (K,) share of reruns

    @property
    def behind(self) -> np.ndarray:
        """(K,): how far each is truly behind the best."""
        return self.means.max() - self.means


def equal(count: int = 12, *, spread: float = 0.015, **more: object) -> Truth:
    return Truth(np.full(count, 0.9), np.full(count, spread), **more)  # type: ignore[arg-type]


def one_erratic(count: int = 12) -> Truth:
    spreads = np.full(count, 0.01)
    spreads[0] = 0.05
    return Truth(np.full(count, 0.9), spreads)


def one_ahead(count: int = 12, *, by: float = 0.02) -> Truth:
    """The worst case for "good enough": all but one are truly just beyond the margin."""
    means = np.full(count, 0.9)
    means[-1] += by
    return Truth(means, np.full(count, 0.015))


SCENARIOS: dict[str, Callable[[], Truth]] = {
    "12 equal": equal,
    "as the faces": lambda: Truth(np.array(FACES), np.array(SPREADS)),
    "one erratic, 5 times": one_erratic,
    "families correlated": lambda: equal(shared=0.6),
    "heavy tails (t3)": lambda: equal(tails=3.0),
    "ties, steady": lambda: equal(spread=0.003, images=VALIDATION),
    "one diverging, 1 in 10": lambda: equal(diverging=np.eye(12)[0] * 0.1),
    "one ahead by 2.01 points": lambda: one_ahead(by=0.0201),
    "2 equal": lambda: equal(2),
    "2 equal, one erratic, 3 times": lambda: Truth(np.full(2, 0.9), np.array([0.01, 0.03])),
    "2, one ahead by 2.01 points": lambda: one_ahead(2, by=0.0201),
    "4 equal": lambda: equal(4),
}


def draw(truth: Truth, rng: np.random.Generator, repeats: int = REPEATS) -> Results:
    """One study's results, as if all optimizers had all repeats."""
    count = len(truth.means)
    shape = (count, repeats)
    noise = (
        rng.standard_t(truth.tails, shape) if math.isfinite(truth.tails) else _normal(rng, shape)
    )
    if math.isfinite(truth.tails):
        noise /= math.sqrt(truth.tails / (truth.tails - 2))
    family = _normal(rng, (2, repeats))[np.arange(count) % 2]
    noise = math.sqrt(1 - truth.shared) * noise + math.sqrt(truth.shared) * family
    table = truth.means[:, None] + REPEAT_SPREAD * _normal(rng, (repeats,))
    table = table + truth.spreads[:, None] * noise
    if truth.images:
        table = np.round(table * truth.images) / truth.images
    lost = np.zeros(shape, int)
    if truth.diverging is not None:
        lost = rng.binomial(5, truth.diverging[:, None], shape)
        table = np.where(lost < 5, table, math.nan)
    return as_results(table, diverged=lost)


def as_results(
    table: np.ndarray,
    *,
    diverged: np.ndarray | None = None,
    evidence: Evidence | None = None,
) -> Results:
    names = tuple(f"o{place:02d}" for place in range(len(table)))
    lost = np.zeros(table.shape, int) if diverged is None else diverged
    return Results(
        optimizers=names,
        table=table,
        spent=np.ones(table.shape, bool),
        reruns=dict.fromkeys(names, 5 * table.shape[1]),
        diverged=dict(zip(names, lost.sum(axis=1).tolist(), strict=True)),
        step=STEP,
        evidence=evidence,
    )


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def until(results: Results, ran: Mapping[str, int]) -> Results:
    """What is known after so many repeats of each optimizer."""
    places = np.arange(results.table.shape[1])
    inside = np.array([places < ran[name] for name in results.optimizers])
    return results._replace(
        table=np.where(inside, results.table, math.nan), spent=results.spent & inside
    )


def race(
    results: Results,
    looks: tuple[Look, ...],
    *,
    margin: float,
    stop: bool = True,
    asked: Sequence[str] = (),
) -> tuple[list[Answer], int]:
    """The answers after every round, and how many searches they took; `stop=False`: all run on."""
    ran = first_round(results.optimizers, looks, race=True)
    answers = []
    while True:
        answers.append(judge(until(results, ran), looks, margin=margin, asked=asked))
        now = max(ran.values())
        if stop:
            wanted = next_round(answers[-1], ran, looks)
        else:
            further = [look.repeats for look in looks if look.repeats > now]
            wanted = dict.fromkeys(ran, further[0]) if further else None
        if wanted is None:
            return answers, sum(ran.values())
        ran = wanted


def mistakes(answers: list[Answer], truth: Truth) -> Counter[str]:
    """What was claimed falsely at any look: 1 where it was."""
    found: Counter[str] = Counter(studies=1)
    behind = truth.behind
    best = behind == 0
    for answer in answers:
        for place, one in enumerate(answer.optimizers):
            too_far = behind[place] > answer.margin
            if one.verdict is Verdict.GOOD_ENOUGH and too_far:
                found["false good enough"] = 1
            if one.verdict is Verdict.EXCLUDED and best[place] and best.sum() == 1:
                found["best excluded"] = 1
            if one.verdict is Verdict.EXCLUDED and best.sum() > 1 and place == int(best.argmax()):
                found["best excluded"] = 1  # of equals a given one
            if one.at_most_behind is not None and one.at_most_behind < behind[place]:
                found["a bound too small"] = 1
                found[f"bound of {place}"] = 1
    found["known"] = int(answers[-1].known)
    return found


def looks_of(repeats: int | str = "auto", most: int = REPEATS) -> tuple[Look, ...]:
    return planned_looks(repeats, most)


class Pool(NamedTuple):
    """A collection of images of a kind: what each optimizer's heads do on it, and on all others.

    Every study draws a new one. An optimizer is better or worse on single images (`on_image`) and
    from single training images (`from_image`); both average out over the kind, not over the pool.
    """

    easy: np.ndarray  # (N,) how likely a head names it rightly
    on_image: np.ndarray  # (K, N)
    from_image: np.ndarray  # (K, N)
    ahead: np.ndarray  # (K,) on the kind


def draw_pool(rng: np.random.Generator, ahead: np.ndarray, images: int = 280) -> Pool:
    count = len(ahead)
    easy = np.clip(rng.beta(3, 0.6, images), 0.02, 0.98)
    shape = (count, images)
    return Pool(easy, 0.08 * _normal(rng, shape), 0.05 * _normal(rng, shape), ahead)


def results_on(pool: Pool, rng: np.random.Generator, repeats: int, reruns: int = 5) -> Results:
    """Repeats of search and confirmation on one pool, on fresh splits of it shared by all."""
    count, images = pool.on_image.shape
    table, runs = np.empty((count, repeats)), []
    for repeat in range(repeats):
        found = 0.01 * _normal(rng, (count,)) * 0.75  # the luck of a search
        values = []
        for _ in range(reruns):
            order = rng.permutation(images)
            validation, train = order[:VALIDATION], order[VALIDATION:]
            gained = pool.ahead + found + pool.from_image[:, train].mean(axis=1)
            chance = pool.easy[validation] + pool.on_image[:, validation] + gained[:, None]
            wrong = rng.random(chance.shape) >= chance
            values.append(1 - wrong.mean(axis=1))
            runs.append(ConfirmationRun(repeat, validation, list(wrong.astype(int))))
        table[:, repeat] = np.mean(values, axis=0)
    examples = Labelled(np.zeros(images, int), np.arange(images), classes=2)
    return as_results(table, evidence=Evidence(examples, ACCURACY, TRAIN / 2, runs))
