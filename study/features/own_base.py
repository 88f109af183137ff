"""A user's own `.keras` file -> a frozen network from pixels to a vector.

In: the file, an image size, and how its images are prepared, which only the user knows. Out: a
`Frozen`. Keras loads the file in safe mode, which runs no code from it, so a network with layers of
the user's own is refused. A vector is used as it is, a map is averaged over its positions.
"""

from pathlib import Path

import keras

from study.common.bases import NONE
from study.common.errors import UserError
from study.common.packed import check_packed
from study.common.text import counted, printable
from study.features.frozen import Frozen, first_line, freeze
from study.features.keras_archive import architecture


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
            f"`base` {printable(base)} returns {shape}, but a base needs a vector (None, n) or a "
            "map (None, height, width, n): cut it after such a layer and save it again"
        )
    source = f"file {Path(base).name}"
    return freeze(network, size, preprocess, name="base", architecture=what, source=source)


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
            f"`base` {printable(base)} {why}; give a network of Keras's own layers "
            f"({first_line(error)})"
        ) from error


def _single(model: keras.Model, base: str) -> keras.Model:
    """Return the network with one tensor in and one out, even if it had lists or names of one."""
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(
            f"`base` {printable(base)} has {counted(len(inputs), 'input')} and "
            f"{counted(len(outputs), 'output')}, but a base takes one image and returns one vector "
            "or map"
        )
    return keras.Model(inputs[0], outputs[0], name=model.name)


def _check_input(network: keras.Model, base: str, size: int, preprocess: str) -> None:
    shape, dtype = tuple(network.inputs[0].shape), str(network.inputs[0].dtype)
    if len(shape) != 4 or shape[3] != 3 or (None not in shape[1:3] and shape[1] != shape[2]):
        raise UserError(
            f"`base` {printable(base)} takes {shape}, but a base needs square RGB images: "
            "(None, size, size, 3)"
        )
    for side in shape[1:3]:
        if side not in (None, size):
            raise UserError(
                f"`image_size` {size}: `base` {printable(base)} takes images of {side} pixels"
            )
    if "int" in dtype and preprocess != NONE:
        raise UserError(
            f"`preprocess` {preprocess}: `base` {printable(base)} takes {dtype} pixels as they "
            f"are; give {NONE}"
        )
