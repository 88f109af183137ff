"""A few steps of one fixed head: their digest says how a process rounds.

Runs are equal to the last digit only among processes whose arithmetic is: processors, versions and
even the number of threads a program was divided among decide the order of sums. Nobody can list
what matters, so it is tried: a small head is trained on fixed numbers, wide enough that its
products are shared out among threads.
"""

import hashlib

import numpy as np

from study.common.seeds import stream
from study.space.head_config import HeadConfig
from study.training.population import LocalTrainer
from study.training.runs import HeadRun

ROWS, VALIDATION, FEATURES, CLASSES, EPOCHS, HEADS = 96, 64, 512, 8, 3, 2
CONFIG = HeadConfig(
    optimizer="adam",
    keras_class="Adam",
    learning_rate=1e-2,
    optimizer_hyperparameters={},
    schedule="constant",
    schedule_hyperparameters={},
    dense_width=256,
    dropout=0.2,
    activation="relu",
    batch_norm=False,
    batch_size=32,
    normalize=False,
)


def rounding_digest() -> str:
    """16 hex digits that two processes share if they train alike; 2 s, 0.3 s once it is kept."""
    random = stream(1, "probe")
    features = random.random((ROWS + VALIDATION, FEATURES), np.float32)
    labels = random.integers(0, CLASSES, ROWS + VALIDATION).astype(np.int32)
    rows = np.arange(ROWS + VALIDATION, dtype=np.int32)
    population = LocalTrainer(features, labels, CLASSES, max_epochs=EPOCHS, size=HEADS)
    run = HeadRun(CONFIG, rows[:ROWS], rows[ROWS:], seed=1, epochs=EPOCHS)
    ((_, result),) = next(population.train([run]))
    arrays = [*result.metrics, *result.best_weights]
    parts = [np.ascontiguousarray(one).tobytes() for one in arrays if one is not None]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
