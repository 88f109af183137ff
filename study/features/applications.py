"""A model of `keras.applications` by its name -> a frozen network with average pooling.

In: an entry of the table of bases, a weights source, an image size. Out: a `Frozen`. Keras's own
functions build the network and find its weights: in Keras's cache, checked by Keras's checksum
where it has one, else by download. MobileNet and MobileNetV2 have weights for several sizes; Keras
takes those of the image size, and those of 224 pixels for any other size. Everything is computed in
float32, because only for VGG16 was it measured with trained weights that features in bfloat16 can
be trusted (`tests/test_vgg16.py`). With random weights, on 20 faces at 112 pixels, the error of a
row in bfloat16 was 2 % (DenseNet121) to 7 % (Xception) of the spread between images, VGG16's 1.9 %.
ConvNeXt is slow on a CPU, where Keras leaves its grouped convolutions to XLA.
"""

import warnings
from pathlib import Path

import keras
import numpy as np

from study.common.bases import Base
from study.common.errors import UserError, first_line
from study.common.packed import check_packed
from study.common.tensorflow import keras_home
from study.features.frozen import Frozen, freeze
from study.features.weights import RANDOM_SEED, random_kernel, short_timeout, weights_path


def build_application(base: Base, weights: str, size: int, preprocess: str) -> Frozen:
    """Return the network of `base` with these weights, from pixels to a vector.

    Raises:
        UserError: there are no weights, or the file does not fit the base.
    """
    if weights == "auto":
        network, source = _of_keras(base, size), "Keras's ImageNet weights"
    elif weights == "random":
        network, source = _network(base, size, None), "random"
        network.set_weights(_random(network))
    else:
        path = weights_path(weights)
        network, source = _of_file(base, size, path), f"file {path}"
    name = base.name.lower()
    return freeze(network, size, preprocess, name=name, architecture=base.name, source=source)


def _network(base: Base, size: int, weights: str | None) -> keras.Model:
    build = getattr(keras.applications, base.name)
    with warnings.catch_warnings():
        # a MobileNet warns that it has no weights of its own for this size
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
        return build(include_top=False, weights=weights, pooling="avg", input_shape=(size, size, 3))


def _of_keras(base: Base, size: int) -> keras.Model:
    try:
        with short_timeout():
            return _network(base, size, "imagenet")
    except MemoryError:
        raise
    except Exception as error:  # a bare one where there is no network, h5py's of a damaged file
        raise UserError(
            f"no {base.name} weights: Keras could not load its own ({first_line(error)}); "
            f"put that file into {keras_home() / 'models'} (delete a damaged one there), or "
            "give `weights` a file"
        ) from error


def _of_file(base: Base, size: int, path: Path) -> keras.Model:
    try:
        check_packed(path)
        return _network(base, size, str(path))
    except MemoryError:
        raise
    except Exception as error:  # whatever Keras and h5py raise, the cause is this file
        raise UserError(
            f"weights file {path} does not fit {base.name} without its top "
            f"({first_line(error)}); give one that Keras wrote: .weights.h5, .keras or .h5"
        ) from error


def _random(network: keras.Model) -> list[np.ndarray]:
    """Return random kernels from a fixed seed and all else as Keras initializes it, for tests."""
    rng = np.random.default_rng(RANDOM_SEED)
    return [
        random_kernel(rng, weight.shape) if weight.name.endswith("kernel") else np.asarray(weight)
        for weight in network.weights
    ]
