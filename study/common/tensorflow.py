"""TensorFlow and Keras as the commands need them: silent while imported, with Keras's defaults.

A `keras.json` or an environment variable left behind by another project would swap the axes of
images, change the arithmetic or ask for a backend that is not installed. So Keras starts with an
empty settings folder.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from study.common.errors import UserError
from study.common.freed_memory import share_arenas
from study.common.packed import BROKEN, check_packed

FROM_OUTSIDE = ("KERAS_BACKEND", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")
NEEDED = {
    "backend": "tensorflow",
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "dtype_policy": "float32",
}


def import_tensorflow() -> None:
    """Import both; what their libraries print is dropped, or shown if the import fails.

    No environment variable stops those lines: they are written before the log level is read.

    Raises:
        UserError: this process imported Keras before, with other settings.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # else oneDNN keeps what it has once used in a pool, holes and all
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    share_arenas()
    sys.stderr.flush()
    kept, home = os.dup(2), keras_home()
    with tempfile.TemporaryFile() as printed, _default_settings():
        os.dup2(printed.fileno(), 2)
        try:
            import keras
            import tensorflow as tf

            keras.src.backend.config._KERAS_DIR = str(home)  # downloads still go there
            if tf.config.list_physical_devices("GPU"):  # the search for them prints too
                _compute_exactly()
        except Exception:
            printed.seek(0)
            os.write(kept, printed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
    _check_settings()


def load_model(path: Path) -> Any:
    """Return the Keras model in a study's file, not compiled; refuse a damaged file."""
    import_tensorflow()
    import keras  # heavy: kept out of --help

    try:
        check_packed(path)
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, *BROKEN) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}); run the same search again to rewrite it"
        ) from error


def keras_home() -> Path:
    """Return the folder of Keras's settings and downloads."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def _compute_exactly() -> None:
    """Make a GPU deterministic, and let float32 mean float32 there.

    TensorFlow would multiply float32 with TF32's 10 bits of mantissa. Ten epochs of Adam on an H200
    then moved the validation accuracy of 8 heads of the faces by up to 1.9 points from a CPU's; in
    float32 by at most one row of 160, in 3 to 20 % more time.
    """
    import tensorflow as tf
    from tensorflow.python.eager import context

    tf.config.experimental.enable_op_determinism()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if context.global_seed() is None:  # else nothing could be drawn: `model.fit` shuffles
        tf.random.set_seed(1)


@contextmanager
def _default_settings() -> Iterator[None]:
    """Hide the settings of other projects while Keras is imported."""
    hidden = ("KERAS_HOME", *FROM_OUTSIDE)
    before = {name: os.environ.pop(name) for name in hidden if name in os.environ}
    with tempfile.TemporaryDirectory() as empty:
        os.environ["KERAS_HOME"] = empty
        try:
            yield
        finally:
            del os.environ["KERAS_HOME"]
            os.environ.update(before)


def _check_settings() -> None:
    import keras

    for name, needed in NEEDED.items():
        found = getattr(keras.config, name)()
        found = getattr(found, "name", found)  # of a dtype policy
        if found != needed:
            raise UserError(
                f"this process has imported Keras with {name} {found}, but a study needs {needed}: "
                "start the study in a process of its own, or change that setting first"
            )
