"""The range test: curves whose best rate is known, and curves that show none."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.core.loader import Loader
from medimg.core.types import ModelSpec, Objective, Optimizer
from medimg.training.lr_finder import range_test, read_curve, repeated, smooth

RATES = np.geomspace(1e-6, 1.0, 100)


def sigmoid_fall(centre: float, width: float = 0.4) -> np.ndarray:
    """A loss that falls from 1 to 0.2 around a rate and rises from thirty times that."""
    place = np.log10(RATES / centre)
    fall = 1 - 0.8 / (1 + np.exp(-place / width))
    return fall + np.where(place > 1.5, (place - 1.5) * 4, 0)


def test_smoothing_is_an_exponential_mean_with_bias_correction():
    losses = np.random.default_rng(0).random(30)
    for step in (0, 7, 29):
        weights = 0.9 ** np.arange(step, -1, -1)
        expected = (losses[: step + 1] * weights).sum() / weights.sum()
        assert smooth(losses)[step] == pytest.approx(expected)


@pytest.mark.parametrize("centre", [1e-3, 1e-2])
def test_the_suggestion_lies_where_the_loss_falls(centre):
    test = read_curve(RATES, sigmoid_fall(centre), 100)
    assert test.suggestion is not None
    assert centre / 10 < test.suggestion < centre * 10
    assert test.candidates["steepest"] == pytest.approx(centre, rel=2)
    assert min(test.candidates.values()) <= test.suggestion <= max(test.candidates.values())


@pytest.mark.parametrize(
    "losses, reason",
    [
        (np.full(100, 0.7), "flat"),
        (0.7 + 0.2 * np.random.default_rng(0).standard_normal(100), "flat|noisier"),
        (np.linspace(0.7, 3.0, 100), "flat"),
        (np.linspace(0.7, 0.68, 100), "flat"),
    ],
    ids=["constant", "noise", "rising", "hardly falling"],
)
def test_a_curve_without_a_fall_has_no_suggestion(losses, reason):
    test = read_curve(RATES, losses, 100)
    assert test.suggestion is None and test.rule is None
    assert any(word in test.reason for word in reason.split("|"))
    assert set(test.candidates.values()) == {None}


@pytest.mark.parametrize("steps", [0, 1, 12])
def test_divergence_at_once_has_no_suggestion(steps):
    test = read_curve(RATES[:steps], np.linspace(1, 9, steps), 100)
    assert test.suggestion is None
    assert f"diverged after {steps} steps" in test.reason


@pytest.fixture
def loader():
    draw = np.random.default_rng(0)
    labels = np.arange(48) % 2
    pixels = (draw.normal(110, 30, (48, 8, 8, 1)) + 50 * labels[:, None, None, None]).clip(0, 255)
    return Loader(pixels.astype(np.uint8), np.arange(48), labels, 2, 16)


def test_the_network_is_left_as_it_was(loader):
    engine = pytest.importorskip("medimg_linear.engine")
    spec = ModelSpec("logistic", "logistic", (), ("flatten",), 8, 8, 1, 1)
    network, _ = engine.LinearBackend().build(spec, 0)
    before = network.weights()
    seen = []
    test = range_test(
        network, loader, objective=Objective(), optimizer=Optimizer(), steps=60,
        on_step=lambda step, loss: seen.append(loss),
    )  # fmt: skip
    assert seen == test.losses.tolist() and len(seen) > 20
    assert np.ptp(test.losses) > 0.1
    for name, array in network.weights().items():
        np.testing.assert_array_equal(array, before[name])


def test_small_parts_are_gone_through_again(loader):
    batches = list(repeated(loader, 8))
    assert len(batches) == 8
    first, second = (sorted(bytes(i) for b in batches[n : n + 3] for i in b.images) for n in (0, 3))
    assert first == second
