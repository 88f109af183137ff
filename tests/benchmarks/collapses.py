"""How often the rule for collapsed repeats is wrong, and how many collapses it finds.

    python tests/benchmarks/collapses.py                   # 2,000 studies a row, two minutes
    python tests/benchmarks/collapses.py --studies 200

Simulates studies (`tests/simulated.py`), first as they are, then with a share of all repeats 40
points lower. Prints in percent, with 95 % intervals:

    false   studies without a collapse in which some repeat is called one, at 5 repeats and at any
            of the looks 5, 8, 12, 18, 27
    found   of the repeats that collapsed, at 5 and 12 repeats, where 2 and 10 % do
    seen    studies with a collapse in which some is found

A fall by more than 20 points is what the heavy tails do now and then, so it is found there, too.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/simulated.py
from simulated import SCENARIOS, Truth, draw, equal

from study.verdicts.answer import share_interval
from study.verdicts.collapse import collapsed_repeats

LOOKS = (5, 8, 12, 18, 27)
FALL = 0.4
MORE: dict[str, Callable[[], Truth]] = {
    "12 equal, deviation 4 points": lambda: equal(spread=0.04),
    "2 equal, deviation 4 points": lambda: equal(2, spread=0.04),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name, make in {**SCENARIOS, **MORE}.items():
        rng = np.random.default_rng(given.seed)
        counts: Counter[str] = Counter()
        for _ in range(given.studies):
            counts += _false(draw(make(), rng).table)
        parts = [f"false {at} {_rate(counts[at], given.studies)}" for at in ("at 5", "ever")]
        for share in (0.02, 0.10):
            for repeats in (5, 12):
                parts.append(_power(make(), share, repeats, given.studies, rng))
        print(f"  {name:30} " + "  ".join(parts), flush=True)


def _false(table: np.ndarray) -> Counter[str]:
    found = [bool(collapsed_repeats(table[:, :look]).any()) for look in LOOKS]
    return Counter({"at 5": int(found[0]), "ever": int(any(found))})


def _power(truth: Truth, share: float, repeats: int, studies: int, rng: np.random.Generator) -> str:
    there = found = with_any = seen = 0
    for _ in range(studies):
        table = draw(truth, rng).table[:, :repeats]
        fallen = (rng.random(table.shape) < share) & np.isfinite(table)
        hits = collapsed_repeats(table - FALL * fallen) & fallen
        there, found = there + int(fallen.sum()), found + int(hits.sum())
        with_any, seen = with_any + bool(fallen.any()), seen + bool(hits.any())
    return f"{share:.0%} of {repeats}: found {_rate(found, there)} seen {_rate(seen, with_any)}"


def _rate(count: int, of: int) -> str:
    low, high = share_interval(count, of)
    return f"{100 * count / max(of, 1):.1f} ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
