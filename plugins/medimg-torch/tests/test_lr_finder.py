"""The range test held to torch-lr-finder, on identical batches and weights."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from medimg.api import ModelSpec, Objective, Optimizer
from medimg.core.loader import Loader
from medimg.training.lr_finder import range_test, repeated
from medimg.training.preflight import preflight

SPEC = ModelSpec("tiny", "layers", ("conv6", "pool", "bn"), ("flatten", "fc12"), 14, 12, 1, 3)
START, END, STEPS = 1e-5, 3.0, 100
ADAM = {"betas": (0.9, 0.999), "eps": 1e-7}
MAKE = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=START, **ADAM),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=START, momentum=0.9),
}


@pytest.fixture
def loader():
    draw = np.random.default_rng(0)
    labels = np.arange(160) % 3
    images = draw.normal(80, 30, (160, 14, 12, 1))
    images[:, :5, :5] += 30 * labels[:, None, None, None]
    return Loader(images.clip(0, 255).astype(np.uint8), np.arange(160), labels, 3, 32)


class Whole(torch.nn.Module):
    """A network of medimg's as torch-lr-finder wants one."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.stages = torch.nn.ModuleList(network.parts.modules)

    def forward(self, images):
        return self.network._forward(images, len(self.stages))


def theirs(backend, loader, name):
    """(learning rates, raw losses) of torch-lr-finder, its own steps with PyTorch's optimizers."""
    finder = pytest.importorskip("torch_lr_finder")
    network, _ = backend.build(SPEC, 0)
    network.prepare(Objective(), Optimizer(), 0)
    batches = [
        (torch.from_numpy(b.images), torch.from_numpy(b.targets.argmax(1)))
        for b in repeated(loader, STEPS)
    ]
    model = Whole(network)
    test = finder.LRFinder(model, MAKE[name](model.parameters()), torch.nn.CrossEntropyLoss())
    test.range_test(
        DataLoader(batches, batch_size=None), end_lr=END, num_iter=STEPS, smooth_f=0, diverge_th=1e9
    )
    return test


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_the_raw_curve_is_that_of_torch_lr_finder(backend, loader, name):
    reference = theirs(backend, loader, name)
    network, _ = backend.build(SPEC, 0)
    ours = range_test(
        network, loader, objective=Objective(), optimizer=Optimizer(name=name, betas=(0.9, 0.999)),
        start=START, end=END, steps=STEPS,
    )  # fmt: skip
    count = len(ours.losses)
    assert count > 60
    np.testing.assert_allclose(ours.learning_rates, reference.history["lr"][:count], rtol=1e-6)
    # rounding grows once the rate is so high that the loss jumps about
    calm = int(np.argmin(ours.smoothed))
    assert calm > 40
    np.testing.assert_allclose(
        ours.losses[:calm], reference.history["loss"][:calm], rtol=1e-3, atol=1e-4
    )


def test_the_steepest_rate_is_within_a_factor_of_two(backend, loader):
    """Their rule on the same losses smoothed alike: the steepest slope by step."""
    reference = theirs(backend, loader, "adam")
    network, _ = backend.build(SPEC, 0)
    ours = range_test(
        network, loader, objective=Objective(), optimizer=Optimizer(), start=START, end=END,
        steps=STEPS,
    )  # fmt: skip
    reference.history = {"lr": ours.learning_rates.tolist(), "loss": ours.smoothed.tolist()}
    figure = pytest.importorskip("matplotlib.figure").Figure()
    _, suggested = reference.plot(ax=figure.subplots(), suggest_lr=True)
    assert 0.5 <= ours.candidates["steepest"] / suggested <= 2


def test_the_network_and_the_draws_are_left_as_they_were(backend, loader):
    network, _ = backend.build(SPEC, 0)

    def digest():
        weights = network.weights()
        return hashlib.sha256(b"".join(weights[n].tobytes() for n in sorted(weights))).hexdigest()

    before, draws = digest(), torch.get_rng_state()
    range_test(network, loader, objective=Objective(), optimizer=Optimizer(), steps=40)
    assert digest() == before
    assert preflight(network, loader, objective=Objective(), optimizer=Optimizer()) == []
    assert digest() == before
    assert torch.equal(torch.get_rng_state(), draws)
