"""How often a study claims what is not so, and what it costs to know the answer.

    python tests/benchmarks/calibration.py                  # 2,000 studies a row, half an hour
    python tests/benchmarks/calibration.py --studies 200

Simulates studies whose truth is known (`tests/simulated.py`) and judges them by the project's own
functions: looks, verdicts, race. A claim is false if it is at any look, so the rates hold however
a study is stopped. Prints, each in percent with its 95 % interval where it is a rate:

    excluded   the best optimizer (of equal ones: a given one) was excluded
    good       one that is truly more than the margin behind was called good enough
    bound      some optimizer was further behind than its bound said (so no other margin, named
               afterwards, would have been safe for it)
    covered    bounds that held, of single optimizers
    known      studies with an answer at a margin of 2 points
    searches   that they took, against the smallest fixed number that is known as often

Then the same for new images: every study draws a pool of images of one kind, and what is claimed
of new images is held against the kind. Then data sets of one sort: what is claimed in general of
the sort from five of them, and at any number from 5 to 30; how often Nemenyi's test separates two
optimizers that are equal; what is claimed of five sets themselves, and of spans on them. Last, how
often one of the intervals of twelve configurations to start from does not hold. Real studies:
`whole_studies.py`.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/simulated.py
from simulated import (
    REPEATS,
    SCENARIOS,
    Truth,
    draw,
    draw_pool,
    looks_of,
    mistakes,
    race,
    results_on,
    until,
)
from simulated_sets import SORTS, Sort, draw_sets, mistakes_here, mistakes_in_general

from study.compare.set_bounds import FEWEST_SETS, SetResults, set_means
from study.compare.starts import Tried, start_of
from study.verdicts.answer import Verdict, share_interval
from study.verdicts.judge import judge

MARGIN = 0.02
LATER = 0.01  # a margin that is named after the first answer
MOST_SETS = 30
CONFIGURATIONS, SPREAD = 100, 0.017  # of one on a set, as in searches of public sets
NEMENYI = {2: 1.960, 3: 2.343, 12: 3.268}  # critical values at 5 % (Demsar 2006, table 5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(f"{given.studies} studies a row, margin {100 * MARGIN:g} points; false claims in percent")
    for name, make in SCENARIOS.items():
        _row(name, make(), given.studies, given.seed)
    print(f"\nthe margin changed to {100 * LATER:g} point after the first answer, and gone on")
    for name in ("12 equal", "as the faces", "one ahead by 2.01 points"):
        _changed(name, SCENARIOS[name](), given.studies, given.seed)
    print("\nnew images: pools of 280 drawn anew, judged after 5, 12 and 27 repeats")
    for count in (12, 2):
        for by in (0.0, MARGIN + 1e-4):
            _new_images(count, by, max(given.studies // 10, 20), given.seed)
    print("\ndata sets of one sort, in general; then of five sets themselves")
    for name, make_sort in SORTS.items():
        _sets(name, make_sort(), given.studies, given.seed)
    print("\nconfigurations to start from: one of twelve intervals does not hold")
    for sets in (6, 10):
        for spread in (0.02, 0.005, 0.0):
            _starts(sets, spread, given.studies, given.seed)


def _row(name: str, truth: Truth, studies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    searches, known_at = [], []
    start = time.monotonic()
    for _ in range(studies):
        results = draw(truth, rng)
        answers, cost = race(results, looks_of(), margin=MARGIN)
        counts += mistakes(answers, truth)
        searches.append(cost)
        known_at.append(_fixed(truth, rng) if len(known_at) < studies // 10 else 0)
    held = 1 - sum(v for k, v in counts.items() if k.startswith("bound of")) / (
        studies * len(truth.means)
    )
    known = counts["known"] / studies
    fixed = _fixed_cost(known_at[: max(studies // 10, 1)], known, len(truth.means))
    print(
        f"  {name:30} excluded {_rate(counts['best excluded'], studies)}  "
        f"good {_rate(counts['false good enough'], studies)}  "
        f"bound {_rate(counts['a bound too small'], studies)}  covered {100 * held:.2f}  "
        f"known {100 * known:.0f}  searches {np.mean(searches):.0f} "
        f"(90 %: {np.quantile(searches, 0.9):.0f}), fixed {fixed}  "
        f"[{time.monotonic() - start:.0f} s]",
        flush=True,
    )


def _fixed(truth: Truth, rng: np.random.Generator) -> int:
    """The fewest repeats of everybody at which one look knows the answer; 0: not at 60."""
    results = draw(truth, rng, 60)
    for repeats in range(5, 61):
        ran = dict.fromkeys(results.optimizers, repeats)
        if judge(until(results, ran), looks_of(repeats), margin=MARGIN).known:
            return repeats
    return 0


def _fixed_cost(known_at: list[int], share: float, count: int) -> str:
    """Searches of the smallest fixed number of repeats that is known as often."""
    for repeats in range(5, 61):
        if np.mean([0 < found <= repeats for found in known_at]) >= min(share, 1.0):
            return str(repeats * count)
    return f"above {60 * count}"


def _changed(name: str, truth: Truth, studies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for _ in range(studies):
        results = draw(truth, rng)
        answers, _ = race(results, looks_of(), margin=MARGIN)
        more, _ = race(results, looks_of(), margin=LATER)
        counts += mistakes([*answers, *more], truth)
    print(
        f"  {name:30} excluded {_rate(counts['best excluded'], studies)}  "
        f"good {_rate(counts['false good enough'], studies)}",
        flush=True,
    )


def _new_images(count: int, by: float, studies: int, seed: int) -> None:
    """The last optimizer is ahead on the kind; whatever one pool says."""
    rng = np.random.default_rng(seed)
    ahead = np.zeros(count)
    ahead[-1] = by
    counts: Counter[str] = Counter()
    for _ in range(studies):
        results = results_on(draw_pool(rng, ahead), rng, REPEATS)
        found: Counter[str] = Counter()
        for repeats in (5, 12, REPEATS):
            ran = dict.fromkeys(results.optimizers, repeats)
            answer = judge(until(results, ran), looks_of(), margin=MARGIN)
            others = answer.optimizers[:-1]
            for claim, bounds in (
                ("on these images", [one.at_most_behind for one in others]),
                ("on new images", [one.at_most_behind_new_images for one in others]),
            ):
                found[claim] |= any(bound is not None and bound < by for bound in bounds)
            found["excluded on these"] |= answer.optimizers[-1].verdict is Verdict.EXCLUDED
            low = answer.bounds.difference - answer.new_images.half_width(answer.bounds)
            found["excluded on new"] |= bool(np.nanmax(low[:, -1]) > 0)
        counts += found
    print(
        f"  {count:2} optimizers, {f'one ahead by {100 * by:.2f} points' if by else 'equal':26} "
        + "  ".join(f"{claim} {_rate(counts[claim], studies)}" for claim in sorted(found)),
        flush=True,
    )


def _sets(name: str, sort: Sort, collections: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    five: Counter[str] = Counter()
    ever: Counter[str] = Counter()
    here: Counter[str] = Counter()
    ranks: Counter[int] = Counter()
    numbers = range(FEWEST_SETS, MOST_SETS + 1)
    for _ in range(collections):
        sets, truth = draw_sets(sort, rng, MOST_SETS)
        five += mistakes_in_general(sets, sort, [FEWEST_SETS], MARGIN)
        ever += mistakes_in_general(sets, sort, numbers, MARGIN)
        here += mistakes_here(sets[:FEWEST_SETS], truth, MARGIN)
        apart = [count for count in numbers if _separated(_mean_ranks(sets[:count]), count)]
        ranks[0] += bool(apart)
        ranks[1] += FEWEST_SETS in apart
    equal = len(set(sort.behind)) == 1
    nemenyi = f"Nemenyi {_rate(ranks[1], collections)}, ever {_rate(ranks[0], collections)}"
    print(
        f"  {name:42} "
        + "  ".join(
            f"{claim} {_rate(five[claim], collections)}, ever {_rate(ever[claim], collections)}"
            for claim in ("best excluded", "good enough", "bound")
        )
        + f"  known {100 * five['known'] / collections:.0f}  {nemenyi if equal else ''}",
        flush=True,
    )
    claims = ("best excluded", "good enough", "bound", "span too high", "span too low")
    said = (f"{claim} {_rate(here[claim], collections)}" for claim in claims)
    print(f"  {'  of these five':42} {'  '.join(said)}", flush=True)


def _starts(sets: int, spread: float, collections: int, seed: int) -> None:
    """Choose each of 12 optimizers' best of 100 configurations, whose truth is known."""
    rng = np.random.default_rng(seed)
    size = (sets, CONFIGURATIONS)
    names = tuple((("number", number),) for number in range(CONFIGURATIONS))
    false = some = shown = 0
    for _ in range(collections):
        held = []
        for optimizer in range(12):
            truth = rng.normal(0, spread, CONFIGURATIONS)
            own = rng.normal(0, SPREAD, size)
            found = start_of(Tried(f"{optimizer}", names, truth + own, np.zeros(sets)), 12)
            if not math.isnan(found.low):
                behind = -truth[int(found.hyperparameters["number"])]
                held.append(found.low <= behind <= found.high)
        shown += len(held)
        some += bool(held)
        false += not all(held)
    print(
        f"  {sets:2} sets, {100 * spread:.1f} points between configurations  false "
        f"{_rate(false, some)} of those with an interval  "
        f"intervals shown {100 * shown / (12 * collections):.0f}",
        flush=True,
    )


def _mean_ranks(sets: Sequence[SetResults]) -> np.ndarray:
    """Return the mean rank over data sets, 1 for the best; equal values share their rank."""
    means = np.stack([set_means(one.table) for one in sets])  # (M, K)
    behind = means[:, :, None] - means[:, None, :]  # (M, K, K): column behind row
    ahead = (behind > 0).sum(axis=1) + (behind == 0).sum(axis=1) / 2  # itself counts a half
    ranks: np.ndarray = (ahead + 0.5).mean(axis=0)
    return ranks


def _separated(ranks: np.ndarray, count: int) -> bool:
    """Whether the critical difference separates any two."""
    size = len(ranks)
    critical = NEMENYI[size] * np.sqrt(size * (size + 1) / (6 * count))
    return bool(np.ptp(ranks) > critical)


def _rate(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{100 * count / of:4.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
