"""The range test: curves whose best rate is known, and curves that show none."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from medimg.core.errors import BackendError
from medimg.core.loader import Loader
from medimg.core.types import ModelSpec, Objective, Optimizer
from medimg.training.lr_finder import (
    Curve,
    agree,
    left_as_it_was,
    range_test,
    read_curve,
    repeated,
    smooth,
    valley,
)

RATES = np.geomspace(1e-6, 1.0, 100)
LOGISTIC = ModelSpec("logistic", "logistic", (), ("flatten",), 8, 8, 1, 1)


def digest(weights: dict[str, np.ndarray]) -> str:
    """One hash over names and bytes."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(name.encode() + weights[name].tobytes())
    return sha.hexdigest()


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
    network, _ = engine.LinearBackend().build(LOGISTIC, 0)
    before = digest(network.weights())
    seen = []
    test = range_test(
        network, loader, objective=Objective(), optimizer=Optimizer(), steps=60,
        on_step=lambda step, loss: seen.append(loss),
    )  # fmt: skip
    assert seen == test.losses.tolist() and len(seen) > 20
    assert np.ptp(test.losses) > 0.1
    assert digest(network.weights()) == before


def test_small_parts_are_gone_through_again(loader):
    batches = list(repeated(loader, 8))
    assert len(batches) == 8
    first, second = (sorted(bytes(i) for b in batches[n : n + 3] for i in b.images) for n in (0, 3))
    assert first == second


def test_the_network_is_put_back_when_something_breaks():
    engine = pytest.importorskip("medimg_linear.engine")
    network, _ = engine.LinearBackend().build(LOGISTIC, 0)
    before = network.weights()
    with pytest.raises(KeyboardInterrupt), left_as_it_was(network):
        network.trained["output/kernel"][:] = 7
        raise KeyboardInterrupt
    assert digest(network.weights()) == digest(before)


def test_a_backend_may_tell_steps_late():
    """An accelerator's losses come ten at a time: those after the end are left out."""
    curve = Curve(None)
    answers = [curve(step, loss) for step, loss in enumerate([1.0] * 12 + [50.0] * 6 + [1.0] * 9)]
    assert answers.index(False) > 11 and not any(answers[answers.index(False) :])
    assert len(curve.losses) == answers.index(False) + 1
    broken = Curve(None)
    assert [broken(0, 1.0), broken(1, float("nan")), broken(2, 1.0)] == [True, False, False]
    assert broken.losses == [1.0]


def fastai_valley(lrs, losses):
    """`fastai.callback.schedule.valley` (Apache-2.0), its plotting left out."""
    n = len(losses)
    max_start, max_end = 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(0, i):
            if (losses[i] < losses[j]) and (lds[i] < lds[j] + 1):
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    idx = max_start + int(sections) + int(sections / 2)
    return float(lrs[idx])


@pytest.mark.parametrize("seed", range(6))
def test_the_valley_is_that_of_fastai(seed):
    noise = np.random.default_rng(seed).normal(0, 0.05, 100)
    losses = smooth(sigmoid_fall(1e-3) + noise)
    lowest = 10 + int(np.argmin(losses[10:]))
    expected = fastai_valley(RATES[10 : lowest + 1], losses[10 : lowest + 1])
    assert valley(RATES, losses, lowest) == expected


def test_a_batch_larger_than_memory_says_what_to_lower(loader):
    class Full(Loader):
        def gather(self, picked, draws):
            raise MemoryError

    engine = pytest.importorskip("medimg_linear.engine")
    network, _ = engine.LinearBackend().build(LOGISTIC, 0)
    full = Full(loader.pixels, loader.rows, loader.labels, 2, 16)
    with pytest.raises(BackendError, match="memory ran out") as caught:
        range_test(network, full, objective=Objective(), optimizer=Optimizer(), steps=30)
    assert "--batch-size" in caught.value.hint


# -- several seeds ---------------------------------------------------------------------------------


def at(centre: float):
    return read_curve(RATES, sigmoid_fall(centre), 100)


FLAT = read_curve(RATES, np.full(100, 0.7), 100)


def test_seeds_that_agree_give_their_median_with_the_factor():
    tests = [at(1e-3), at(2e-3), at(1.5e-3)]
    found = agree(tests)
    rates = [test.suggestion for test in tests]
    assert found.agreement == pytest.approx(max(rates) / min(rates))
    for rule, rate in found.candidates.items():
        assert rate == np.median([test.candidates[rule] for test in tests])
    assert found.suggestion == np.median(list(found.candidates.values()))
    assert f"3 of 3 seeds agree within a factor of {found.agreement:.1f}" in found.reason


def test_one_seed_is_its_own_answer():
    found = agree([at(1e-3)])
    assert (found.suggestion, found.reason) == (at(1e-3).suggestion, at(1e-3).reason)
    assert found.agreement is None


@pytest.mark.parametrize(
    "tests, words",
    [
        ([FLAT, FLAT, FLAT], "the curve is flat (the loss fell by 0.0%)"),
        ([at(1e-3), FLAT, FLAT], "1 of 3 seeds shows a rate; with seed 0: the curve is flat"),
        ([at(1e-5), at(1e-3), at(1e-2)], "the seeds disagree by a factor of"),
        ([FLAT], "the curve is flat"),
    ],
)
def test_seeds_without_a_common_rate_give_none(tests, words):
    found = agree(tests)
    assert found.suggestion is None and found.rule is None
    assert set(found.candidates.values()) == {None}
    assert found.reason.startswith("no safe suggestion") and words in found.reason


def test_two_of_three_seeds_are_enough():
    found = agree([at(1e-3), FLAT, at(1.2e-3)])
    assert found.suggestion is not None and "2 of 3 seeds agree" in found.reason
