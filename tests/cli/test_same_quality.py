"""One recipe in both frameworks and in both precisions: the same test AUROC, over three seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

import pytest

pytestmark = pytest.mark.slow
BACKENDS, SEEDS = ["torch", "keras"], (0, 1, 2)
# what computing in bfloat16 may cost
MOST_LOST = 0.005
# one after the other in one process: a framework takes seconds to start
TRAINED = """
import sys
from medimg.cli.main import run
data, backend, precision, *seeds = sys.argv[1:]
for seed in seeds:
    line = ["train", data, "--allow", "duplicates-across-splits", "--backend", backend]
    line += ["--model", "cnn3", "--epochs", "6", "--batch-size", "32", "--augment", "light"]
    line += ["--precision", precision, "--seed", seed, "--no-preflight", "--no-progress", "-q"]
    assert run([*line, "--name", seed]) == 0
    assert run(["evaluate", f"runs/{seed}", "--resamples", "100", "--name", "test", "-q"]) == 0
"""


@pytest.fixture(scope="module")
def test_aurocs(shared_data, tmp_path_factory):
    """A function that trains on PneumoniaMNIST and gives the AUROC of each seed."""

    @cache
    def aurocs(backend: str, precision: str) -> list[float]:
        if find_spec(f"medimg_{backend}") is None:
            pytest.skip(f"medimg-{backend} is not installed")
        folder = tmp_path_factory.mktemp(f"{backend}-{precision}")
        data = shared_data / "pneumoniamnist" / "pneumoniamnist.npz"
        done = subprocess.run(
            [sys.executable, "-c", TRAINED, data, backend, precision, *map(str, SEEDS)],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "MEDIMG_CACHE": str(folder / "cache")},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [auroc_of(folder / "runs" / str(seed)) for seed in SEEDS]

    return aurocs


def auroc_of(run: Path) -> float:
    report = json.loads((run / "evaluate" / "test" / "report.json").read_text())
    return report["result"]["metrics"]["auroc"]["value"]


def test_both_backends_reach_the_same_auroc(test_aurocs, capsys):
    """Their means differ by no more than the seeds of one of them do."""
    values = {backend: test_aurocs(backend, "float32") for backend in BACKENDS}
    with capsys.disabled():
        print(f"\ntest AUROC by seed: {values}")
    spread = max(max(found) - min(found) for found in values.values())
    assert min(map(min, values.values())) > 0.9
    assert abs(mean(values["torch"]) - mean(values["keras"])) <= spread


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_costs_no_auroc(test_aurocs, backend, capsys):
    plain, short = (test_aurocs(backend, p) for p in ("float32", "bfloat16"))
    with capsys.disabled():
        print(f"\n{backend}, test AUROC by seed: float32 {plain}, bfloat16 {short}")
    # not the same numbers: it did compute otherwise
    assert plain != short
    assert abs(mean(plain) - mean(short)) <= MOST_LOST
