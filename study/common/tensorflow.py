"""TensorFlow as the commands want it: silent while it is imported."""

import os
import sys
import tempfile


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
