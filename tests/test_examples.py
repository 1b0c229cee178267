"""The recipes of examples/ are recipes, for models that the registry has."""

from __future__ import annotations

from pathlib import Path

import pytest

from medimg.core.recipe import read_recipe, resolve
from medimg.manager import plugins

RECIPES = sorted((Path(__file__).resolve().parents[1] / "examples" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_resolve(file):
    recipe = resolve({}, read_recipe(file))

    registry = plugins().registry()
    assert registry.model(str(recipe.model)).input_size == recipe.image_size
    assert recipe.augment == "none" or registry.augmentation(recipe.augment)


def test_there_are_recipes():
    assert len(RECIPES) == 3
