"""Thresholds against an exhaustive search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score

from medimg.core.errors import InputError, UsageError
from medimg.statistics.operating_point import (
    at_sensitivity,
    at_specificity,
    operating_point,
    youden,
)

IMAGES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])),
    min_size=2,
    max_size=20,
).filter(lambda rows: len({ill for ill, _ in rows}) == 2)


def rates(labels, p, threshold) -> tuple[float, float]:
    called = p >= threshold
    return called[labels].mean(), (~called)[~labels].mean()


def every_cut(labels, p) -> list[tuple[float, float]]:
    return [rates(labels, p, t) for t in [*np.unique(p), 2.0]]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(IMAGES)
def test_rules_reach_what_an_exhaustive_search_reaches(rows):
    labels, p = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    all_cuts = every_cut(labels, p)
    sensitivity, specificity = rates(labels, p, youden(labels, p))
    assert sensitivity + specificity == pytest.approx(max(a + b for a, b in all_cuts))
    sensitivity, specificity = rates(labels, p, at_sensitivity(labels, p, 0.8))
    assert sensitivity >= 0.8
    assert specificity == max(b for a, b in all_cuts if a >= 0.8)
    sensitivity, specificity = rates(labels, p, at_specificity(labels, p, 0.8))
    assert specificity >= 0.8
    assert sensitivity == max(a for a, b in all_cuts if b >= 0.8)


def test_the_threshold_lies_midway():
    labels, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])
    assert youden(labels, p) == pytest.approx(0.4)
    assert at_specificity(labels, p, 0.5) == pytest.approx(0.15)
    assert at_sensitivity(labels, p, 0.5) == pytest.approx(0.75)


def test_of_equal_thresholds_the_one_nearest_to_half():
    # 0.2 | 0.45 | 0.95: the cuts at 0.15 and at 0.6 are equally good
    labels, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.5, 0.7])
    assert youden(labels, p) == pytest.approx(0.6)


def test_neighbouring_floats_are_told_apart():
    low = 0.3
    for _ in range(4):  # half of these midpoints round down
        high = np.nextafter(low, 1)
        threshold = youden([False, True], [low, high])
        assert low < threshold <= high
        low = high
    assert at_specificity([True, False], [0.5, 1.0], 1.0) > 1.0  # nothing is called positive


def test_a_share_of_whole_images_meets_its_target():
    labels = np.r_[np.ones(20, bool), np.zeros(20, bool)]
    p = np.r_[0.05, np.linspace(0.5, 0.9, 19), np.linspace(0.06, 0.4, 20)]
    assert rates(labels, p, at_sensitivity(labels, p, 0.95)) == (0.95, 1.0)


def test_rules_by_name():
    labels, p = [0, 0, 1, 1], [0.1, 0.5, 0.4, 0.9]
    assert operating_point("youden", labels, p) == youden(labels, p)
    assert operating_point("sensitivity=0.9", labels, p) == at_sensitivity(labels, p, 0.9)
    assert operating_point("specificity=1", labels, p) == at_specificity(labels, p, 1)


@pytest.mark.parametrize("seed", range(6))
def test_f_beta_and_cost_reach_what_an_exhaustive_search_reaches(seed):
    rng = np.random.default_rng(seed)
    labels = rng.random(40) < 0.3
    labels[:2] = (True, False)
    p = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1), 1)
    cuts = [*np.unique(p), 2.0]

    def f_beta(threshold, beta):
        return fbeta_score(labels, p >= threshold, beta=beta, zero_division=0)

    def cost(threshold):
        return 7 * (labels & (p < threshold)).sum() + 2 * (~labels & (p >= threshold)).sum()

    for beta in (0.5, 1, 2):
        chosen = operating_point(f"fbeta={beta}", labels, p)
        assert f_beta(chosen, beta) == pytest.approx(max(f_beta(c, beta) for c in cuts))
    assert cost(operating_point("cost=7:2", labels, p)) == min(cost(c) for c in cuts)


@pytest.mark.parametrize(
    "rule", ["fbeta=0", "fbeta=x", "cost=3", "cost=1:-1", "cost=1:2:3", "cost="]
)
def test_numbers_that_are_none(rule):
    with pytest.raises(UsageError, match="above 0"):
        operating_point(rule, [0, 1], [0.1, 0.9])


@pytest.mark.parametrize("rule", ["youdn", "sensitivity", "auroc=0.9", "sensitivity=95", "0.4"])
def test_unknown_rules_are_refused(rule):
    with pytest.raises(UsageError) as caught:
        operating_point(rule, [0, 1], [0.1, 0.9])
    assert rule in caught.value.message and caught.value.hint


def test_one_kind_of_image_gives_no_threshold():
    with pytest.raises(InputError, match="2 of 2 are positive"):
        youden([1, 1], [0.1, 0.9])
