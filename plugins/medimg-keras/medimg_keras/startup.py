"""TensorFlow and Keras, imported once with the settings that medimg needs.

Every other module of this package takes `keras` and `tf` from here, so that the settings are made
before either of them is imported.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from medimg.api import BackendError

# Keras reads this at import; a user's own setting is about other programs
os.environ["KERAS_BACKEND"] = "tensorflow"
TALKATIVE = "TF_CPP_MIN_LOG_LEVEL" in os.environ
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def quiet() -> Iterator[None]:
    """Holds back standard error; on an exception it is let out.

    TensorFlow's libraries write notices (oneDNN, absent CUDA drivers) to the descriptor before
    any log level counts. Setting TF_CPP_MIN_LOG_LEVEL oneself shows them.
    """
    if TALKATIVE:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


with quiet():
    import keras
    import tensorflow as tf

    GPUS = tf.config.list_physical_devices("GPU")
    for gpu in GPUS:
        # a context that is made already keeps the setting that it was made with
        with suppress(RuntimeError):
            tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    # TF32 keeps 10 bits of the mantissa: another precision than the float32 that is reported
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if not TALKATIVE:
        # networks are prepared several times a process, each with a step of its own; TensorFlow
        # takes that for retracing
        tf.get_logger().setLevel("ERROR")
    tf.zeros(()).numpy()  # makes the context, with its own notices

if keras.backend.backend() != "tensorflow":
    raise BackendError(
        f"Keras was started on {keras.backend.backend()} before medimg could choose TensorFlow",
        "Unset KERAS_BACKEND, or import nothing of Keras before medimg.",
    )

__all__ = ["GPUS", "keras", "tf"]
