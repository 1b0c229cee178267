"""Intervals against independent implementations, by hand at the edges, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t
from statsmodels.stats.proportion import proportion_confint

from medimg.core.scored import Scored
from medimg.metrics.accuracy import accuracy
from medimg.metrics.auroc import auroc
from medimg.metrics.brier import brier
from medimg.metrics.f1 import f1
from medimg.metrics.mcc import mcc
from medimg.metrics.npv import npv
from medimg.metrics.precision import precision
from medimg.metrics.sensitivity import sensitivity
from medimg.metrics.specificity import specificity
from medimg.statistics.auroc_interval import (
    auroc_interval,
    clustered_variance,
    newcombe,
    pulls_of,
)
from medimg.statistics.delong import delong
from medimg.statistics.intervals import intervals

SHARES = {
    "accuracy": accuracy,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "precision": precision,
    "npv": npv,
}
Z = norm.ppf(0.975)


def images(seed: int, n: int = 150, gap: float = 1.0, ties: bool = False) -> Scored:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + gap * (labels - 0.5))))
    p = np.round(p, 1) if ties else p
    return Scored(labels, np.c_[1 - p, p], 1, 0.45)


def test_shares_of_independent_images_are_wilsons():
    scored = images(0)
    found = intervals(scored, SHARES)
    said, ill = scored.decided == 1, scored.labels == 1
    counts = {
        "accuracy": ((said == ill).sum(), len(ill)),
        "sensitivity": ((said & ill).sum(), ill.sum()),
        "specificity": ((~said & ~ill).sum(), (~ill).sum()),
        "precision": ((said & ill).sum(), said.sum()),
        "npv": ((~said & ~ill).sum(), (~said).sum()),
    }
    for name, (right, n) in counts.items():
        assert found[name].bounds == pytest.approx(proportion_confint(right, n, method="wilson"))
        assert (found[name].value, found[name].method) == (pytest.approx(right / n), "Wilson")


def wald_of_logit(value: float, variance: float) -> tuple[float, float]:
    centre, reach = np.log(value / (1 - value)), Z * variance**0.5 / (value * (1 - value))
    return tuple(1 / (1 + np.exp(-(centre + np.array([-reach, reach])))))


@pytest.mark.parametrize("ties", [False, True])
def test_delong_against_two_other_packages(ties):
    scored = images(1, ties=ties)
    p = scored.probabilities[:, 1]
    value, bounds = pytest.importorskip("confidenceinterval").roc_auc_score(scored.labels, p)
    areas = delong(scored.labels, p)
    assert areas.values[0] == pytest.approx(value)
    reach = Z * areas.covariance[0, 0] ** 0.5
    assert (value - reach, value + reach) == pytest.approx(bounds)
    found = auroc_interval(scored, None)
    variance = ((bounds[1] - value) / Z) ** 2
    assert found.bounds == pytest.approx(wald_of_logit(value, variance))
    assert "DeLong" in found.method
    other = np.random.default_rng(5).permutation(p)
    answer = pytest.importorskip("MLstatkit").Delong_test(scored.labels, p, other, return_auc=True)
    both = delong(scored.labels, p, other)
    difference = both.values[0] - both.values[1]
    spread = both.covariance[0, 0] + both.covariance[1, 1] - 2 * both.covariance[0, 1]
    assert abs(difference / spread**0.5) == pytest.approx(abs(answer[0]))


def obuchowski_by_hand(scored: Scored, groups: list[str]) -> float:
    """The paper's formulas, sum by sum."""
    p, ill = scored.probabilities[:, 1], scored.labels == 1
    xs, ys = p[ill], p[~ill]
    gx = [g for g, is_ill in zip(groups, ill, strict=True) if is_ill]
    gy = [g for g, is_ill in zip(groups, ill, strict=True) if not is_ill]
    kernel = (xs[:, None] > ys[None]) + 0.5 * (xs[:, None] == ys[None])
    area, m, n = kernel.mean(), len(xs), len(ys)
    v10, v01 = kernel.mean(axis=1), kernel.mean(axis=0)
    clusters = sorted(set(groups))
    dx = {c: sum(v10[i] - area for i in range(m) if gx[i] == c) for c in clusters}
    dy = {c: sum(v01[j] - area for j in range(n) if gy[j] == c) for c in clusters}
    i10, i01, i = len(set(gx)), len(set(gy)), len(clusters)
    s10 = i10 / ((i10 - 1) * m) * sum(v**2 for v in dx.values())
    s01 = i01 / ((i01 - 1) * n) * sum(v**2 for v in dy.values())
    s11 = i / (i - 1) * sum(dx[c] * dy[c] for c in clusters)
    return s10 / m + s01 / n + 2 * s11 / (m * n)


