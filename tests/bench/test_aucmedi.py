"""Training beside AUCMEDI: the same pictures, size, batch and epochs, its small network and ours.

AUCMEDI pins what medimg's environment has otherwise, so it lives in one of its own, and
MEDIMG_BENCH_AUCMEDI names that one's interpreter. Both sides train on pictures that were decoded
and resized before, with augmentation; validation and checkpoints are not counted. The best epoch of
each counts, for what else the machine does can only make one longer; where others keep its
processors busy, seconds of the processor are compared.

At 64 px, with medimg's network for that size, AUCMEDI's own work on a picture weighs. At 150 px
both are bound by their first convolutions, which are the same: that is shown, and held to nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("aucmedi_process.py")
PYTHON = "MEDIMG_BENCH_AUCMEDI"
BATCH, EPOCHS, IMAGES = 16, 5, 256
# model, pixels a side, images a second over AUCMEDI's
CASES = [("cnn2", 64, 2.0), ("cnn3", 150, 0.0)]
MOST_OTHERS = 0.2
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


@cache
def aucmedi(folder: Path, side: int) -> dict:
    """What AUCMEDI's training came to."""
    python = os.environ.get(PYTHON)
    if not python:
        pytest.skip(f"{PYTHON} names no interpreter that has AUCMEDI (tox.ini says how to get one)")
    line = [python, str(SCRIPT), str(folder / "train"), *map(str, (side, BATCH, EPOCHS))]
    apart = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(line, capture_output=True, text=True, env=apart)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("model, side, least", CASES)
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_training_beside_aucmedi(
    backend, model, side, least, pictures, tmp_path, table, busy_processors
):
    if importlib.util.find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    others_since = busy_processors()
    theirs = aucmedi(pictures, side)
    line = ["train", str(pictures), "--backend", backend, "--model", model, "--no-progress"]
    line += ["--image-size", side, "--batch-size", BATCH, "--epochs", EPOCHS]
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
    assert result["parameters"]["total"] >= theirs["parameters"] > 0
    assert theirs["images"] == IMAGES
    others = others_since()
    clock = (min(result["history"]["seconds"]), min(theirs["seconds"]))
    cpu = (min(json.loads(done.stdout.splitlines()[-1])), min(theirs["cpu"]))
    ours, aucmedis = cpu if others > MOST_OTHERS else clock
    rows = [
        ["medimg", IMAGES / clock[0], cpu[0],
         result["parameters"]["total"]],
        ["AUCMEDI", IMAGES / clock[1], cpu[1], theirs["parameters"]],
    ]  # fmt: skip
    table(
        f"{backend} beside AUCMEDI, {model} at {side} px, batch {BATCH}: {aucmedis / ours:.1f} "
        f"times as fast (others kept {others:.1f} processors busy; the whole command {took:.0f} s)",
        ["", "images/s", "CPU seconds an epoch", "parameters"],
        rows,
    )
    assert aucmedis / ours >= least
