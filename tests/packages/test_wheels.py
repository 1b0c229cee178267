"""Every wheel, built from its source distribution, installed and used away from the checkout.

Packaging faults hide in editable installs: a file that no wheel holds, a dependency that nobody
declared, an entry point that points nowhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packages

CHECKOUT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = [CHECKOUT, *sorted(p.parent for p in CHECKOUT.glob("plugins/*/pyproject.toml"))]
# these need gigabytes: their wheels are installed without what they depend on, which is the case
# of a user whose framework is missing
FRAMEWORKS = ("medimg_torch", "medimg_keras")


def must(*command: str | Path, cwd: Path, **environment: str) -> str:
    """The standard output of a command that has to succeed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every distribution, each built from its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for source in DISTRIBUTIONS:
        must(sys.executable, "-m", "build", "--no-isolation", "-o", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def elsewhere(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheels and no checkout."""
    folder = tmp_path_factory.mktemp("empty")
    must(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [binaries / "python", "-m", "pip", "install", "-q", "--no-compile"]
    pip += ["-c", CHECKOUT / "constraints.txt"]
    bare = [w for w in wheels.glob("*.whl") if w.name.startswith(FRAMEWORKS)]
    must(*pip, *(w for w in wheels.glob("*.whl") if w not in bare), cwd=folder)
    must(*pip, "--no-deps", *bare, cwd=folder)
    return binaries


def test_every_distribution_makes_a_wheel(wheels: Path) -> None:
    assert len(DISTRIBUTIONS) >= 5
    assert len(list(wheels.glob("*.whl"))) == len(DISTRIBUTIONS)


def test_the_core_wheel_holds_the_registry_and_the_licence(wheels: Path) -> None:
    (wheel,) = wheels.glob("medimg-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        registry = archive.read("medimg/registry.yaml")
    assert registry == (CHECKOUT / "registry.yaml").read_bytes()
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    packages = {p.parent.relative_to(CHECKOUT).as_posix() for p in CHECKOUT.glob("medimg/**/*.py")}
    assert {str(Path(name).parent) for name in names if name.endswith(".py")} == packages
    assert not [name for name in names if name.startswith(("tests/", "plugins/", "shared"))]


def test_the_source_distribution_holds_what_a_build_needs(wheels: Path) -> None:
    (sdist,) = wheels.glob("medimg-[0-9]*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"registry.yaml", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names


def test_medimg_answers_elsewhere(elsewhere: Path, tmp_path: Path) -> None:
    said = must(elsewhere / "medimg", "--version", cwd=tmp_path)
    assert said.startswith("medimg, version ")
    where = must(elsewhere / "python", "-c", "import medimg; print(medimg.__file__)", cwd=tmp_path)
    assert not Path(where.strip()).is_relative_to(CHECKOUT)


def test_all_plugins_load_elsewhere(elsewhere: Path, tmp_path: Path) -> None:
    rows = json.loads(must(elsewhere / "medimg", "plugins", "--json", cwd=tmp_path))
    assert [r for r in rows if r["status"] == "broken"] == []
    backends = {r["name"]: r for r in rows if r["kind"] == "backend"}
    assert backends["linear"]["status"] == "ok"
    for name in ("torch", "keras"):
        assert backends[name]["status"] == "unavailable"
        assert "not installed" in backends[name]["reason"]
    plugins = {source.name for source in DISTRIBUTIONS[1:]}
    assert {r["distribution"] for r in rows} == {"medimg", *plugins}


def test_the_cards_are_there_elsewhere(elsewhere: Path, tmp_path: Path) -> None:
    models = json.loads(must(elsewhere / "medimg", "models", "--json", cwd=tmp_path))
    assert {"cnn3", "logistic"} <= {m["name"] for m in models}
    card = json.loads(must(elsewhere / "medimg", "datasets", "show", "idc", "--json", cwd=tmp_path))
    assert card["images"] == 277_524


def test_the_demo_runs_elsewhere(elsewhere: Path, tmp_path: Path) -> None:
    said = must(elsewhere / "medimg", "demo", "--backend", "linear", cwd=tmp_path)
    assert "phantom" in said.lower()
    reports = list((tmp_path / "medimg-demo").rglob("report.json"))
    assert {json.loads(r.read_text())["command"] for r in reports} >= {"verify", "train"}
