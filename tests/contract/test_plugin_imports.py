"""Plugins go through the one door: of medimg they import `medimg.api` and `medimg.testing`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
SOURCES = sorted(PLUGINS.glob("medimg-*/medimg_*/**/*.py"))


def imported(code: str) -> Iterator[str]:
    """The modules and names that a module imports, wherever in it: `medimg.api.Finding`."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def past_the_door(code: str) -> list[str]:
    """What is imported from medimg past `medimg.api`."""
    from_medimg = [name for name in imported(code) if name.split(".")[0] == "medimg"]
    return [name for name in from_medimg if not f"{name}.".startswith("medimg.api.")]


@pytest.mark.parametrize("file", SOURCES, ids=[str(f.relative_to(PLUGINS)) for f in SOURCES])
def test_plugins_import_the_api_alone(file):
    assert past_the_door(file.read_text(encoding="utf-8")) == []


def test_every_plugin_is_looked_at():
    assert {f.relative_to(PLUGINS).parts[0] for f in SOURCES} == {
        p.name for p in PLUGINS.iterdir() if p.is_dir() and p.name.startswith("medimg-")
    }


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from medimg.api import Finding\nimport medimg.api\nimport medimg_dicom.folder", []),
        ("def f():\n    from medimg.core.index import files", ["medimg.core.index.files"]),
        ("import medimg.core", ["medimg.core"]),
        ("from medimg import opening", ["medimg.opening"]),
        ("import medimg", ["medimg"]),
    ],
)
def test_what_goes_past_the_door_is_seen(code, found):
    assert past_the_door(code) == found


def test_the_api_holds_what_it_names():
    import medimg.api

    for name in medimg.api.__all__:
        assert getattr(medimg.api, name) is not None
    assert set(medimg.api.LAZY) <= set(medimg.api.__all__)
