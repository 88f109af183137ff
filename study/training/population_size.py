"""How many heads train at once: what the device does fastest, within its memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from study.space.space import SearchSpace
from study.training.population import OUT_OF_MEMORY, Population
from study.training.runs import HeadRun

CPU_HEADS = 2  # fewer share less of each step's cost, more gain nothing and leave slots empty
# On an H200 twice 128 heads take 8 to 13 % less of a program's time, but copies of states take more
# than that; and of the default study's five repeats a program gets 34 heads at once, 134 at most.
GPU_HEADS = (16, 32, 64, 128)
GAIN = 1.1  # times faster a head that the next size must be
ROWS = 1024  # training rows that a timed run sees


def heads_at_once(
    make: Callable[[int], Population],
    space: SearchSpace,
    train: np.ndarray,
    validation: np.ndarray,
) -> int:
    """Known for CPUs (`tests/benchmarks/trainer.py` shows it); timed on a GPU, once a study.

    Args:
        make: a population of so many heads at once.
        space: its first optimizer with its widest head is timed.
        train: (n,) row numbers.
        validation: (m,) row numbers.
    """
    if not tf.config.get_visible_devices("GPU"):
        return CPU_HEADS
    run = widest_run(space, train, validation)
    return fastest(lambda size: seconds_a_head(make(size), run), GPU_HEADS)


def widest_run(space: SearchSpace, train: np.ndarray, validation: np.ndarray) -> HeadRun:
    """An epoch of the space's first optimizer and widest head, on a part of the rows."""
    default = space.default(next(iter(space.optimizers)))
    config = replace(default, dense_width=max(space.dense_widths()))
    return HeadRun(config, train[:ROWS], validation[:ROWS], seed=1, epochs=1)


def fastest(seconds: Callable[[int], float], sizes: Sequence[int]) -> int:
    """The last of the rising `sizes` that fits and gains `GAIN` over the one before it."""
    best, before = sizes[0], float("inf")
    for size in sizes:
        try:
            now = seconds(size)
        except OUT_OF_MEMORY:
            break
        if now * GAIN > before:
            break
        best, before = size, now
    return best


def seconds_a_head(population: Population, run: HeadRun) -> float:
    """`run` as often as a study has heads under way, compiled before."""
    runs = [run] * population.size * population.workers
    list(population.train(runs))
    start = time.perf_counter()
    list(population.train(runs))
    return (time.perf_counter() - start) / len(runs)
