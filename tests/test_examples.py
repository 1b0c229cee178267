"""The examples: their recipes are recipes, for models that the registry has, and what runs runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medimg.core.recipe import read_recipe, resolve
from medimg.manager import plugins

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STUDIES = sorted((EXAMPLES / "recipes").glob("*.yaml"))
RECIPES = sorted(EXAMPLES.rglob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_resolve(file):
    recipe = resolve({}, read_recipe(file))

    registry = plugins().registry()
    card = registry.model(str(recipe.model))
    assert recipe.backend in ("auto", *card.backends)
    assert recipe.augment == "none" or registry.augmentation(recipe.augment)
    # a study's recipe is at the study's size
    assert file not in STUDIES or card.input_size == recipe.image_size


def test_there_are_recipes():
    assert len(STUDIES) == 3
    assert len(RECIPES) > len(STUDIES)


def test_no_example_was_tuned_on_the_test_part():
    """The preset says of itself that PneumoniaMNIST's test part was in view."""
    for file in (EXAMPLES / "pneumoniamnist").rglob("*.yaml"):
        assert read_recipe(file)["augment"] != "chest-xray-exposure"


@pytest.mark.slow
def test_pneumoniamnist_looks_at_test_only_when_told(phantoms, tmp_path):
    """Its script, on a second's training; a second call trains and evaluates nothing again."""
    (tmp_path / "quick.yaml").write_text("backend: linear\nimage_size: 32\nepochs: 2\n")
    script = EXAMPLES / "pneumoniamnist" / "run.py"
    line = [sys.executable, str(script), str(phantoms), "quick.yaml", "--seeds", "3", "4"]

    def told(*more: str) -> list[str]:
        done = subprocess.run(
            [*line, *more],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "MEDIMG_CACHE": str(tmp_path / "cache")},
        )
        assert done.returncode == 0, done.stderr
        return [text for text in done.stdout.splitlines() if text.startswith(("seed", "mean"))]

    chosen = told()
    assert [text.split(":")[0] for text in chosen] == ["seed 3", "seed 4", "mean"]
    assert "val auroc" in chosen[2] and "test" not in "".join(chosen)
    assert not list(tmp_path.glob("runs/*/evaluate"))
    looked = told("--test")
    assert "test auroc" in looked[2] and "test accuracy at 0.5" in looked[2]
    # nothing is trained or looked at again: the dataset may be gone
    kept = shutil.move(tmp_path / "runs", tmp_path / "kept")
    line[2] = "gone.npz"
    assert told("--test", "--out", str(kept)) == looked
