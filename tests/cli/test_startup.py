"""The command line answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from medimg.manager import plugins

HEAVY = (
    "torch",
    "keras",
    "tensorflow",
    "gradio",
    "ray",
    "matplotlib",
    "sklearn",
    "pydantic",
    "numpy",
    "cv2",
)
LIMIT_S = 0.3
PROBE = """
import sys
from medimg.cli.main import run
sys.argv = ["medimg", *{arguments!r}]
code = run({arguments!r})
print("\\nLOADED", *[m for m in {heavy!r} if m in sys.modules])
sys.exit(code)
"""


def loaded_by(arguments: list[str]) -> list[str]:
    code = PROBE.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("arguments", [["--help"], *[[c, "--help"] for c in plugins().commands()]])
def test_help_imports_nothing_heavy(arguments):
    assert loaded_by(arguments) == []


def test_help_answers_in_time():
    def seconds() -> float:
        before = cpu_seconds()
        subprocess.run([sys.executable, "-m", "medimg", "--help"], capture_output=True, check=True)
        return cpu_seconds() - before

    # the quickest of several, of a processor's time: the machine may be busy
    assert min(seconds() for _ in range(5)) < LIMIT_S


def cpu_seconds() -> float:
    """What the finished child processes have used; they wait for nothing but the disk."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.mark.parametrize("name", sorted(plugins().commands()))
def test_every_help_starts_with_an_imperative_and_most_end_with_an_example(name):
    done = subprocess.run(
        [sys.executable, "-m", "medimg", name, "--help"], capture_output=True, text=True, check=True
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    assert lines[0].startswith(f"Usage: python -m medimg {name}") or lines[0].startswith(
        f"Usage: medimg {name}"
    )
    assert any(f"medimg {name}" in line for line in lines[-3:]), lines[-3:]
