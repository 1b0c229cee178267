"""Recipes: what wins over what, what is refused, and what is read back."""

from __future__ import annotations

import pytest

from medimg.core.errors import InputError, UsageError
from medimg.core.recipe import Recipe, read_recipe, resolve, write_recipe


def test_flags_over_file_over_card_over_defaults():
    recipe = resolve(
        {"epochs": 1}, {"epochs": 2, "batch_size": 2}, {"epochs": 3, "batch_size": 3, "l2": 3.0}
    )
    assert (recipe.epochs, recipe.batch_size, recipe.l2, recipe.seed) == (1, 2, 3.0, 0)


def test_what_is_written_is_read_back(tmp_path):
    recipe = resolve(
        {"learning_rate": 3e-4, "options": {"group": "none"}, "allow": ["unreadable"]}, {}
    )
    write_recipe(tmp_path / "r.yaml", recipe)
    assert resolve({}, read_recipe(tmp_path / "r.yaml")) == recipe
    assert set(read_recipe(tmp_path / "r.yaml")) == set(Recipe.model_fields)


def test_dashes_are_underscores(tmp_path):
    (tmp_path / "r.yaml").write_text("batch-size: 4\n")
    assert read_recipe(tmp_path / "r.yaml") == {"batch_size": 4}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epoch": 3}, "no setting is called 'epoch'"),
        ({"epochs": 0}, "epochs can't be 0"),
        ({"epochs": "many"}, "epochs can't be 'many'"),
        ({"batch_size": -1}, "batch-size can't be -1"),
        ({"optimizer": "adamm"}, "optimizer can't be 'adamm'"),
        ({"schedule": "step"}, "schedule can't be 'step'"),
        ({"label_smoothing": 1.0}, "label-smoothing can't be 1.0"),
        ({"learning_rate": 0}, "the learning rate 0"),
        ({"learning_rate": 1e30}, "is out of range"),
        ({"learning_rate": float("nan")}, "learning-rate can't be nan"),
        ({"unfreeze": 1.5}, "unfreeze can't be 1.5"),
    ],
)
def test_unusable_settings_are_wrong_usage(settings, message):
    with pytest.raises(UsageError, match=message) as caught:
        resolve(settings, {})
    assert caught.value.hint


@pytest.mark.parametrize(
    "settings, hint",
    [
        ({"epochs": 0}, "Give a whole number from 1 to 100,000"),
        ({"batch_size": 100_000}, "Give a whole number from 1 to 65,536"),
        ({"label_smoothing": 1}, "Give a number from 0 below 1"),
        ({"minutes": 0}, "Give a number above 0"),
        ({"optimizer": "adamm"}, "medimg train --help"),
    ],
)
def test_the_next_step_names_the_bounds(settings, hint):
    with pytest.raises(UsageError) as caught:
        resolve(settings, {})
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "a: [", "just words"])
def test_a_file_that_is_no_recipe(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(InputError):
        read_recipe(tmp_path / "r.yaml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_recipe(tmp_path / "r.yaml")


def test_weight_decay_is_refused_where_it_would_be_ignored():
    assert resolve({"weight_decay": 0.01, "optimizer": "adamw"}, {}).weight_decay == 0.01
    with pytest.raises(UsageError, match="adamw"):
        resolve({"weight_decay": 0.01}, {})
