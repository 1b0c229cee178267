"""Twenty epochs of a head on a frozen backbone at 224 px, beside what they cost without medimg."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("frozen_process.py")
EPOCHS = 20
# medimg's time over one bare pass of the backbone and the head's own bare steps
MOST = 1.15
# model, head, pictures, batch, how many times faster than keras.Model.fit
CASES = {
    "resnet50 with a pooled head": ("resnet50", "gap", 64, 32, 8.0),
    "vgg16 with the study's head": ("vgg16", "flatten,fc4096,fc4096", 256, 256, 3.0),
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_head_on_a_frozen_backbone(backend, case, table):
    if importlib.util.find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    model, head, images, batch, least = CASES[case]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), backend, model, head, *map(str, (images, batch, EPOCHS))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seconds = json.loads(done.stdout.splitlines()[-1])
    overhead = seconds["medimg"] / (seconds["backbone"] + seconds["head"])
    fit = seconds.get("fit")
    table(
        f"{backend}, {case}: {images} pictures, batch {batch}, {EPOCHS} epochs, in seconds",
        ["medimg", "backbone once", "head alone", "over both", "Model.fit", "times faster"],
        [
            [seconds["medimg"], seconds["backbone"], seconds["head"], overhead, fit or "",
             fit / seconds["medimg"] if fit else ""],
        ],
    )  # fmt: skip
    assert overhead <= MOST
    if fit:
        assert fit / seconds["medimg"] >= least