@pytest.mark.parametrize("ties", [False, True])
def test_obuchowski_is_the_papers_formula(ties):
    scored = images(2, ties=ties)
    groups = [f"p{i // 4}" for i in range(len(scored))]
    variance = obuchowski_by_hand(scored, groups)
    found = auroc_interval(scored, groups)
    few = t.ppf(0.975, len(set(groups)) - 1) / Z
    assert found.bounds == pytest.approx(wald_of_logit(found.value, few**2 * variance))
    assert found.method.startswith("Obuchowski")


def test_obuchowski_of_patients_with_one_image_is_delong():
    scored = images(3)
    groups = [f"p{i}" for i in range(len(scored))]
    assert obuchowski_by_hand(scored, groups) == pytest.approx(
        float(delong(scored.labels, scored.probabilities[:, 1]).covariance[0, 0])
    )
    with_t, with_z = auroc_interval(scored, groups), auroc_interval(scored, None)
    assert with_t.bounds == pytest.approx(with_z.bounds, abs=0.002)
    assert intervals(scored, {"auroc": auroc}, groups)["auroc"].method.startswith("DeLong")


def test_several_classes_have_the_spread_of_the_bootstrap():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    odds = np.exp(rng.normal(size=(240, 3)) + np.eye(3)[labels])
    scored = Scored(labels, odds / odds.sum(axis=1, keepdims=True))
    value, pulls = pulls_of(scored)
    error = clustered_variance(labels, pulls, np.arange(240)) ** 0.5
    drawn = []
    for _ in range(2000):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(labels == k), (labels == k).sum()) for k in range(3)]
        )
        drawn.append(auroc(Scored(labels[rows], scored.probabilities[rows])))
    assert value == pytest.approx(auroc(scored))
    assert error == pytest.approx(np.std(drawn), rel=0.06)


# -- the edges ------------------------------------------------------------------------------------


def perfect(n: int = 20) -> Scored:
    labels = np.arange(n) % 2
    p = np.where(labels == 1, 0.9, 0.1) + np.linspace(0, 0.05, n)
    return Scored(labels, np.c_[1 - p, p], 1, 0.5)


def test_an_auroc_of_one_has_an_interval():
    found = intervals(perfect(), {"auroc": auroc, **SHARES, "mcc": mcc, "f1": f1})
    low, high = found["auroc"].bounds
    assert (found["auroc"].value, high) == (1.0, 1.0) and 0.5 < low < 0.95
    assert found["auroc"].method == "Newcombe's score interval (10 and 10 images)"
    for name in SHARES:
        assert found[name].value == 1.0 and found[name].low < found[name].high == 1.0
    for name in ("mcc", "f1"):
        assert found[name].bounds is None
        assert found[name].reason == "all resamples gave the same value"


def test_newcombes_bounds_solve_their_equation():
    for value, m, n in ((1.0, 10, 10), (0.87, 12, 40), (0.0, 5, 9), (0.5, 3, 4)):
        bounds = newcombe(value, m, n)
        assert bounds[0] <= value <= bounds[1]
        for area in (b for b in bounds if 0 < b < 1):
            q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
            # Hanley and McNeil's variance with (m + n) / 2 for both numbers inside the brackets
            half = (m + n) / 2 - 1
            variance = (area * (1 - area) + half * (q1 - area**2) + half * (q2 - area**2)) / (m * n)
            assert abs(value - area) == pytest.approx(Z * variance**0.5, rel=1e-4)


