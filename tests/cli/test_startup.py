"""The command line answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import subprocess
import sys
import time

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
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "medimg", "--help"], capture_output=True, check=True)
        return time.perf_counter() - started

    # the quickest of several: the machine may be busy, the program is what is measured
    assert min(seconds() for _ in range(7)) < LIMIT_S


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
