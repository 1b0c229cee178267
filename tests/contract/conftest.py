"""Backends in processes of their own, and the reason where one is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medimg.manager import plugins

SCRIPT = Path(__file__).parent / "backend_process.py"


def skip_without(backend: str) -> None:
    """Skips where a backend can't work here, saying why."""
    offered = plugins().backends()
    if backend not in offered:
        pytest.skip(f"no installed plugin offers the backend {backend}")
    why = plugins().why_not(offered[backend])
    if why:
        pytest.skip(f"the backend {backend} does not work here: {why}")


@pytest.fixture(scope="session")
def in_own_process() -> Callable[..., None]:
    """Runs `backend_process.py` with the arguments given; fails with what it printed."""

    def start(job: str, backend: str, *arguments: object) -> None:
        skip_without(backend)
        done = subprocess.run(
            [sys.executable, str(SCRIPT), job, backend, *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        assert done.returncode == 0, f"{backend}:\n{done.stderr[-3000:]}"

    return start


@pytest.fixture
def linear() -> tuple[Any, type]:
    """The backend that needs no framework, and its network's class to be broken."""
    skip_without("linear")
    from medimg_linear.network import Logistic

    return plugins().backend("linear")[1], Logistic
