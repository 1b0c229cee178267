"""Learning rates by step."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.training.schedule import Watch, epoch_rates


def all_rates(schedule: str, peak: float, epochs: int, steps: int) -> np.ndarray:
    parts = [epoch_rates(schedule, peak, e, epochs, steps) for e in range(epochs)]
    assert all(p.shape == (steps, 1) and p.dtype == np.float32 for p in parts)
    return np.concatenate(parts)[:, 0]


def test_one_cycle_is_that_of_torch():
    # values of torch.optim.lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=10), torch 2.13
    expected = [
        0.004,
        0.052,
        0.1,
        0.0950484,
        0.0811745,
        0.0611261,
        0.0388743,
        0.0188259,
        0.00495196,
        4e-07,
    ]

    np.testing.assert_allclose(all_rates("one-cycle", 0.1, 2, 5), expected, rtol=1e-5)


def test_cosine_falls_from_the_peak_towards_zero():
    rates = all_rates("cosine", 1.0, 4, 25)

    assert rates[0] == 1.0
    assert np.all(np.diff(rates) < 0)
    assert rates[50] == pytest.approx(0.5)
    assert rates[-1] < 0.001


def test_constant_and_plateau_follow_the_factor():
    assert epoch_rates("constant", 0.3, 7, 9, 2).ravel().tolist() == pytest.approx([0.3, 0.3])
    assert epoch_rates("plateau", 0.3, 7, 9, 1, factor=0.1).item() == pytest.approx(0.03)


def test_watch_counts_epochs_without_improvement():
    watch = Watch(min_delta=0.1)

    seen = [watch.improved(v) for v in (1.0, 0.95, 0.85, 0.84, 0.80)]

    assert seen == [True, False, True, False, False]
    assert (watch.best, watch.waited) == (0.85, 2)
