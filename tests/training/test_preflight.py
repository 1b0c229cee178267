"""The pre-flight: what it finds, what it leaves alone."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from medimg.core.loader import Loader
from medimg.core.types import ModelSpec, Objective, Optimizer
from medimg.training.preflight import few_pictures, not_chance, not_overfitted, preflight

engine = pytest.importorskip("medimg_linear.engine")
SPEC = ModelSpec("logistic", "logistic", (), ("flatten",), 8, 8, 1, 1)


def part(classes: int = 2, images: int = 48, **settings) -> Loader:
    draw = np.random.default_rng(0)
    labels = np.sort(np.arange(images) % classes)
    pixels = draw.normal(110, 30, (images, 8, 8, 1)) + 20 * labels[:, None, None, None]
    pixels = pixels.clip(0, 255).astype(np.uint8)
    return Loader(pixels, np.arange(images), labels, classes, 16, **settings)


def network(**changes):
    return engine.LinearBackend().build(replace(SPEC, **changes), 0)[0]


def found(net, loader, objective=None, **settings):
    findings = preflight(
        net, loader, objective=objective or Objective(), optimizer=Optimizer(), **settings
    )
    return [f.check for f in findings]


@pytest.mark.parametrize("gamma, smoothing", [(0.0, 0.0), (2.0, 0.1)])
@pytest.mark.parametrize("classes, outputs", [(2, 1), (2, 2), (4, 4)])
def test_a_sound_network_passes(classes, outputs, gamma, smoothing):
    loader = part(classes, label_smoothing=smoothing)
    assert found(network(outputs=outputs), loader, Objective(focal_gamma=gamma)) == []


def test_outputs_that_are_not_the_classes():
    for classes, outputs in ((3, 1), (3, 2), (2, 4)):
        findings = preflight(
            network(outputs=outputs), part(classes), objective=Objective(), optimizer=Optimizer()
        )
        assert [(f.check, f.severity) for f in findings] == [("loss-mismatch", "error")]
        assert f"{outputs} outputs, the labels have {classes} classes" in findings[0].message


@pytest.mark.parametrize("fault", ["probabilities", "order", "weights", "mean"])
def test_a_loss_that_is_not_of_its_answers(monkeypatch, fault):
    """Each way of getting a loss wrong that still trains to something."""
    from medimg_linear import network as module

    right = module.loss_and_gradient

    def wrong(scores, batch, objective):
        if fault == "probabilities":
            power = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = power / power.sum(axis=1, keepdims=True)
        elif fault == "order":
            batch = replace(batch, targets=batch.targets[:, ::-1])
        elif fault == "weights":
            batch = replace(batch, weights=np.ones_like(batch.weights))
        else:
            batch = replace(batch, global_size=1)
        return right(scores, batch, objective)

    net, loader = network(outputs=3), part(3)
    assert found(net, loader) == []
    monkeypatch.setattr(module, "loss_and_gradient", wrong)
    assert found(net, loader) == ["loss-mismatch"]


def test_first_answers_that_are_far_from_chance():
    net = network()
    net.trained["output/kernel"] *= 30
    assert "initial-loss" in found(net, part())
    assert "initial-loss" not in found(net, part(), fresh=False)
    for loss, classes, told in ((0.69, 2, False), (2.2, 2, True), (0.1, 2, True), (2.3, 10, False)):
        assert bool(not_chance(loss, classes)) == told, (loss, classes)


def test_a_network_that_no_gradient_reaches(monkeypatch):
    assert found(network(), part(), trainable_from=2, fresh=False) == ["cannot-overfit"]
    # eight pictures that are all alike teach nothing either
    flat = replace(part(), pixels=np.full((48, 8, 8, 1), 90, np.uint8))
    assert "cannot-overfit" in found(network(), flat)


def test_a_slow_network_is_not_judged():
    assert not_overfitted([0.7] * 10) is None
    assert not_overfitted([0.7] * 40) is not None
    assert found(network(), part(), trainable_from=2, fresh=False, seconds=0.0) == []


def test_everything_is_left_as_it_was():
    net, loader = network(), part()
    before = net.weights()
    states = np.random.get_state()[1].copy(), random.getstate()
    found(net, loader)
    after = net.weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not net.standardiser.fitted
    assert np.array_equal(np.random.get_state()[1], states[0]) and random.getstate() == states[1]


def test_a_batch_of_eight_holds_the_classes_in_turn():
    labels, images = few_pictures(part(3))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] and images.shape == (8, 8, 8, 1)
    few = part(2, images=3)
    assert few_pictures(few)[0].tolist() == [0, 1, 0]
