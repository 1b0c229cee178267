"""Settings that a recipe leaves open, resolved."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from medimg.core.errors import UsageError
from medimg.core.loader import Loader
from medimg.core.recipe import Recipe
from medimg.core.types import DatasetIndex, RuntimeInfo, Sample
from medimg.manager import plugins
from medimg.training.experiment import (
    balance_of,
    balanced,
    choose_model,
    choose_size,
    monitor_of,
    patience_of,
    resolve_precision,
    trainable_from,
    with_card_settings,
)


def data_of(side: int, card: str | None = None) -> SimpleNamespace:
    samples = tuple(Sample(f"{n}.png", "ab"[n % 2]) for n in range(4))
    index = DatasetIndex("d", None, "folder", None, samples, ("a", "b"), card=card)
    records = {s.path: SimpleNamespace(width=side, height=side // 2) for s in samples}
    return SimpleNamespace(index=index, records=records)


@pytest.mark.parametrize("side, model", [(28, "cnn2"), (64, "cnn2"), (65, "cnn3"), (1024, "cnn3")])
def test_the_default_model_follows_the_size(side, model):
    assert choose_model(Recipe(), data_of(side), plugins().registry(), "torch")[0] == model


def test_a_backend_takes_a_model_that_it_builds():
    registry = plugins().registry()
    assert choose_model(Recipe(), data_of(64), registry, "linear")[0] == "logistic"
    with pytest.raises(UsageError, match="does not build 'cnn3'"):
        choose_model(Recipe(model="cnn3"), data_of(64), registry, "linear")


def test_the_size_is_never_larger_than_the_pictures():
    card = SimpleNamespace(input_size=128)
    assert choose_size(Recipe(), card, data_of(300)) == 128
    assert choose_size(Recipe(), card, data_of(50)) == 50
    assert choose_size(Recipe(image_size=96), card, data_of(50)) == 96


@pytest.mark.parametrize(
    "asked, bfloat16, accelerator, side, expected",
    [
        ("float32", True, True, 224, "float32"),
        ("auto", True, True, 28, "bfloat16"),
        ("auto", True, False, 64, "bfloat16"),
        ("auto", True, False, 63, "float32"),
        ("auto", False, True, 224, "float32"),
        ("bfloat16", False, False, 28, "bfloat16"),
    ],
)
def test_precision_is_a_rule(asked, bfloat16, accelerator, side, expected):
    runtime = RuntimeInfo("x", "1", "d", bfloat16=bfloat16, accelerator=accelerator)
    assert resolve_precision(asked, runtime, side) == expected


def test_schedules_that_end_by_themselves_run_to_their_end():
    assert patience_of(Recipe(schedule="one-cycle")) is None
    assert patience_of(Recipe(schedule="constant")) == 10
    assert patience_of(Recipe(schedule="cosine", patience=2)) == 2
    assert monitor_of(Recipe(schedule="cosine")) == "val_auroc"
    assert monitor_of(Recipe(schedule="plateau")) == "val_loss"
    assert monitor_of(Recipe(schedule="plateau", monitor="val_auroc")) == "val_auroc"


def test_a_card_fills_what_nobody_gave():
    card = SimpleNamespace(recipe={"epochs": 40, "optimizer": "sgd"})
    recipe = with_card_settings(Recipe(epochs=3), card)
    assert (recipe.epochs, recipe.optimizer, recipe.batch_size) == (3, "sgd", 32)


@pytest.mark.parametrize(
    "settings, lowest",
    [
        ({}, 0),
        ({"weights": "imagenet"}, 4),
        ({"weights": "imagenet", "freeze": "none"}, 0),
        ({"freeze": "backbone"}, 4),
        ({"unfreeze": 0.5}, 2),
        ({"unfreeze": 0.01}, 3),
        ({"unfreeze": 1.0, "weights": "imagenet"}, 0),
    ],
)
def test_the_lowest_trained_stage(settings, lowest):
    network = SimpleNamespace(stages=range(5))
    assert trainable_from(Recipe(**settings), network) == lowest


def test_balancing():
    pixels = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    labels = np.array([0] * 9 + [1] * 3)
    plain = Loader(pixels, np.arange(12), labels, 2, 4)
    samples = tuple(Sample(f"{n}.png", "ab"[k], split="train") for n, k in enumerate(labels))
    index = DatasetIndex("d", None, "folder", None, samples, ("a", "b"))

    def loader(method: str) -> Loader:
        recipe = Recipe(balance=method)
        data = SimpleNamespace(index=index)
        return balanced(plain, balance_of(recipe, data, samples, plugins(), None))

    assert loader("none") is plain
    weighted = loader("class-weight")
    assert weighted.rows.tolist() == list(range(12))
    assert np.bincount(labels, weighted.weights) == pytest.approx([6, 6])
    repeated = loader("oversample")
    assert np.bincount(repeated.labels).tolist() == [9, 9]
    assert (labels[repeated.rows] == repeated.labels).all()
    with pytest.raises(UsageError, match="no way to balance is called 'overample'"):
        loader("overample")
