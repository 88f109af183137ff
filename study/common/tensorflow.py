"""TensorFlow as the commands want it: silent while it is imported."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from study.common.errors import UserError
from study.common.text import printable


def import_tensorflow() -> None:
    """Import TensorFlow; what its libraries print is dropped, or shown if the import fails.

    No environment variable stops those lines: they are written before the log level is read.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            import tensorflow as tf

            if tf.config.list_physical_devices("GPU"):  # the search for them prints too
                tf.config.experimental.enable_op_determinism()  # same input, same output
        except BaseException:
            printed.seek(0)
            os.write(kept, printed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def load_model(path: Path) -> Any:
    """The Keras model of a study's file, not compiled.

    Raises:
        UserError: it is damaged.
    """
    import_tensorflow()
    import keras  # heavy: kept out of --help

    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{printable(path)} is damaged ({type(error).__name__}); run the same search again, "
            "which writes it anew"
        ) from error
