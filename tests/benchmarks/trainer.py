"""Milliseconds an epoch and head: the population trainer against Keras's own `fit`.

    python tests/benchmarks/trainer.py [--optimizer adam] [--sizes 1 4 8 16 32]

1,440 x 512 synthetic features and 360 validation rows, 17 classes, batch 16, width 170: the blog
post's problem, without its photos. Compile time stands apart. Takes about two minutes.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from study.space.head_config import HeadConfig
from study.space.search_space import load_space
from study.training.hypermodel import HeadHyperModel
from study.training.population import LocalTrainer
from study.training.runs import HeadRun, TrainingRules, TrainingTable

TRAIN, VALIDATION, FEATURES, CLASSES, EPOCHS = 1440, 360, 512, 17, 4


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of some repeats: others use the machine, too."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def fit_milliseconds(
    config: HeadConfig, features: np.ndarray, labels: np.ndarray, per: int
) -> float:
    """An epoch of `model.fit` with validation, `per` steps an execution."""
    model = HeadHyperModel(
        load_space("default"), n_features=FEATURES, n_classes=CLASSES, n_train=TRAIN,
        max_epochs=100, seed=1,
    ).build_config(config)  # fmt: skip
    model.steps_per_execution = per
    held_out = (features[TRAIN:], labels[TRAIN:])

    def epochs() -> None:
        model.fit(
            features[:TRAIN], labels[:TRAIN], batch_size=16, epochs=EPOCHS, verbose=0,
            validation_data=held_out, validation_batch_size=VALIDATION,
        )  # fmt: skip

    epochs()  # compiles
    return best_of(3, epochs) / EPOCHS * 1e3


def population_milliseconds(
    config: HeadConfig, features: np.ndarray, labels: np.ndarray, size: int
) -> tuple[float, float]:
    """An epoch and head, states in and out included; and the seconds of compiling."""
    table = TrainingTable(features, labels, CLASSES)
    trainer = LocalTrainer(table, TrainingRules(100, [176]), size)
    rows = np.arange(TRAIN + VALIDATION, dtype=np.int32)
    runs = [
        HeadRun(config, rows[:TRAIN], rows[TRAIN:], seed, EPOCHS)
        for seed in range(1, 2 * max(size, 4) + 1)
    ]
    list(trainer.train(runs[:1]))  # compiles
    seconds = best_of(3, lambda: list(trainer.train(runs)))
    return seconds / EPOCHS / len(runs) * 1e3, trainer.compile_seconds


def main(argv: list[str] | None = None) -> int:
    """Print both sides and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    options = parser.parse_args(argv)
    config = replace(load_space("default").default(options.optimizer), dense_width=170)
    rng = np.random.default_rng(0)
    features = np.abs(rng.normal(size=(TRAIN + VALIDATION, FEATURES))).astype(np.float32)
    labels = rng.integers(0, CLASSES, TRAIN + VALIDATION).astype(np.int32)
    # each side in a process of its own: Keras with TensorFlow's own settings, ours with ours
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as apart:
        plain, many = apart.map(
            fit_milliseconds, [config] * 2, [features] * 2, [labels] * 2, [1, 90]
        )
    print(f"{options.optimizer}: ms an epoch and head (90 steps, 360 validation rows)")
    print(f"model.fit                          {plain:7.1f}")
    print(f"model.fit(steps_per_execution=90)  {many:7.1f}")
    for size in options.sizes:
        with ProcessPoolExecutor(1, spawn) as apart:
            run = apart.submit(population_milliseconds, config, features, labels, size)
            ours, compiling = run.result()
        print(
            f"population, K = {size:2d}                 {ours:7.1f}   {plain / ours:5.1f} x fit, "
            f"{many / ours:5.1f} x fit(90); compiled in {compiling:.1f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
