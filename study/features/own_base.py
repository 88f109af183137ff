"""A user's own `.keras` file -> a frozen network from pixels to a vector.

In: the file, an image size, and how its images are prepared, which only the user knows. Out: a
`Frozen`. Keras loads the file in safe mode: no code that came with it is run, so layers of the
user's own are refused. A vector is taken as it is, a map is averaged over its places.
"""

from pathlib import Path

import keras

from study.common.bases import NONE
from study.common.errors import UserError
from study.common.text import printable
from study.features.frozen import Frozen, digest_of, first_line
from study.features.keras_archive import architecture
from study.features.preprocessing import from_pixels


def load_own_base(base: str, size: int, preprocess: str) -> Frozen:
    """The network of the file `base`, for square images of `size` pixels.

    Raises:
        UserError: no such file, or a network that cannot be a base; the sentence says why.
    """
    what = architecture(base)
    network = _single(_loaded(base), base)
    _check_input(network, base, size, preprocess)
    rank = _output_rank(network, base)
    source = f"file {Path(base).name}"
    digest = digest_of(what, network.get_weights(), source)
    model = from_pixels(network, size, preprocess, "base")
    return Frozen(model, source, digest, from_map=rank == 4)


def _loaded(base: str) -> keras.Model:
    try:
        return keras.models.load_model(Path(base).expanduser(), compile=False, safe_mode=True)
    except Exception as error:  # each kind of trouble has another class and a page of text
        words = str(error)
        why = "is damaged, or another version of Keras wrote it"
        if "unsafe" in words or "ambda" in words:
            why = "holds a Lambda layer, which is code that nobody can check"
        elif "Could not locate" in words:
            why = "has a layer that Keras does not have"
        raise UserError(
            f"`base` {printable(base)} {why}; give a network of Keras's own layers "
            f"({first_line(error)})"
        ) from error


def _single(model: keras.Model, base: str) -> keras.Model:
    """The same network with one tensor in and one out, whatever lists or names it had."""
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs, outputs = [], []
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(
            f"`base` {printable(base)} has {len(inputs)} inputs and {len(outputs)} outputs; one "
            "image must go in and one vector or map come out"
        )
    return keras.Model(inputs[0], outputs[0], name=model.name)


def _check_input(network: keras.Model, base: str, size: int, preprocess: str) -> None:
    shape, dtype = tuple(network.inputs[0].shape), str(network.inputs[0].dtype)
    if len(shape) != 4 or shape[3] != 3 or (None not in shape[1:3] and shape[1] != shape[2]):
        raise UserError(
            f"`base` {printable(base)} takes {shape}; square RGB images are needed: "
            "(None, size, size, 3)"
        )
    for side in shape[1:3]:
        if side not in (None, size):
            raise UserError(
                f"`image_size` {size}: `base` {printable(base)} takes images of {side} pixels"
            )
    if "int" in dtype and preprocess != NONE:
        raise UserError(
            f"`preprocess` {preprocess}: `base` {printable(base)} takes {dtype}, so pixels as they "
            f"are: {NONE}"
        )


def _output_rank(network: keras.Model, base: str) -> int:
    shape = tuple(network.outputs[0].shape)
    if len(shape) not in (2, 4) or shape[-1] is None:
        raise UserError(
            f"`base` {printable(base)} gives {shape}; a vector (None, n) or a map (None, height, "
            "width, n) is needed: cut it behind such a layer and save it again"
        )
    return len(shape)
