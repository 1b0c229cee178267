"""Calibration against statsmodels' logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
from scipy.stats import norm, t

from medimg.core.scored import Scored
from medimg.metrics.ece import ece
from medimg.statistics.calibration import CLIP, calibration


def drawn(seed: int, slope: float, intercept: float, n: int = 400) -> Scored:
    """Outcomes whose true log odds are intercept + slope * given log odds."""
    rng = np.random.default_rng(seed)
    given = rng.normal(scale=2, size=n)
    labels = (rng.random(n) < expit(intercept + slope * given)).astype(int)
    p = expit(given)
    return Scored(labels, np.c_[1 - p, p], 1, 0.5)


def by_statsmodels(scored: Scored) -> tuple[float, float]:
    y = (scored.labels == scored.positive).astype(float)
    x = logit(np.clip(scored.probabilities[:, scored.positive], CLIP, 1 - CLIP))
    slope = sm.Logit(y, sm.add_constant(x)).fit(disp=0, maxiter=200).params[1]
    binomial = sm.families.Binomial()
    intercept = sm.GLM(y, np.ones((len(y), 1)), family=binomial, offset=x).fit().params[0]
    return slope, intercept


@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, 0), (0.4, 0), (3, 0), (1, 2), (1, -3), (0, 0), (-1, 1)]
)
def test_slope_and_intercept_agree_with_statsmodels(slope, intercept):
    for seed in range(3):
        scored = drawn(seed, slope, intercept)
        found = calibration(scored)
        assert (found.slope, found.intercept) == pytest.approx(by_statsmodels(scored), abs=1e-6)


@pytest.mark.parametrize("clustered", [False, True])
def test_intervals_of_slope_and_intercept_agree_with_statsmodels(clustered):
    scored = drawn(5, 0.7, 0.5)
    groups = [f"p{i // 4}" for i in range(len(scored))] if clustered else None
    found = calibration(scored, groups=groups)
    y, x = scored.labels.astype(float), logit(scored.probabilities[:, 1])
    fit, z = {"disp": 0}, norm.ppf(0.975)
    numbers = np.arange(len(y)) // 4
    if clustered:
        fit |= {"cov_type": "cluster", "cov_kwds": {"groups": numbers}}
        z = t.ppf(0.975, numbers.max())
    both = sm.Logit(y, sm.add_constant(x)).fit(**fit)
    reach = z * both.bse[1]
    assert found.slope_ci95 == pytest.approx((found.slope - reach, found.slope + reach), abs=1e-5)
    fit.pop("disp")
    binomial = sm.families.Binomial()
    alone = sm.GLM(y, np.ones((len(y), 1)), family=binomial, offset=x).fit(**fit)
    reach = z * alone.bse[0]
    expected = (found.intercept - reach, found.intercept + reach)
    assert found.intercept_ci95 == pytest.approx(expected, abs=1e-5)
    assert ("sandwich" in found.method) is clustered


def test_one_patient_has_no_interval():
    scored = drawn(5, 0.7, 0.5)
    found = calibration(scored, groups=["p"] * len(scored))
    assert found.slope is not None and found.slope_ci95 is None


def test_the_class_that_is_positive_is_the_one_judged():
    scored = drawn(0, 0.5, 1)
    turned = Scored(scored.labels, scored.probabilities, 0, 0.5)
    assert calibration(turned).slope == pytest.approx(calibration(scored).slope)
    assert calibration(turned).intercept == pytest.approx(-calibration(scored).intercept)


def test_probabilities_of_0_and_1_alone_have_no_slope():
    """Whatever came out would be a number of the clipping, not of the model."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    p = np.where(rng.random(300) < 0.85, labels, 1 - labels).astype(float)
    scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
    found = calibration(scored)
    assert (found.slope, found.intercept, found.intercept_ci95) == (None, None, None)
    assert found.reason == "every probability is 0 or 1: none has a logit"
    assert found.clipped == 300


def test_some_probabilities_of_0_or_1_are_said():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    p = np.clip(expit(2 * labels - 1 + rng.normal(size=300)), 0.01, 0.99)
    p[:3], labels[:3] = 1.0, 0
    found = calibration(Scored(labels, np.c_[1 - p, p], 1, 0.5))
    assert found.clipped == 3 and "3 probabilities of 0 or 1 were taken" in found.notes[-1]
    assert found.slope == pytest.approx(
        by_statsmodels(Scored(labels, np.c_[1 - p, p], 1, 0.5))[0], abs=1e-5
    )


def test_nearly_all_saturated_and_wrong():
    labels = np.r_[np.zeros(50, int), np.ones(50, int)]
    p = np.r_[np.full(49, 1.0), 0.3, np.full(48, 0.0), 0.2, 0.9]
    scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
    found = calibration(scored)
    given = logit(np.clip(p, CLIP, 1 - CLIP))
    # the score equation of the intercept, whatever found it
    assert (expit(found.intercept + given) - labels).sum() == pytest.approx(0, abs=1e-6)
    assert found.slope == pytest.approx(by_statsmodels(scored)[0], abs=1e-6)


def test_a_probability_on_an_edge_belongs_below_it():
    edge = calibration(Scored([0], [[0.5, 0.5]], 1, 0.5)).bins[2]["high"]
    bins = calibration(Scored([1], [[1 - edge, edge]], 1, 0.5)).bins
    assert [row["count"] for row in bins[1:4]] == [0, 1, 0]


def test_what_has_no_slope_says_why():
    p = np.array([0.1, 0.2, 0.7, 0.9])
    apart = calibration(Scored([0, 0, 1, 1], np.c_[1 - p, p], 1, 0.5))
    assert apart.slope is None and "separates" in apart.reason
    assert apart.intercept is not None
    touching = np.array([0.1, 0.5, 0.5, 0.9])
    assert calibration(Scored([0, 0, 1, 1], np.c_[1 - touching, touching], 1, 0.5)).slope is None
    flat = calibration(Scored([0, 1], [[0.7, 0.3]] * 2, 1, 0.5))
    assert flat.slope is None and "same probability" in flat.reason
    assert flat.intercept == pytest.approx(-logit(0.3))
    one = calibration(Scored([1, 1], [[0.7, 0.3]] * 2, 1, 0.5))
    assert (one.slope, one.intercept) == (None, None) and "positive and negative" in one.reason
    several = calibration(Scored([0, 1, 2], np.eye(3)))
    assert several.slope is None and "two classes" in several.reason


def test_bins_hold_every_image_once_and_give_the_error():
    scored = drawn(1, 0.5, 0)
    found = calibration(scored)
    assert sum(row["count"] for row in found.bins) == len(scored)
    p = scored.probabilities[:, 1]
    for row in found.bins:
        inside = (p > row["low"]) & (p <= row["high"])
        assert row["count"] == inside.sum()
        if inside.any():
            assert row["confidence"] == pytest.approx(p[inside].mean())
            assert row["observed"] == pytest.approx(scored.labels[inside].mean())
        else:
            assert row["confidence"] is None and row["observed"] is None
    assert found.ece == pytest.approx(ece(scored))
    edges = calibration(Scored([0, 1], [[1.0, 0.0], [0.0, 1.0]], 1, 0.5))
    assert (edges.bins[0]["count"], edges.bins[-1]["count"], edges.ece) == (1, 1, 0)
