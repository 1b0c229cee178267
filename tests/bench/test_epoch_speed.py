"""An epoch of training beside bare optimizer steps, and bfloat16 beside float32 where it is native.

The best round of each counts, for what else the machine does can only make a round longer.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("epoch_process.py")
# medimg's time over the bare steps'
MOST = 1.10
# images a second over the plain float32 loop's, on a CPU that multiplies bfloat16 itself
LEAST_GAIN = {"torch": 1.8, "keras": 1.5}
# model, pixels a side, images an epoch, batch
CASES = [("cnn3", 150, 160, 16), ("resnet18-small", 28, 128, 32)]
ROUNDS = 6


def measured(backend: str, model: str, side: int, images: int, batch: int, precision: str) -> dict:
    if importlib.util.find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    arguments = (backend, model, side, images, batch, ROUNDS, precision)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def show(table, title: str, images: int, seconds: dict) -> float:
    """Prints what was measured; medimg's best round over the bare one's."""
    ratio = min(seconds["medimg"]) / min(seconds["bare"])
    rows = [
        [name, images / min(seconds[name]), min(seconds[f"{name} cpu"]), len(seconds[name])]
        for name in ("medimg", "bare")
    ]
    table(
        f"{title}: {ratio:.2f} times the bare steps' time",
        ["", "images/s", "CPU seconds an epoch", "rounds"],
        rows,
    )
    return ratio


@pytest.mark.parametrize("model, side, images, batch", CASES)
@pytest.mark.parametrize("backend", list(LEAST_GAIN))
def test_an_epoch_beside_bare_steps(backend, model, side, images, batch, table):
    seconds = measured(backend, model, side, images, batch, "float32")
    ratio = show(table, f"{backend}, {model} at {side} px, augmented", images, seconds)
    assert ratio <= MOST


def has_bfloat16() -> bool:
    """AMX, or AVX-512's own instructions for bfloat16."""
    info = Path("/proc/cpuinfo")
    told = info.read_text(errors="replace") if info.exists() else ""
    return "amx_bf16" in told or "avx512_bf16" in told


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no instructions for bfloat16")
@pytest.mark.parametrize("backend", list(LEAST_GAIN))
def test_bfloat16_beside_a_plain_float32_loop(backend, table):
    seconds = measured(backend, "cnn3", 150, 160, 16, "bfloat16")
    ratio = show(table, f"{backend}, cnn3 at 150 px in bfloat16", 160, seconds)
    assert 1 / ratio >= LEAST_GAIN[backend]
