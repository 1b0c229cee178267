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
# processors that others may keep busy where seconds by the clock are to mean something
MOST_OTHERS = 0.2
# model, head, pictures, batch, how many times faster than keras.Model.fit
CASES = {
    "resnet50 with a pooled head": ("resnet50", "gap", 64, 32, 8.0),
    "vgg16 with the study's head": ("vgg16", "flatten,fc4096,fc4096", 256, 256, 3.0),
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_a_head_on_a_frozen_backbone(backend, case, table, busy_processors):
    if importlib.util.find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    model, head, images, batch, least = CASES[case]
    others_since = busy_processors()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), backend, model, head, *map(str, (images, batch, EPOCHS))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seconds = json.loads(done.stdout.splitlines()[-1])
    others = others_since()
    told = [row_of(seconds, column) for column in (0, 1)]
    table(
        f"{backend}, {case}: {images} pictures, batch {batch}, {EPOCHS} epochs, in seconds; others "
        f"kept {others:.1f} processors busy",
        ["", "medimg", "of it keeping weights", "backbone once", "head alone", "over both",
         "Model.fit", "times faster"],
        [["by the clock", *told[0].values()], ["of the processor", *told[1].values()]],
    )  # fmt: skip
    # others that compute at the same time make seconds by the clock mean nothing
    judged = told[1:] if others > MOST_OTHERS else told
    for row in judged:
        assert row["over"] <= MOST
        assert not row["fit"] or row["faster"] >= least


def row_of(seconds: dict[str, list[float]], column: int) -> dict[str, float | None]:
    """What was measured by the clock (0) or of the processor (1), and what is judged of it."""
    taken = {name: pair[column] for name, pair in seconds.items()}
    fit = taken.get("fit")
    return {
        "medimg": taken["medimg"],
        "keeping": taken["keeping"],
        "backbone": taken["backbone"],
        "head": taken["head"],
        "over": taken["medimg"] / (taken["backbone"] + taken["head"]),
        "fit": fit,
        "faster": fit / taken["medimg"] if fit else None,
    }
