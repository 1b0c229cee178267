"""Training beside AUCMEDI: the same pictures, size, batch and epochs, its small network and ours.

AUCMEDI pins what medimg's environment has otherwise, so it lives in one of its own, and
MEDIMG_BENCH_AUCMEDI names that one's interpreter. Both sides train on pictures that were decoded
and resized before, with augmentation; validation and checkpoints are not counted. The best epoch of
each counts, for what else the machine does can only make one longer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("aucmedi_process.py")
PYTHON = "MEDIMG_BENCH_AUCMEDI"
SIDE, BATCH, EPOCHS, IMAGES = 150, 16, 5, 256
# images a second over AUCMEDI's
LEAST = 2.0
# `medimg train`, with the processor's seconds of each epoch beside the clock's
OURS = """
import json, sys, time
from medimg.cli.main import run
from medimg.training import run as module
fit, cpu = module.fit, []
def timed(network, *a, **k):
    epoch = network.train_epoch
    def train_epoch(*b, **c):
        began = time.process_time()
        result = epoch(*b, **c)
        cpu.append(time.process_time() - began)
        return result
    network.train_epoch = train_epoch
    return fit(network, *a, **k)
module.fit = timed
code = run(sys.argv[1:])
print(json.dumps(cpu))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def pictures(shared_data, tmp_path_factory) -> Path:
    """Class folders of chest X-rays in train/, and a few in val/, for medimg's validation."""
    folder = tmp_path_factory.mktemp("aucmedi") / "data"
    for label in ("NORMAL", "PNEUMONIA"):
        found = sorted((shared_data / "chest_xray_kermany").rglob(f"train/{label}/*.jpeg"))
        for part, chosen in (("train", found[: IMAGES // 2]), ("val", found[-16:])):
            (folder / part / label).mkdir(parents=True)
            for file in chosen:
                shutil.copyfile(file, folder / part / label / file.name)
    return folder


@pytest.fixture(scope="module")
def aucmedi(pictures) -> dict:
    """What AUCMEDI's training came to."""
    python = os.environ.get(PYTHON)
    if not python:
        pytest.skip(f"{PYTHON} names no interpreter that has AUCMEDI (tox.ini says how to get one)")
    line = [python, str(SCRIPT), str(pictures / "train"), *map(str, (SIDE, BATCH, EPOCHS))]
    apart = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(line, capture_output=True, text=True, env=apart)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_training_beside_aucmedi(backend, aucmedi, pictures, tmp_path, table):
    if importlib.util.find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    line = ["train", str(pictures), "--backend", backend, "--model", "cnn3", "--no-progress"]
    line += ["--image-size", SIDE, "--batch-size", BATCH, "--epochs", EPOCHS]
    line += [
        "--augment",
        "chest-xray",
        "--precision",
        "float32",
        "--no-preflight",
        "--name",
        "ours",
    ]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", OURS, *map(str, line)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "MEDIMG_CACHE": str(tmp_path / "cache")},
    )
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "runs/ours/report.json").read_text())["result"]
    assert result["parameters"]["total"] >= aucmedi["parameters"] > 0
    assert aucmedi["images"] == IMAGES
    ours = min(result["history"]["seconds"])
    theirs = min(aucmedi["seconds"])
    rows = [
        ["medimg", IMAGES / ours, min(json.loads(done.stdout.splitlines()[-1])),
         result["parameters"]["total"]],
        ["AUCMEDI", IMAGES / theirs, min(aucmedi["cpu"]), aucmedi["parameters"]],
    ]  # fmt: skip
    table(
        f"{backend} beside AUCMEDI, {SIDE} px, batch {BATCH}: {theirs / ours:.1f} times the images "
        f"a second (the whole command {took:.0f} s)",
        ["", "images/s", "CPU seconds an epoch", "parameters"],
        rows,
    )
    assert theirs / ours >= LEAST
