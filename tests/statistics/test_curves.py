"""Curves against scikit-learn's, and what their bands hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from medimg.core.scored import Scored
from medimg.statistics.curves import POINTS, precision_recall, roc


def images(seed: int, n: int, ties: bool = False) -> Scored:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + labels)))
    p = np.round(p, 1) if ties else p
    return Scored(labels, np.c_[1 - p, p], 1, 0.5)


@pytest.mark.parametrize("ties", [False, True])
def test_curves_are_scikit_learns(ties):
    scored = images(0, 200, ties)
    p = scored.probabilities[:, 1]
    false, true, _ = roc_curve(scored.labels, p, drop_intermediate=False)
    found = roc(scored, 1, None)
    np.testing.assert_allclose(found.x, false, atol=1e-12)
    np.testing.assert_allclose(found.y, true, atol=1e-12)
    precision, recall, _ = precision_recall_curve(scored.labels, p)
    found = precision_recall(scored, 1, None)
    np.testing.assert_allclose(found.x, recall[:-1][::-1], atol=1e-12)
    np.testing.assert_allclose(found.y, precision[:-1][::-1], atol=1e-12)


@pytest.mark.parametrize("of", [roc, precision_recall])
def test_bands_hold_the_curve_and_narrow_with_the_images(of):
    widths = []
    for n in (100, 2000):
        curve = of(images(1, n), 1, None)
        assert curve.grid.shape == curve.low.shape == curve.high.shape == (POINTS,)
        assert (curve.low <= curve.high).all()
        assert curve.low.min() >= 0 and curve.high.max() <= 1
        inner = slice(10, -10)
        at = np.interp(curve.grid, curve.x, curve.y)[inner]
        held = (curve.low[inner] <= at + 0.02) & (at <= curve.high[inner] + 0.02)
        assert held.mean() > 0.95
        widths.append(np.median((curve.high - curve.low)[inner]))
    assert widths[1] < 0.4 * widths[0]


def test_patients_widen_the_band():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(60), 8)
    labels = groups % 2
    logits = labels + rng.normal(scale=1.5, size=60)[groups] + rng.normal(scale=0.2, size=480)
    p = 1 / (1 + np.exp(-logits))
    scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
    naive, fair = roc(scored, 1, None), roc(scored, 1, groups.tolist())
    assert (fair.high - fair.low).mean() > 1.6 * (naive.high - naive.low).mean()
    assert roc(scored, 1, groups.tolist()).low.tolist() == fair.low.tolist()
