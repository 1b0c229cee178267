"""Training on 100,000 pictures of 224 px: caches are mapped, not loaded."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("memory_process.py")
LIMIT, STEPS = 4 * 10**9, 8


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells of anonymous memory")
@pytest.mark.parametrize("backend", ["torch", "keras"])
def test_memory_beside_the_framework(backend, table):
    if importlib.util.find_spec(f"medimg_{backend}") is None:
        pytest.skip(f"medimg-{backend} is not installed")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), backend, str(STEPS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    table(
        f"{backend}: anonymous memory of 100,000 pictures of 224 px, in GB",
        ["framework and network", "with pictures", "with features of all of them"],
        [[told[name] / 1e9 for name in ("framework", "pictures", "features")]],
    )
    assert max(told["pictures"], told["features"]) - told["framework"] < LIMIT
