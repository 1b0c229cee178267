"""Ctrl-C at any moment ends a command in one line: in Python's imports and at its end, too."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
# presses Ctrl-C when a module is about to be imported
PRESSED = """
import signal, sys, weakref

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            {press}

sys.meta_path.insert(0, Press())
sys.argv = ["medimg", *{arguments!r}]
{start}
"""
PRESS = "signal.raise_signal(signal.SIGINT)"
# where Python can't raise it: it is printed and forgotten
PRESS_ASIDE = "weakref.finalize(type('Thing', (), {})(), signal.raise_signal, signal.SIGINT)"
AS_MODULE = 'import runpy; runpy.run_module("medimg", run_name="__main__", alter_sys=True)'


def as_script() -> str:
    """What an installer writes for the console script."""
    scripts = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["scripts"]
    point = EntryPoint("medimg", scripts["medimg"], "console_scripts")
    return f"from {point.module} import {point.attr}\nsys.exit({point.attr}())"


def pressed(start: str, module: str, press: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and what is told where Ctrl-C is pressed at an import."""
    code = PRESSED.format(module=module, press=press, arguments=arguments, start=start)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


# before the error boundary, while plugins are loaded, in a command's own imports
@pytest.mark.parametrize(
    "module", ["click", "medimg.manager", "medimg.builtin", "medimg.commands.verify", "tabulate"]
)
@pytest.mark.parametrize("start", [AS_MODULE, as_script()], ids=["module", "script"])
@pytest.mark.parametrize("press", [PRESS, PRESS_ASIDE], ids=["raised", "aside"])
def test_an_interrupt_of_an_import_is_one_line(start, module, press):
    assert pressed(start, module, press, ["verify", "--list"]) == (130, "\nInterrupted.\n")


@pytest.mark.parametrize("module", ["medimg.manager", "medimg.commands.verify"])
def test_an_interrupt_that_an_import_turns_into_an_error_is_one_line(module):
    """As Python 3.11 does for what a class tells its attributes, extension modules for theirs."""
    press = "raise RuntimeError('Error calling __set_name__') from KeyboardInterrupt()"
    assert pressed(as_script(), module, press, ["verify", "--list"]) == (130, "Interrupted.\n")


def test_an_interrupted_command_waits_for_no_thread():
    """One of a pool whose lock the interrupt left closed never ends."""
    code = (
        "import sys, threading\n"
        "sys.argv = ['medimg', 'doctor']\n"
        "import medimg.commands.doctor as doctor\n"
        "def stuck(*_, **__):\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
        "    raise KeyboardInterrupt\n"
        "doctor.command.callback = stuck\n" + as_script()
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "\nInterrupted.\n")


def test_an_interrupt_at_the_end_prints_nothing_more(tmp_path):
    """What Python clears away at its end is no place to raise it either."""
    at_end = "import atexit, signal; atexit.register(signal.raise_signal, signal.SIGINT)"
    code = f"import sys; sys.argv = ['medimg', '--version']\n{at_end}\n{as_script()}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("medimg, version") and done.stderr == ""
