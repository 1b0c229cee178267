"""DeLong, McNemar, Holm and Wilson against brute force, scipy and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm, rankdata
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from medimg.core.errors import InputError
from medimg.core.scored import UndefinedMetric
from medimg.statistics.delong import apart, delong, paired_delong
from medimg.statistics.holm import holm
from medimg.statistics.mcnemar import mcnemar
from medimg.statistics.rank_exchange import rank_exchange
from medimg.statistics.ranking import auroc_or_none
from medimg.statistics.wilson import wilson
from medimg.training.paired_tests import all_pairs


def two_scores(seed: int, n: int = 60, decimals: int = 3) -> tuple:
    rng = np.random.default_rng(seed)
    labels = np.r_[True, True, False, False, rng.random(n - 4) < 0.4]
    shared = rng.normal(size=n)
    first = (shared + rng.normal(size=n) + labels).round(decimals)
    second = (shared + rng.normal(size=n) + 0.5 * labels).round(decimals)
    return labels, first, second


def brute_force(labels, scores) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs and covariance straight from DeLong's definition, pair by pair."""
    v10, v01 = [], []
    for row in scores:
        pairs = np.array([[(x > y) + 0.5 * (x == y) for y in row[~labels]] for x in row[labels]])
        v10.append(pairs.mean(axis=1))
        v01.append(pairs.mean(axis=0))
    v10, v01 = np.array(v10), np.array(v01)
    size = len(scores)
    covariance = np.empty((size, size))
    for a in range(size):
        for b in range(size):
            covariance[a, b] = sum(
                ((v[a] - v[a].mean()) * (v[b] - v[b].mean())).sum() / (len(v[a]) - 1) / len(v[a])
                for v in (v10, v01)
            )
    return v10.mean(axis=1), covariance


@pytest.mark.parametrize("decimals", [6, 0])
def test_delong_is_its_definition(decimals):
    for seed in range(5):
        labels, first, second = two_scores(seed, decimals=decimals)
        found = delong(labels, first, second)
        areas, covariance = brute_force(labels, np.array([first, second]))
        assert found.values == pytest.approx(areas, abs=1e-12)
        assert found.covariance == pytest.approx(covariance, abs=1e-12)
        assert found.values[0] == pytest.approx(roc_auc_score(labels, first))
        assert auroc_or_none(labels, first) == pytest.approx(areas[0], abs=1e-12)


def test_delong_keeps_its_level():
    below = sum(
        paired_delong(labels, first, rng.permuted(np.stack([second, first]), axis=0)[0]).p < 0.05
        for seed in range(200)
        for rng in [np.random.default_rng(seed)]
        for labels in [np.repeat([True, False], 40)]
        for first, second in [rng.normal(size=(2, 80)) + labels]
    )
    assert 1 <= below <= 23  # 10 expected


def test_delong_difference_and_interval():
    labels, first, second = two_scores(1, 400)
    found = paired_delong(labels, first, second)
    areas, covariance = brute_force(labels, np.array([first, second]))
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.difference == pytest.approx(areas[0] - areas[1])
    assert found.ci95 == pytest.approx(
        (found.difference - 1.959964 * error, found.difference + 1.959964 * error), abs=1e-6
    )
    assert paired_delong(labels, second, first).p == pytest.approx(found.p)


def test_delong_without_variance_or_images():
    labels, first, _ = two_scores(2)
    same = paired_delong(labels, first, 2 * first + 1)
    assert (same.difference, same.p, same.ci95) == (0.0, 1.0, None)
    assert same.reason == "the two rank the images alike"
    one = np.array([True, False, False])
    assert "1 positive" in paired_delong(one, np.arange(3.0), np.arange(3.0)).reason
    with pytest.raises(UndefinedMetric):
        delong(one, np.arange(3.0))
    with pytest.raises(InputError):
        delong(one, np.arange(4.0))
    assert auroc_or_none([1, 1], [0.1, 0.2]) is None


def aurocs(labels, scores):
    """Of each row of Float[R, N], by Mann and Whitney's sum of ranks."""
    positives, negatives = labels.sum(), (~labels).sum()
    sums = rankdata(scores, axis=1)[:, labels].sum(axis=1)
    return (sums - positives * (positives + 1) / 2) / (positives * negatives)


def test_the_exchange_of_ranks_is_its_simulation():
    labels, first, second = two_scores(3, 40)
    ranks = rankdata(first), rankdata(second.round(0))
    found = rank_exchange(labels, *ranks)
    swaps = np.random.default_rng(0).random((4000, 40)) < 0.5
    one, other = (aurocs(labels, np.where(swaps, *pair)) for pair in (ranks, ranks[::-1]))
    assert found.difference == pytest.approx(
        roc_auc_score(labels, ranks[0]) - roc_auc_score(labels, ranks[1])
    )
    simulated = 2 * norm.sf(abs(found.difference) / np.std(one - other))
    assert found.p == pytest.approx(simulated, rel=0.1)


