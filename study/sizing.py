"""How many heads train at once: what the device does fastest, within its memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import tensorflow as tf

from study.population import HeadRun, Population
from study.runner import OUT_OF_MEMORY
from study.signature import few_widths
from study.space import SearchSpace
from study.tasks import Data

CPU_HEADS = 2  # fewer share less of each step's cost, more gain nothing and leave slots empty
GPU_HEADS = (16, 32, 64, 128, 256, 512)
GAIN = 1.1  # times faster a head that the next size must be
ROWS = 1024  # training rows that a timed run sees


def heads_at_once(data: Data, space: SearchSpace) -> int:
    """Known for CPUs (`tests/benchmarks/trainer.py` shows it); timed on a GPU, once a study."""
    if not tf.config.get_visible_devices("GPU"):
        return CPU_HEADS
    return fastest(lambda size: seconds_a_head(data, space, size), GPU_HEADS)


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


def seconds_a_head(data: Data, space: SearchSpace, size: int) -> float:
    """An epoch of the space's first optimizer and widest head, `size` at once, compiled before."""
    widths = few_widths(space.dense_widths())
    split = data.splits("search", 0)
    config = replace(space.default(next(iter(space.optimizers))), dense_width=max(widths))
    population = Population(
        data.features, data.labels, data.n_classes, max_epochs=1, size=size, widths=widths
    )
    run = HeadRun(config, split.train[:ROWS], split.validation[:ROWS], seed=1, epochs=1)
    runs = [run] * size * population.workers  # as in a study: several populations under way
    list(population.train(runs))
    start = time.perf_counter()
    list(population.train(runs))
    return (time.perf_counter() - start) / len(runs)
