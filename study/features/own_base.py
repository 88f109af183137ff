"""A user's own `.keras` file -> a frozen network from pixels to a vector.

In: the file, an image size, and how its images are prepared, which only the user knows. Out: a
`Frozen`. Keras loads the file in safe mode, which runs no code from it, so a network with layers of
the user's own is refused. A vector is used as it is, a map is averaged over its positions.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from study.common.bases import NONE, short_name
from study.common.errors import UserError, first_line
from study.common.packed import check_packed
from study.common.text import counted
from study.features.frozen import Frozen, freeze
from study.features.keras_archive import architecture

PROBABILITIES = ("softmax", "sigmoid", "logsoftmax", "logsigmoid", "hardsigmoid")
KEEP_VALUES = ("Flatten", "Reshape", "Dropout", "GlobalAveragePooling2D", "Identity")
NORMALIZE = (keras.layers.Normalization, keras.layers.BatchNormalization)
LARGE = 10.0  # between pixels of 0 to 1 and of 0 to 255


def load_own_base(base: str, size: int, preprocess: str) -> Frozen:
    """Return the network in the file `base`, for square images of `size` pixels.

    Raises:
        UserError: the file does not exist, or its network cannot be a base.
    """
    what = architecture(base)
    network = _single(_loaded(base), base)
    _check_input(network, base, size, preprocess)
    shape = tuple(network.outputs[0].shape)
    if len(shape) not in (2, 4) or shape[-1] is None:
        raise UserError(
            f"`base` {base} returns {shape}, but a base needs a vector (None, n) or a "
            "map (None, height, width, n): cut it after such a layer and save it again"
        )
    source = f"file {Path(base).name}"
    found = freeze(network, size, preprocess, name="base", architecture=what, source=source)
    return found._replace(doubts=tuple(_doubts(network, base, preprocess)))


def _loaded(base: str) -> keras.Model:
    try:
        check_packed(Path(base).expanduser())
        return keras.models.load_model(Path(base).expanduser(), compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:  # of a different class for each problem, with a page of text
        words = str(error)
        why = "is damaged, or another version of Keras wrote it"
        if "unsafe" in words or "ambda" in words:
            why = "has a Lambda layer, whose code cannot be checked"
        elif "would unpack" in words:
            why = "is packed as no network is"
        elif "Could not locate" in words:
            why = "has a layer that Keras does not have"
        raise UserError(
            f"`base` {base} {why}; give a network of Keras's own layers ({first_line(error)})"
        ) from error


def _single(model: keras.Model, base: str) -> keras.Model:
    """Return the network with one tensor in and one out, even if it had lists or names of one."""
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(
            f"`base` {base} has {counted(len(inputs), 'input')} and "
            f"{counted(len(outputs), 'output')}, but a base takes one image and returns one vector "
            "or map"
        )
    return keras.Model(inputs[0], outputs[0], name=model.name)


def _check_input(network: keras.Model, base: str, size: int, preprocess: str) -> None:
    shape, dtype = tuple(network.inputs[0].shape), str(network.inputs[0].dtype)
    if len(shape) != 4 or shape[3] != 3 or (None not in shape[1:3] and shape[1] != shape[2]):
        raise UserError(
            f"`base` {base} takes {shape}, but a base needs square RGB images: "
            "(None, size, size, 3)"
        )
    for side in shape[1:3]:
        if side not in (None, size):
            raise UserError(f"`image_size` {size}: `base` {base} takes images of {side} pixels")
    if "int" in dtype and preprocess != NONE:
        raise UserError(
            f"`preprocess` {preprocess}: `base` {base} takes {dtype} pixels as they "
            f"are; give {NONE}"
        )


def _doubts(network: keras.Model, base: str, preprocess: str) -> Iterator[str]:
    """Yield a sentence if it ends as a classifier, and one if pixels are prepared twice."""
    name, width, ending = short_name(base), network.outputs[0].shape[-1], _ending(network)
    if ending or width == 1:
        yield (
            f"base {name} ends in {ending or 'one number'}, as a classifier does, which tells less "
            "about an image than the layers before: cut it before its last layers and save it again"
        )
    before = itertools.takewhile(lambda one: not _learns(one), _operations(network))
    inside = next((type(one).__name__ for one in before if _divides(one)), "")
    if inside and preprocess != NONE:
        yield (
            f"base {name} prepares pixels of 0 to 255 itself ({inside}), and preprocess "
            f"{preprocess} does so before it: set preprocess to {NONE}"
        )


def _ending(network: keras.Model) -> str:
    """Return the activation of the output if it is one of `PROBABILITIES`, else ""."""
    tensor = network.outputs[0]
    while True:
        last, node, _ = tensor._keras_history
        if isinstance(last, keras.Model):
            tensor = last.outputs[0]
            continue
        words = (getattr(getattr(last, "activation", None), "__name__", ""), type(last).__name__)
        for word in words:
            if word.lower().replace("_", "") in PROBABILITIES:
                return word.lower()
        if words[1] not in KEEP_VALUES and (words[0] != "linear" or getattr(last, "weights", ())):
            return ""
        tensor = last._inbound_nodes[node].input_tensors[0]


def _operations(network: keras.Model) -> Iterator[Any]:
    """Yield the operations in their order, also those of networks inside."""
    for one in getattr(network, "operations", network.layers):  # Sequential has layers alone
        yield from _operations(one) if isinstance(one, keras.Model) else (one,)


def _learns(one: Any) -> bool:
    return bool(getattr(one, "weights", ())) and not isinstance(one, NORMALIZE)


def _divides(one: Any) -> bool:
    """Return whether it expects numbers of about 100 and makes them small."""
    if isinstance(one, NORMALIZE):
        mean = one.mean if isinstance(one, keras.layers.Normalization) else one.moving_mean
        return bool(np.max(np.abs(mean)) > LARGE)
    if isinstance(one, keras.layers.Rescaling):
        return bool(np.max(np.abs(one.scale)) < 1 / LARGE)
    numbers = [n for n in one._inbound_nodes[0].arguments.args if isinstance(n, int | float)]
    kind = type(one).__name__
    return any(
        ("Divide" in kind and n > LARGE) or (kind == "Multiply" and 0 < n < 1 / LARGE)
        for n in numbers
    )
