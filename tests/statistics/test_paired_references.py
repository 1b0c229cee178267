"""Paired tests against MLstatkit, stambo, statsmodels and scipy on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar

from medimg.core.errors import InputError
from medimg.core.scored import Scored
from medimg.metrics.accuracy import accuracy
from medimg.metrics.auroc import auroc
from medimg.metrics.balanced_accuracy import balanced_accuracy
from medimg.metrics.brier import brier
from medimg.metrics.f1 import f1
from medimg.metrics.mcc import mcc
from medimg.statistics.cochran import cochran
from medimg.statistics.delong import apart, delong, paired_delong
from medimg.statistics.mcnemar import mcnemar
from medimg.statistics.paired_bootstrap import paired_bootstrap


def clustered_pair(seed: int, patients: int = 120, each: int = 4):
    """Two models on images whose patients share much of their difficulty."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), each)
    labels = np.repeat(np.arange(patients) % 2, each)
    shared = rng.normal(size=patients)[groups]
    own = rng.normal(size=(2, patients))[:, groups]
    noise = rng.normal(size=(2, patients * each))
    logits = shared + own + 0.5 * noise + np.array([[1.6], [1.1]]) * (labels - 0.5)
    return labels, groups, 1 / (1 + np.exp(-logits))


def scored(labels, probabilities) -> Scored:
    return Scored(labels, np.c_[1 - probabilities, probabilities], 1, 0.5)


@pytest.mark.parametrize("decimals", [8, 1])
def test_delong_is_mlstatkits(decimals):
    stats = pytest.importorskip("MLstatkit.stats")
    for seed in range(6):
        labels, _, (first, second) = clustered_pair(seed, 60, 2)
        first, second = first.round(decimals), second.round(decimals)
        z, p = stats.Delong_test(labels, second, first, return_ci=False, return_auc=False)
        found = paired_delong(labels, first, second)
        assert found.p == pytest.approx(p, rel=1e-9)
        error = (found.ci95[1] - found.ci95[0]) / (2 * norm.ppf(0.975))
        assert found.difference / error == pytest.approx(z, rel=1e-6)


def test_delong_of_several_runs_is_delong_of_each_pair():
    labels, _, (first, second) = clustered_pair(3, 60, 2)
    third = first[::-1]
    areas = delong(labels, first, second, third)
    runs = (first, second, third)
    for a, b in ((0, 1), (2, 0), (1, 2)):
        assert apart(areas, a, b).p == pytest.approx(paired_delong(labels, runs[a], runs[b]).p)


@pytest.mark.parametrize(
    "name, metric", [("ROCAUC", auroc), ("F1Score", f1), ("MCC", mcc), ("BACC", balanced_accuracy)]
)
def test_the_grouped_paired_bootstrap_is_stambos(name, metric):
    """Whole patients are drawn by both. stambo draws patients without strata, which leaves the
    class shares to chance; with 60 patients a class that is a small matter."""
    stambo = pytest.importorskip("stambo")
    statistic = getattr(pytest.importorskip("stambo.metrics"), name)()
    # its F1 hands probabilities to scikit-learn, which wants answers
    statistic.int_input = name != "ROCAUC"
    labels, groups, (first, second) = clustered_pair(5)
    theirs = stambo.compare_models(
        labels, second, first, metrics=(statistic,), groups=groups, n_bootstrap=1000, seed=1,
        silent=True,
    )  # fmt: skip
    p, difference, low, high = theirs[name][:4]
    found = paired_bootstrap(
        scored(labels, first), scored(labels, second), metric, groups.tolist(), 2000, seed=2
    )
    assert found.difference == pytest.approx(difference, abs=1e-9)
    assert found.ci95[1] - found.ci95[0] == pytest.approx(high - low, rel=0.12)
    assert found.p == pytest.approx(p, rel=0.15, abs=0.02)


def test_images_taken_for_patients_pretend_certainty():
    labels, groups, (first, second) = clustered_pair(5)
    by_patient, by_image = (
        paired_bootstrap(scored(labels, first), scored(labels, second), auroc, g, 1000)
        for g in (groups.tolist(), None)
    )
    assert np.ptp(by_patient.ci95) > 1.4 * np.ptp(by_image.ci95)
    assert by_patient.p > by_image.p


def test_the_bootstrap_agrees_with_delong_where_images_are_independent():
    for seed in range(4):
        labels, _, (first, second) = clustered_pair(seed, 400, 1)
        exact = paired_delong(labels, first, second)
        found = paired_bootstrap(scored(labels, first), scored(labels, second), auroc, None, 2000)
        assert found.p == pytest.approx(exact.p, rel=0.35, abs=0.02)
        assert found.ci95 == pytest.approx(exact.ci95, abs=0.012)


def test_p_does_not_stop_at_one_in_the_number_of_resamples():
    labels, _, (first, _) = clustered_pair(0, 400, 1)
    worse = np.random.default_rng(0).random(400)
    found = paired_bootstrap(scored(labels, first), scored(labels, worse), brier, None, 200)
    assert 0 < found.p < 1e-6


def test_mcnemar_is_statsmodels():
    rng = np.random.default_rng(0)
    for n in (5, 40, 300):
        first, second = rng.random((2, n)) < [[0.8], [0.7]]
        table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), 0]]
        assert mcnemar(first, second).p == pytest.approx(exact_mcnemar(table, exact=True).pvalue)


def test_cochran_is_statsmodels():
    rng = np.random.default_rng(0)
    for runs, n in ((2, 30), (3, 60), (8, 400)):
        right = rng.random((runs, n)) < 0.7
        right[0] |= rng.random(n) < 0.3
        expected = cochrans_q(right.T)
        found = cochran(right)
        assert found.statistic == pytest.approx(expected.statistic)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9) and found.df == runs - 1


def test_cochran_by_hand_and_at_its_edges():
    # 4 images, 3 runs; row sums 4, 2, 0 and column sums 2, 2, 1, 1:
    # Q = 2 * (3 * 20 - 36) / (3 * 6 - 10) = 6
    right = [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    found = cochran(right)
    assert (found.statistic, found.df, found.images) == (6.0, 2, 4)
    assert found.p == pytest.approx(np.exp(-3))
    alike = cochran([[1, 0, 1], [1, 0, 1], [1, 0, 1]])
    assert (alike.statistic, alike.p, alike.images) == (0.0, 1.0, 0)
    for bad in ([[1, 0]], [[], []], [1, 0]):
        with pytest.raises(InputError):
            cochran(bad)


def test_accuracy_differs_by_the_same_amount_in_every_test():
    labels, _, (first, second) = clustered_pair(1, 100, 1)
    one, other = scored(labels, first), scored(labels, second)
    by_bootstrap = paired_bootstrap(one, other, accuracy, None, 200)
    exact = mcnemar(one.decided == labels, other.decided == labels)
    assert by_bootstrap.difference == pytest.approx(exact.difference)
