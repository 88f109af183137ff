"""A few steps of one fixed head, whose digest shows how a process rounds.

Runs are equal to the last digit only among processes with the same arithmetic: the processor, the
versions and even the number of threads decide the order of sums. Since nobody can list all that
matters, a small head is trained on fixed numbers, wide enough for its products to be divided among
threads.
"""

import hashlib

import numpy as np

from study.common.seeds import stream
from study.space.head_config import HeadConfig
from study.training.population import LocalTrainer
from study.training.runs import HeadRun, TrainingRules, TrainingTable

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
    """Return 16 hex digits, equal for processes that round equally; 2 s, 0.3 s once kept."""
    random = stream(1, "probe")
    features = random.random((ROWS + VALIDATION, FEATURES), np.float32)
    labels = random.integers(0, CLASSES, ROWS + VALIDATION).astype(np.int32)
    rows = np.arange(ROWS + VALIDATION, dtype=np.int32)
    table = TrainingTable(features, labels, CLASSES)
    trainer = LocalTrainer(table, TrainingRules(EPOCHS), HEADS)
    run = HeadRun(CONFIG, rows[:ROWS], rows[ROWS:], seed=1, epochs=EPOCHS)
    ((_, result),) = next(trainer.train([run]))
    arrays = [*result.metrics, *result.weights]
    contents = [np.ascontiguousarray(one).tobytes() for one in arrays if one is not None]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]
