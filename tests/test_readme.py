"""What the README tells people to do works: its plugin, its commands, its test command."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from medimg.manager import plugins

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHECK = "medimg-phone:phone-pictures"


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def installed(folder: Path) -> Path:
    """A folder that holds the README's plugin as pip would lay it out."""
    (project,) = (tomllib.loads(block) for block in blocks("toml"))
    (code,) = blocks("python")
    (module,) = project["project"]["entry-points"]["medimg"].values()
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    name, version = project["project"]["name"], project["project"]["version"]
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
    )
    points = project["project"]["entry-points"]["medimg"].items()
    (metadata / "entry_points.txt").write_text(
        "[medimg]\n" + "".join(f"{key} = {value}\n" for key, value in points), encoding="utf-8"
    )
    return folder


def medimg(folder: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command line that finds the plugin in `folder`."""
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from medimg.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, str(folder), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of ten noise pictures, two of them named by a phone."""
    import cv2
    import numpy as np

    noise = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for number in range(10):
            name = f"IMG_{number}" if label == "malignant" and number < 2 else f"scan{number}"
            pixels = noise.integers(0, 256, (32, 32), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "scans" / label / f"{name}.png"), pixels)
    return tmp_path / "scans"


def test_the_plugin_is_twenty_lines() -> None:
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def test_the_plugin_is_found_and_its_check_runs(tmp_path: Path, pictures: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    installed(site)
    listed = medimg(site, tmp_path, "plugins", "--json")
    assert CHECK in {row["name"] for row in json.loads(listed.stdout)}, listed.stderr
    done = medimg(site, tmp_path, "verify", str(pictures), "--only", CHECK, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["result"]["checks"][CHECK]["status"] == "warning"
    (finding,) = [f for f in report["findings"] if f["check"] == CHECK]
    assert finding["message"] == "2 files are named like pictures taken with a phone"
    assert {item["file"] for item in finding["items"]} == {
        "malignant/IMG_0.png",
        "malignant/IMG_1.png",
    }


def test_every_command_line_names_a_command_that_exists() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    used = {m[1] for line in lines if (m := re.search(r"(?:^|/)medimg (\w[\w-]*)", line))}
    assert len(used) >= 8
    assert used <= set(plugins().commands())


def test_every_option_in_the_examples_exists() -> None:
    import click

    manager = plugins()
    context = click.Context(click.Command("medimg"))
    for block in blocks("sh"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] != "medimg":
                continue
            command = manager.resolve(manager.commands()[words[1]])
            known = {o for p in command.get_params(context) for o in p.opts}
            given = {w for w in words[2:] if w.startswith("-")}
            assert given <= known, line


def test_ci_runs_the_readmes_test_command() -> None:
    (command,) = [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if line.endswith(".venv/bin/tox")
    ]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for part in command.split(" && "):
        assert part in script, part


def test_the_environments_that_the_readme_and_ci_name_exist() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    listed = [name.strip() for name in tox["tox"]["env_list"].split(",")]
    sections = " ".join(tox.sections())
    for name in [*listed, *re.findall(r"tox -e (\w+)", README)]:
        assert name == "py" or re.search(rf"\b{name}\b", sections), name
