import numpy as np
import pytest

from study.backbone import load_backbone, pick_device
from study.errors import UserError


def test_has_the_parameters_of_vgg16_all_frozen():
    model = load_backbone("random", size=32, preprocess="caffe").model
    assert model.count_params() == 14_714_688
    assert not model.trainable_variables


def test_gpu_where_there_is_none_is_refused():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="--device gpu: TensorFlow finds no GPU here"):
        pick_device("gpu")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
