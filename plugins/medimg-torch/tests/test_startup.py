"""Starting up: nothing is imported early, and a missing PyTorch is said in words."""

from __future__ import annotations

import subprocess
import sys

import medimg_torch
from medimg.testing import check_plugin


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_plugin_keeps_the_hooks():
    check_plugin(medimg_torch)


def test_naming_the_plugin_imports_no_framework():
    done = run(
        "import sys, medimg_torch; medimg_torch.medimg_backends();"
        "print(sorted({'numpy', 'torch', 'safetensors'} & set(sys.modules)))"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]")


def test_the_engine_starts_silently():
    done = run("from medimg_torch.engine import TorchBackend; print(TorchBackend().runtime().name)")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "torch", "")


def test_without_torch_the_plugin_loads_and_says_what_to_install():
    done = run(
        "import sys; sys.modules['torch'] = None\n"
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *a: None if name == 'torch' else found(name, *a)\n"
        "from medimg.manager import plugins\n"
        "from medimg.api import BackendError\n"
        "assert [s.status for s in plugins().statuses if s.name == 'torch'] == ['ok']\n"
        "try:\n    plugins().backend('torch')\n"
        "except BackendError as error:\n    print(error.message, '|', error.hint)"
    )
    assert done.returncode == 0, done.stderr
    assert "torch is not installed" in done.stdout
    assert 'pip install "medimg[torch]"' in done.stdout
