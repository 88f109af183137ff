"""How many heads train at once."""

import numpy as np
import pytest
import tensorflow as tf

from study.images import load_images
from study.options import parse, resolve_options
from study.sizing import CPU_HEADS, fastest, heads_at_once, seconds_a_head
from study.space import load_space
from study.tasks import Data, Splits


@pytest.fixture
def data(picture_folder):
    images = load_images(picture_folder)
    options = resolve_options(parse(["--data", str(picture_folder)]), {}, "default")
    features = np.random.default_rng(1).random((len(images.paths), 512), np.float32)
    return Data(features, images.labels, 3, Splits(images, options))


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
def test_a_cpu_is_not_timed(data):
    assert heads_at_once(data, load_space("quick")) == CPU_HEADS


def test_heads_of_a_real_study_can_be_timed(data):
    space = load_space("quick").restrict(["adam"])
    assert 0.0 < seconds_a_head(data, space, 2) < 60.0
