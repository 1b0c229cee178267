"""Starting up: nothing is imported early, nothing is printed."""

from __future__ import annotations

import os
import subprocess
import sys

FRESH = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=FRESH | environment
    )


def test_naming_the_plugin_imports_no_framework():
    done = run(
        "import sys, medimg_keras; medimg_keras.medimg_backends();"
        "print(sorted({'numpy', 'keras', 'tensorflow'} & set(sys.modules)))"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]")


def test_the_engine_starts_silently_on_tensorflow_whatever_keras_is_set_to():
    done = run(
        "from medimg_keras.engine import KerasBackend; import keras;"
        "print(KerasBackend().runtime().name, keras.backend.backend())",
        KERAS_BACKEND="torch",
    )
    assert (done.returncode, done.stdout.split()) == (0, ["keras", "tensorflow"])
    assert done.stderr == ""


def test_what_is_written_before_a_failure_is_let_out():
    done = run(
        "import os\nfrom medimg_keras.startup import quiet\n"
        "with quiet():\n    os.write(2, b'the cause\\n')\n    raise SystemExit(5)"
    )
    assert (done.returncode, done.stderr) == (5, "the cause\n")