def test_no_error_in_clustered_images_counts_patients():
    groups = [f"p{i // 4}" for i in range(20)]
    found = intervals(perfect(), {"auroc": auroc, **SHARES}, groups, 200)
    assert found["accuracy"].bounds == pytest.approx(proportion_confint(5, 5, method="wilson"))
    assert found["accuracy"].method == "Wilson at the number of patients (5)"
    alone = intervals(perfect(), {"auroc": auroc})["auroc"]
    assert found["auroc"].low < alone.low
    assert found["auroc"].method.endswith("(5 and 5 patients)")


def test_one_image_and_one_class():
    one = intervals(Scored([1], [[0.2, 0.8]], 1, 0.5), {"auroc": auroc, **SHARES})
    assert one["accuracy"].bounds == pytest.approx(proportion_confint(1, 1, method="wilson"))
    for name in ("auroc", "specificity", "npv"):
        assert one[name].value is None and one[name].bounds is None and one[name].reason


def test_constant_scores_have_no_variance_to_tell():
    scored = Scored([0, 1] * 10, [[0.4, 0.6]] * 20, 1, 0.5)
    found = intervals(scored, {"auroc": auroc, "specificity": specificity})
    assert found["auroc"].value == 0.5 and found["auroc"].bounds is None
    assert "no variance" in found["auroc"].reason
    assert found["specificity"].value == 0.0 and found["specificity"].high > 0.2


def test_a_class_of_one_image():
    p = np.array([0.9, 0.2, 0.3, 0.6, 0.4])
    found = auroc_interval(Scored([1, 0, 0, 0, 0], np.c_[1 - p, p], 1), None)
    assert found.value == 1.0 and 0 < found.low < 0.6


# -- coverage -------------------------------------------------------------------------------------

ALL = {"accuracy": accuracy, "auroc": auroc, "f1": f1, "sensitivity": sensitivity, "brier": brier}
SPREAD, NOISE, GAP = 1.0, 0.6, 0.9


def simulated(
    seed: int, mixed: bool = False, patients: int = 150, each: int = 4
) -> tuple[Scored, list[int]]:
    """Half of the patients are ill in all their images, or (mixed) each in half of them; scores
    share a patient's own part."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), each)
    ill = np.arange(len(groups)) % 2 if mixed else groups % 2
    logits = GAP * (2 * ill - 1) + rng.normal(scale=SPREAD, size=patients)[groups]
    logits = logits + rng.normal(scale=NOISE, size=len(groups))
    p = 1 / (1 + np.exp(-logits))
    return Scored(ill, np.c_[1 - p, p], 1, 0.5), groups.tolist()


def truths(mixed: bool = False, patients: int = 150) -> dict[str, float]:
    """What the simulation gives in the mean."""
    scale = (SPREAD**2 + NOISE**2) ** 0.5
    share = norm.cdf(GAP / scale)
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    squares = (1 - 1 / (1 + np.exp(-(GAP + scale * z)))) ** 2
    area = norm.cdf(2 * GAP / (2**0.5 * scale))
    if mixed:
        # pairs of one patient's images, in which the patient's own part falls out
        within = norm.cdf(2 * GAP / (2**0.5 * NOISE))
        area += (within - area) / patients
    return {
        "accuracy": share,
        "sensitivity": share,
        # as many ill as well, and as often right on both
        "f1": share,
        "auroc": area,
        "brier": float(weight @ squares / weight.sum()),
    }


def coverage(
    repeats: int, resamples: int, clustered: bool, mixed: bool = False
) -> dict[str, float]:
    held = dict.fromkeys(ALL, 0)
    for seed in range(repeats):
        scored, groups = simulated(seed, mixed)
        found = intervals(scored, ALL, groups if clustered else None, resamples, seed=seed)
        for name, truth in truths(mixed).items():
            held[name] += found[name].low <= truth <= found[name].high
    return {name: count / repeats for name, count in held.items()}


@pytest.mark.slow
@pytest.mark.parametrize("mixed", [False, True])
def test_clustered_intervals_hold_the_truth_as_often_as_they_say(mixed):
    for name, share in coverage(1000, 2000, True, mixed).items():
        assert 0.93 <= share <= 0.97, (name, share)


def test_intervals_that_ignore_patients_hold_it_less_often():
    naive, fair = (coverage(150, 300, clustered) for clustered in (False, True))
    for name in ALL:
        assert naive[name] <= 0.87 < 0.90 <= fair[name], (name, naive[name], fair[name])
