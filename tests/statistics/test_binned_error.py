"""The calibration error's interval: it holds the value, and the truth about as often as it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from medimg.core.reliability import bin_of
from medimg.core.scored import Scored
from medimg.metrics.ece import ece
from medimg.statistics.binned_error import binned_error_interval
from medimg.statistics.intervals import intervals


def truth(slope: float) -> float:
    """The error of the bins with images without end."""
    x = 1.5 * np.random.default_rng(0).normal(size=1_000_000)
    p, q = expit(x), expit(slope * x)
    return float(abs(np.bincount(bin_of(p), p - q)).sum() / len(x))


@pytest.mark.parametrize("slope, images, least", [(1.0, 200, 0.93), (0.6, 1000, 0.8)])
def test_coverage(slope, images, least):
    """Percentiles of resamples hold the 0 of perfect probabilities not once."""
    wanted, held = truth(slope), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = 1.5 * rng.normal(size=images)
        p, outcome = expit(x), rng.random(images) < expit(slope * x)
        found = binned_error_interval(p - outcome, bin_of(p), draws=400)
        assert 0 <= found.low <= found.value <= found.high <= 1
        held += found.low <= wanted <= found.high
    assert least <= held / 200 <= 0.995


def test_images_of_one_patient_tell_less_than_as_many_patients():
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.random(60) < 0.5, 4).astype(int)
    p = np.clip(np.repeat(rng.random(60), 4) * 0.3 + 0.35, 0, 1)
    scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
    alone = intervals(scored, {"ece": ece})["ece"]
    by_patient = intervals(scored, {"ece": ece}, [f"p{n // 4}" for n in range(240)])["ece"]
    assert alone.value == by_patient.value == pytest.approx(float(ece(scored)))
    assert by_patient.high > alone.high and "by patient" in by_patient.method


def test_one_patient_and_equal_errors_have_no_interval():
    gaps, bins = np.full(4, 0.2), np.zeros(4, dtype=int)
    assert binned_error_interval(gaps, bins, ["p"] * 4).bounds is None
    found = binned_error_interval(gaps, bins)
    assert found.bounds is None and found.reason == "all images have the same error"
