"""Gradual unfreezing: which stages are trained when, and that a run ends right whatever is best."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from medimg.core.errors import UsageError
from medimg.core.recipe import Recipe, resolve
from medimg.core.types import EpochResult, Objective, Optimizer, ParameterCounts
from medimg.training.checkpoints import Checkpoints
from medimg.training.loop import fit
from medimg.training.unfreezing import cuts, in_words, openings

NAMES = ["stem", "stage1", "stage2", "stage3", "head"]


@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 12])
def test_stages_open_from_the_head_down_and_all_of_them(first, epochs):
    found = cuts(first, 5, epochs, gradual=True)
    assert len(found) == epochs and found[-1] == first
    assert list(found) == sorted(found, reverse=True)
    if epochs >= 4 - first > 0:
        # one at a time, the first at once, each for as long as another, give or take an epoch
        assert found[0] == 3 and set(found) == set(range(first, 4))
        times = [found.count(cut) for cut in set(found)]
        assert max(times) - min(times) <= 1
    assert cuts(first, 5, epochs) == (first,) * epochs


def test_what_opens_is_told():
    opened = openings(cuts(2, 5, 4, gradual=True), NAMES)
    assert opened == [
        {"epoch": 1, "stages": ["stage3", "head"]},
        {"epoch": 3, "stages": ["stage2"]},
    ]
    told = in_words(opened, NAMES)
    assert told == "Trained: stage3, head; from epoch 3 stage2; frozen: stem, stage1"
    at_once = in_words(openings((0,), NAMES), NAMES)
    assert at_once == "Trained: stem, stage1, stage2, stage3, head; frozen: nothing"


def test_a_frozen_backbone_opens_nothing():
    assert cuts(4, 5, 3, gradual=True) == (4, 4, 4)
    with pytest.raises(UsageError, match="keeps shut"):
        resolve({"gradual": True, "freeze": "backbone"}, {})


class Recorder:
    """A network whose checkpoints hold what was trained when they were written, and go back to
    nothing else; its loss is given by epoch."""

    def __init__(self, losses):
        self.losses, self.stages = list(losses), [SimpleNamespace(name=n) for n in NAMES]
        self.cut, self.prepared, self.restored, self.rates = -1, [], None, []

    def parameters(self):
        return ParameterCounts(10, 5)

    def prepare(self, objective, optimizer, trainable_from):
        self.cut = trainable_from
        self.prepared.append(trainable_from)

    def train_epoch(self, batches, rates, *, seed, on_step):
        self.rates.append(rates[0])
        return EpochResult(self.losses.pop(0), 8, 1)

    def save(self, path, training):
        (path / "cut").write_text(str(self.cut))

    def restore(self, path):
        assert int((path / "cut").read_text()) == self.cut
        self.restored = path.name


def fitted(network, folder, resume=None):
    recipe = Recipe(epochs=4, schedule="constant", gradual=True, lr_spread=100, monitor="loss")
    fit(
        network,
        SimpleNamespace(steps=1, epoch=lambda epoch: iter(())),
        None,
        recipe,
        objective=Objective(),
        optimizer=Optimizer(),
        trainable_from=2,
        checkpoints=Checkpoints(folder),
        resume=resume,
    )
    return network


def test_the_best_epoch_may_be_one_before_an_opening(tmp_path):
    network = fitted(Recorder([3, 1, 2, 2]), tmp_path)
    assert network.restored == "epoch-0002"
    # every opening starts the optimizer anew; the end is as the last epoch was
    assert network.prepared == [3, 2, 3, 2]
    # a stage's rate is the same before another opens and after
    for rates in network.rates:
        np.testing.assert_allclose(rates, np.array([0, 0, 0.01, 0.1, 1]) * 1e-3, rtol=1e-5)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_going_on_prepares_what_the_checkpoint_was_trained_with(tmp_path, stop):
    class Stop(Exception):
        pass

    class Stopping(Recorder):
        def train_epoch(self, *arguments, **settings):
            if len(self.rates) == stop:
                raise Stop
            return super().train_epoch(*arguments, **settings)

    with pytest.raises(Stop):
        fitted(Stopping([4, 3, 2, 1]), tmp_path)
    again = fitted(Recorder([4, 3, 2, 1][stop:]), tmp_path, Checkpoints(tmp_path).read())
    assert again.prepared == {1: [3, 2], 2: [3, 2], 3: [2]}[stop]
    assert len(again.rates) == 4 - stop
