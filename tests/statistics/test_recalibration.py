"""Corrections of probabilities against Bayes' rule, statsmodels and scipy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import minimize, minimize_scalar
from scipy.special import logsumexp, softmax
from scipy.stats import norm
from sklearn.metrics import log_loss

from medimg.core.scored import UndefinedMetric
from medimg.statistics.recalibration import Shift, fit_shift, fit_temperature, prior_shift


def gaussian_logits(x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """log(share * density) of classes with means 0, 1, 2, … and spread 1: Bayes' own logits."""
    return norm.logpdf(x[:, None], np.arange(len(shares))) + np.log(shares)


@pytest.mark.parametrize("natural", [(0.9, 0.1), (0.2, 0.7, 0.1)])
def test_the_correction_by_shares_is_bayes_rule(natural):
    natural = np.array(natural)
    trained = np.full(len(natural), 1 / len(natural))
    x = np.linspace(-3, 5, 41)
    corrected = prior_shift(trained, natural).apply(gaussian_logits(x, trained))
    expected = softmax(gaussian_logits(x, natural), axis=1)
    np.testing.assert_allclose(softmax(corrected, axis=1), expected, atol=1e-12)


def test_a_model_fitted_on_weighted_cases_is_brought_back():
    """statsmodels' weighted fit, corrected, against its plain fit: equal but for chance."""
    draw = np.random.default_rng(0)
    labels = (draw.random(40_000) < 0.05).astype(int)
    x = sm.add_constant(draw.normal(labels, 1.0))
    share = labels.mean()
    weights = np.where(labels == 1, 0.5 / share, 0.5 / (1 - share))
    weighted = sm.GLM(labels, x, family=sm.families.Binomial(), freq_weights=weights).fit()
    plain = sm.GLM(labels, x, family=sm.families.Binomial()).fit()
    z = x @ weighted.params
    corrected = prior_shift([0.5, 0.5], [1 - share, share]).apply(np.stack([0 * z, z], axis=1))
    p = softmax(corrected, axis=1)[:, 1]
    assert p.mean() == pytest.approx(share, rel=0.02)
    assert abs(p - plain.predict(x)).max() < 0.03
    assert softmax(np.stack([0 * z, z], axis=1), axis=1)[:, 1].mean() > 5 * share


def test_a_class_without_images_keeps_its_logit():
    assert prior_shift([0.5, 0.5, 0.0], [0.8, 0.2, 0.0]).intercepts[2] == 0.0


def overconfident(classes: int, count: int = 600, seed: int = 0):
    """Logits three times too large and shifted, and labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, count)
    logits = draw.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.0
    return 3 * logits + np.arange(classes), labels


def test_slope_and_intercept_are_those_of_logistic_regression():
    logits, labels = overconfident(2)
    shift = fit_shift(logits, labels)
    log_odds = logits[:, 1] - logits[:, 0]
    reference = sm.Logit(labels, sm.add_constant(log_odds)).fit(disp=0, tol=1e-12)
    assert shift.slope == pytest.approx(reference.params[1], rel=1e-8)
    assert shift.intercepts[1] - shift.intercepts[0] == pytest.approx(reference.params[0], rel=1e-7)
    given = softmax(shift.apply(logits), axis=1)[:, 1]
    np.testing.assert_allclose(given, reference.predict(), atol=1e-9)


def test_the_intercept_alone_is_that_of_a_regression_with_an_offset():
    logits, labels = overconfident(2)
    shift = fit_shift(logits, labels, slope=False)
    log_odds = logits[:, 1] - logits[:, 0]
    family = sm.families.Binomial()
    reference = sm.GLM(labels, np.ones(len(labels)), family=family, offset=log_odds).fit(tol=1e-12)
    assert shift.slope == pytest.approx(1.0, abs=1e-12)
    assert shift.intercepts[1] == pytest.approx(reference.params[0], rel=1e-7)


def test_several_classes_against_a_general_minimiser():
    logits, labels = overconfident(4)

    def loss(values: np.ndarray) -> float:
        eta = values[0] * logits + np.r_[0.0, values[1:]]
        return float((logsumexp(eta, axis=1) - eta[np.arange(len(labels)), labels]).mean())

    reference = minimize(loss, np.r_[1.0, 0, 0, 0], method="BFGS", options={"gtol": 1e-9})
    shift = fit_shift(logits, labels)
    np.testing.assert_allclose([shift.slope, *shift.intercepts[1:]], reference.x, atol=1e-5)
    assert loss(np.array([shift.slope, *shift.intercepts[1:]])) <= reference.fun + 1e-12


def test_what_has_no_slope():
    labels = np.repeat([0, 1], 20)
    apart = np.stack([np.zeros(40), np.r_[np.linspace(-3, -1, 20), np.linspace(1, 3, 20)]], axis=1)
    with pytest.raises(UndefinedMetric, match="no bound"):
        fit_shift(apart, labels)
    # with the slope held at 1 there is an answer
    assert abs(fit_shift(apart, labels, slope=False).intercepts[1]) < 1
    with pytest.raises(UndefinedMetric, match="not positive"):
        fit_shift(-overconfident(2)[0], overconfident(2)[1])
    with pytest.raises(UndefinedMetric, match="a class has no image"):
        fit_shift(apart, np.zeros(40, int))
    with pytest.raises(UndefinedMetric, match="the same probabilities"):
        fit_shift(np.zeros((40, 2)), labels)


def test_logits_as_large_as_a_network_can_make_them():
    logits, labels = overconfident(2)
    plain, large = fit_shift(logits, labels), fit_shift(1e4 * logits + 5e5, labels)
    assert large.slope * 1e4 == pytest.approx(plain.slope, rel=1e-6)
    assert np.isfinite(large.apply(1e4 * logits)).all()


def test_a_shift_keeps_the_ranking():
    logits, labels = overconfident(2)
    corrected = Shift(0.4, (0.0, -2.0)).apply(logits)
    was, now = (np.argsort(v[:, 1] - v[:, 0], kind="stable") for v in (logits, corrected))
    assert was.tolist() == now.tolist()


@pytest.mark.parametrize("classes", [2, 4])
def test_the_temperature_of_greatest_likelihood(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 300)
    logits = 3 * (rng.normal(size=(300, classes)) + 1.3 * np.eye(classes)[labels])

    def loss(temperature: float) -> float:
        return log_loss(labels, softmax(logits / temperature, axis=1))

    found = fit_temperature(logits, labels)
    searched = minimize_scalar(loss, bounds=(0.05, 50), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(searched.x, rel=1e-5)
    assert found > 1.5
    logarithms = np.log(softmax(logits, axis=1))
    assert fit_temperature(logarithms, labels) == pytest.approx(found)


@pytest.mark.parametrize(
    ("logits", "labels", "why"),
    [
        ([[1.0, 2.0]] * 2, [0, 1], "wrong way"),
        ([[0.0, 0.0]] * 2, [0, 1], "every image has the same probabilities"),
        ([[2.0, 0.0], [0.0, 1.0]], [0, 1], "every image is answered rightly"),
        ([[2.0, 0.0], [0.0, 1.0]], [1, 0], "the wrong way round"),
        (np.zeros((0, 2)), np.zeros(0, int), "no image"),
    ],
)
def test_no_temperature(logits, labels, why):
    with pytest.raises(UndefinedMetric) as caught:
        fit_temperature(np.asarray(logits), np.asarray(labels))
    assert re.search(why, caught.value.reason)