def test_the_exchange_of_ranks_keeps_its_level():
    labels = np.repeat([True, False], 50)
    below = 0
    for seed in range(400):
        shared, one, other = np.random.default_rng(seed).normal(size=(3, 100)) + labels
        below += rank_exchange(labels, shared + one, shared + other).p < 0.05
    assert 8 <= below <= 32  # 20 expected


def test_a_perfect_run_is_told_from_a_constant_one():
    labels = np.repeat([True, False], 60)
    found = paired_delong(labels, labels.astype(float), np.full(120, 0.3))
    assert (found.difference, found.ci95, found.method) == (0.5, None, "exchange of ranks")
    assert found.p < 1e-6 and "no variance" in found.reason


def test_equal_runs_are_not_told_from_the_one_that_looks_best():
    """10 runs that are equally good: the best by chance is told from none, 19 times of 20."""
    labels = np.repeat([False, True], 100)
    false_alarms = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        shared = labels + rng.normal(size=200)
        areas = delong(labels, *(shared + 0.7 * rng.normal(size=(10, 200))))
        best = int(areas.values.argmax())
        others = [k for k in range(10) if k != best]
        family = holm([apart(areas, k, best).p for k in others], all_pairs(10))
        false_alarms += min(family) < 0.05
    assert 0 < false_alarms <= 24  # 6 %; at nine tests these are 13 %


def test_mcnemar_is_the_binomial_test():
    for only_first, only_second in [(0, 1), (3, 9), (10, 10), (25, 4), (300, 350)]:
        first = np.r_[np.ones(20), np.ones(only_first), np.zeros(only_second), np.zeros(5)]
        second = np.r_[np.ones(20), np.zeros(only_first), np.ones(only_second), np.zeros(5)]
        found = mcnemar(first, second)
        exact = binomtest(only_first, only_first + only_second, 0.5).pvalue
        assert found.p == pytest.approx(exact, rel=1e-9)
        assert found.difference == pytest.approx(first.mean() - second.mean())
        # p and interval never disagree about 0
        assert (found.ci95[0] <= 0 <= found.ci95[1]) == (found.p >= 0.05)
        assert found.ci95[0] <= found.difference <= found.ci95[1]


def test_the_interval_allows_for_how_many_images_tell_the_runs_apart():
    """Two images of 26 on which one run alone is right: the true difference may well be more."""
    first, second = np.ones(26), np.r_[np.zeros(2), np.ones(24)]
    found = mcnemar(first, second)
    assert found.p == 0.5
    assert found.ci95 == pytest.approx((-0.066, 0.209), abs=1e-3)


def test_the_interval_of_mcnemar_covers():
    """The share of right answers differs by 0.1; 95 % of the intervals hold that."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        draw = rng.random(60)
        found = mcnemar(draw < 0.75, (draw < 0.6) | (draw > 0.95))
        held += found.ci95 is not None and found.ci95[0] <= 0.1 <= found.ci95[1]
    assert held / 600 == pytest.approx(0.96, abs=0.025)


def test_mcnemar_without_disagreement_or_images():
    same = mcnemar([True, False], [True, False])
    assert (same.p, same.ci95) == (1.0, None) and same.reason
    with pytest.raises(InputError):
        mcnemar([], [])
    with pytest.raises(InputError):
        mcnemar([True], [True, False])


def test_holm_agrees_with_statsmodels():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 30):
        p_values = (rng.random(size) ** 3).round(2).tolist()
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    # tests that were not made count as p = 1
    wanted = multipletests([0.01, 0.03, 1, 1, 1, 1], method="holm")[1][:2]
    assert holm([0.01, 0.03], 6) == pytest.approx(wanted)
    with pytest.raises(InputError):
        holm([0.1, 0.2], 1)
    assert holm([]) == []
    with pytest.raises(InputError):
        holm([0.5, 1.2])


def test_wilson_agrees_with_statsmodels():
    for successes, n in [(0, 1), (1, 1), (0, 40), (40, 40), (7, 31), (990, 1000)]:
        for level in (0.9, 0.95):
            wanted = proportion_confint(successes, n, 1 - level, method="wilson")
            assert wilson(successes, n, level) == pytest.approx(wanted, abs=1e-9)
    with pytest.raises(UndefinedMetric):
        wilson(0, 0)
    with pytest.raises(InputError):
        wilson(3, 2)
