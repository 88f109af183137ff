"""How many heads train at once."""

import numpy as np
import pytest
import tensorflow as tf

from study.space.search_space import load_space
from study.training.population import (
    CPU_HEADS,
    LocalTrainer,
    fastest,
    heads_at_once,
    seconds_a_head,
    widest_run,
)
from study.training.program_key import few_widths
from study.training.runs import TrainingRules, TrainingTable

ROWS = np.arange(36, dtype=np.int32)
SPACE = load_space("quick").restrict(["adam"])


def population(size: int) -> LocalTrainer:
    features = np.random.default_rng(1).random((len(ROWS), 512), np.float32)
    widths = few_widths(SPACE.dense_widths())
    return LocalTrainer(TrainingTable(features, ROWS % 3, 3), TrainingRules(1, widths), size)


def test_sizes_grow_as_long_as_it_pays():
    milliseconds = {16: 10.0, 32: 6.0, 64: 4.0, 128: 3.9, 256: 1.0}
    assert fastest(milliseconds.__getitem__, list(milliseconds)) == 64


def test_a_size_that_does_not_fit_ends_the_growth():
    def seconds(size):
        if size > 32:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return 1.0 / size

    assert fastest(seconds, (16, 32, 64, 128)) == 32


def test_an_error_of_another_kind_is_not_hidden():
    def seconds(size):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        fastest(seconds, (16, 32))


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="this one is timed")
def test_a_cpu_is_not_timed():
    assert heads_at_once(population, SPACE, ROWS[:24], ROWS[24:]) == CPU_HEADS


def test_heads_of_a_real_study_can_be_timed():
    run = widest_run(SPACE, ROWS[:24], ROWS[24:])
    assert run.config.dense_width == max(SPACE.dense_widths())
    assert 0.0 < seconds_a_head(population(2), run) < 60.0
