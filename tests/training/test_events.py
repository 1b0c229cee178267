"""TensorBoard's events, read back with TensorBoard's own reader."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from medimg.core.errors import UsageError
from medimg.training import events
from medimg.training.events import Events, require_tensorboard

ROWS = [
    {"epoch": 1, "loss": 0.75, "val_auroc": None, "learning_rate": 0.001},
    {"epoch": 2, "loss": 0.5, "val_auroc": 0.875, "learning_rate": 0.0005},
]
# TensorBoard's reader takes TensorFlow where it is installed, unless it finds this module
READ = """
import json, sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(sys.argv[1]).Reload()
tags = read.Tags()["scalars"] + read.Tags()["tensors"]
def values(tag):
    if tag in read.Tags()["scalars"]:
        return [(e.step, e.value) for e in read.Scalars(tag)]
    return [(e.step, e.tensor_proto.float_val[0]) for e in read.Tensors(tag)]
print(json.dumps({tag: values(tag) for tag in tags}))
"""


def read(folder) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard.compat.proto")
    written = Events(tmp_path / "tensorboard")
    for row in ROWS:
        written.add(row)
    expected = {
        "loss": [[1, 0.75], [2, 0.5]],
        "val_auroc": [[2, 0.875]],
        "learning_rate": [[1, pytest.approx(0.001)], [2, pytest.approx(0.0005)]],
    }
    assert read(tmp_path / "tensorboard") == expected
    # a run that goes on writes its epochs once
    again = Events(tmp_path / "tensorboard", ROWS[:1])
    again.add(ROWS[1])
    assert read(tmp_path / "tensorboard") == expected


def test_no_framework_is_imported_for_it(tmp_path):
    pytest.importorskip("tensorboard.compat.proto")
    code = (
        "import sys; from pathlib import Path; from medimg.training.events import Events; "
        "Events(Path(sys.argv[1])).add({'epoch': 1, 'loss': 1.0}); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60).returncode == 0


def test_without_the_package_it_says_what_to_install(monkeypatch, medimg_train):
    monkeypatch.setattr(events, "PACKAGE", "tensorboard_that_is_missing")
    with pytest.raises(UsageError, match="needs the package tensorboard") as caught:
        require_tensorboard()
    assert "pip install tensorboard" in caught.value.hint
    code, err = medimg_train("--tensorboard")
    assert code == 2 and "pip install tensorboard" in err


@pytest.fixture
def medimg_train(phantoms, tmp_path, monkeypatch, capsys):
    from medimg.cli.main import run

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run(["train", str(phantoms), "--backend", "linear", "--epochs", "1", *arguments])
        assert code == 0 or not (tmp_path / "runs").exists()
        return code, capsys.readouterr().err

    return call
