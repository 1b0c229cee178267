"""The bootstrap: what is drawn, that it repeats, that patients widen it, when it is silent."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.core.errors import InputError
from medimg.core.scored import Scored, UndefinedMetric
from medimg.metrics.accuracy import accuracy
from medimg.metrics.auroc import auroc
from medimg.metrics.precision import precision
from medimg.metrics.sensitivity import sensitivity
from medimg.metrics.specificity import specificity
from medimg.statistics.bootstrap import bootstrap_intervals
from medimg.statistics.mcnemar import mcnemar
from medimg.statistics.paired_bootstrap import ALIKE, paired_bootstrap
from medimg.statistics.resampling import resampled, strata_of, units_of

BOTH = {"accuracy": accuracy, "auroc": auroc}


def clustered(seed: int, patients: int = 60, images: int = 8, spread: float = 1.5) -> tuple:
    """Images of one patient share a label and most of their score."""
    rng = np.random.default_rng(seed)
    ill = np.arange(patients) % 2
    groups = np.repeat(np.arange(patients), images)
    labels = ill[groups]
    own = rng.normal(scale=spread, size=patients)
    logits = 2 * (labels - 0.5) + own[groups] + rng.normal(scale=0.3, size=len(labels))
    p = 1 / (1 + np.exp(-logits))
    return Scored(labels, np.c_[1 - p, p], 1, 0.5), [f"p{g}" for g in groups]


def weights_of(labels, groups=None, resamples=300, seed=0):
    return np.concatenate(list(resampled(np.asarray(labels), groups, resamples, seed)))


def test_images_are_drawn_within_their_class():
    labels = np.array([0] * 7 + [1] * 3 + [2] * 5)
    weights = weights_of(labels)
    for k in range(3):
        assert (weights[:, labels == k].sum(axis=1) == (labels == k).sum()).all()
    assert weights.std(axis=0).min() > 0.5
    assert weights.mean(axis=0) == pytest.approx(np.ones(15), abs=0.25)


def test_patients_are_drawn_whole_and_within_what_they_show():
    groups = ["a", "a", "b", "c", "c", "c", "d", "e", "e", "f", "f"]
    labels = [0, 0, 0, 1, 1, 1, 1, 0, 1, 1, 0]
    weights = weights_of(labels, groups)
    for name in set(groups):
        mine = weights[:, [g == name for g in groups]]
        assert (mine == mine[:, :1]).all()
    first = {name: groups.index(name) for name in groups}
    for stratum in ("ab", "cd", "ef"):
        assert (weights[:, [first[g] for g in stratum]].sum(axis=1) == 2).all()


def test_unknown_patients_are_drawn_alone():
    assert units_of(["a", None, "a", None], 4).tolist() == [0, 1, 0, 2]


def test_single_units_are_drawn_among_others():
    # one image of class 0: alone it would be in every resample
    strata = strata_of(np.array([0, 1, 1, 1, 2, 2]), np.arange(6))
    assert sorted(sorted(s.tolist()) for s in strata) == [[0, 4, 5], [1, 2, 3]]
    strata = strata_of(np.array([0, 1, 2, 2]), np.arange(4))
    assert sorted(sorted(s.tolist()) for s in strata) == [[0, 1], [2, 3]]
    assert [s.tolist() for s in strata_of(np.array([0]), np.arange(1))] == [[0]]


def test_the_same_seed_gives_the_same_intervals():
    scored, groups = clustered(0)
    first = bootstrap_intervals(scored, BOTH, groups, 200, seed=3)
    assert first == bootstrap_intervals(scored, BOTH, groups, 200, seed=3)
    assert first != bootstrap_intervals(scored, BOTH, groups, 200, seed=4)


def test_a_metric_has_the_same_interval_whatever_is_asked_beside_it():
    scored, groups = clustered(0)
    alone = bootstrap_intervals(scored, {"auroc": auroc}, groups, 200)
    assert bootstrap_intervals(scored, BOTH, groups, 200)["auroc"] == alone["auroc"]


def test_one_by_one_and_all_at_once_agree():
    scored, groups = clustered(1)
    looped = {name: lambda s, w=None, f=f: f(s, w) for name, f in BOTH.items()}
    slow = bootstrap_intervals(scored, looped, groups, 100)
    fast = bootstrap_intervals(scored, BOTH, groups, 100)
    for name in BOTH:
        assert slow[name].bounds == pytest.approx(fast[name].bounds, abs=1e-12)


def test_percentiles_of_a_plain_loop():
    scored, _ = clustered(2)
    found = bootstrap_intervals(scored, {"accuracy": accuracy}, None, 4000)["accuracy"]
    right, rng = scored.labels == scored.decided, np.random.default_rng(99)
    parts = [right[scored.labels == k] for k in (0, 1)]
    plain = [
        np.concatenate([rng.choice(part, len(part)) for part in parts]).mean() for _ in range(4000)
    ]
    assert found.bounds == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.006)


def test_patients_widen_the_interval():
    for seed in range(3):
        scored, groups = clustered(seed)
        naive = bootstrap_intervals(scored, BOTH, None, 500)
        by_patient = bootstrap_intervals(scored, BOTH, groups, 500)
        for name in BOTH:
            wide, narrow = by_patient[name], naive[name]
            assert wide.high - wide.low > 1.6 * (narrow.high - narrow.low)
            assert "by patient" in wide.method and "by image" in narrow.method


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    truth = 0.8413447  # P(N(1, 1) > 0)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1], 100)
        p = 1 / (1 + np.exp(-(rng.normal(size=200) + np.where(labels == 1, 1, -1))))
        scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
        low, high = bootstrap_intervals(scored, {"a": accuracy}, None, 200, seed=seed)["a"].bounds
        held += low <= truth <= high
    assert 178 <= held <= 199  # 190 expected; binomial, so 178 is four deviations off


def test_no_interval_from_equal_resamples():
    scored = Scored([0, 0, 1, 1], [[0.9, 0.1]] * 2 + [[0.2, 0.8]] * 2, 1, 0.5)
    found = bootstrap_intervals(scored, BOTH, None, 50)["auroc"]
    assert (found.value, found.bounds) == (1.0, None)
    assert found.reason == "all resamples gave the same value"


def test_no_interval_from_mostly_undefined_resamples():
    p = np.array([0.1, 0.2, 0.3, 0.9, 0.2, 0.3])
    scored = Scored([0, 0, 0, 1, 1, 1], np.c_[1 - p, p], 1, 0.5)
    found = bootstrap_intervals(scored, {"precision": precision}, None, 1000)["precision"]
    assert found.value == 1.0 and found.bounds is None
    # the one image called positive is missed by (2/3)^3 of the resamples
    assert found.undefined == pytest.approx(1000 * 8 / 27, abs=60)
    assert found.reason.startswith("undefined in ")


def test_few_undefined_resamples_are_left_out_and_counted():
    p = np.array([0.9] * 2 + [0.1] * 8 + [0.9] * 3 + [0.1] * 7)
    scored = Scored([0] * 10 + [1] * 10, np.c_[1 - p, p], 1, 0.5)
    found = bootstrap_intervals(scored, {"precision": precision}, None, 2000)["precision"]
    assert 0 < found.undefined < 100 and found.bounds is not None and found.reason is None


def test_an_undefined_metric_says_why():
    scored = Scored([0, 0], [[0.9, 0.1], [0.4, 0.6]], 1, 0.5)
    found = bootstrap_intervals(scored, BOTH, None, 50)["auroc"]
    assert found.value is None and found.bounds is None
    assert found.reason == "no image of class 1 in this part"


def test_groups_must_fit():
    scored, groups = clustered(0)
    with pytest.raises(InputError, match="479 groups for 480 images"):
        bootstrap_intervals(scored, BOTH, groups[1:], 10)


def test_a_difference_is_first_minus_second():
    scored, groups = clustered(0)
    flipped = Scored(scored.labels, scored.probabilities[:, ::-1], 1, 0.5)
    found = paired_bootstrap(scored, flipped, accuracy, groups, 300)
    assert found.difference == pytest.approx(accuracy(scored) - accuracy(flipped))
    assert found.ci95[0] < found.difference < found.ci95[1]
    assert found.p < 1e-9  # far below one in the number of resamples
    other = paired_bootstrap(flipped, scored, accuracy, groups, 300)
    assert other.p == pytest.approx(found.p) and other.difference == -found.difference


def test_paired_p_is_uniform_enough_where_nothing_differs():
    below = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1], 80)
        p, q = (1 / (1 + np.exp(-(rng.normal(size=160) + labels))) for _ in range(2))
        first, second = (Scored(labels, np.c_[1 - x, x], 1, 0.6) for x in (p, q))
        below += paired_bootstrap(first, second, auroc, None, 150, seed=seed).p < 0.05
    assert 1 <= below <= 23  # 10 expected


def test_a_run_against_itself_has_no_p():
    scored, groups = clustered(0)
    found = paired_bootstrap(scored, scored, auroc, groups, 50)
    assert (found.difference, found.ci95, found.p) == (0.0, None, None)
    assert found.reason == "the runs say the same of every image that this is about"


def test_the_images_that_a_share_is_not_about_tell_nothing():
    """Two runs that differ on healthy images alone have the same sensitivity."""
    first, second = handful(1)  # image 0 is negative
    found = paired_bootstrap(first, second, sensitivity, resamples=50)
    assert (found.difference, found.p, found.reason) == (0.0, None, ALIKE)
    assert paired_bootstrap(first, second, specificity, resamples=50).reason == (
        "the runs differ on 1 image: too few for an interval"
    )


@pytest.mark.parametrize("wrong", [3, 12])
def test_a_run_that_is_always_wrong_where_the_other_is_always_right(wrong):
    """No resample says anything else: p is that of exchanging the two, as McNemar's is."""
    labels = np.repeat([0, 1], wrong)
    right = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    other = np.where(labels[:, None] == 0, right[:, ::-1], right)
    pair = Scored(labels, other, 1, 0.5), Scored(labels, right, 1, 0.5)
    found = paired_bootstrap(*pair, specificity, resamples=100)
    assert found.difference == -1 and found.ci95 is None
    assert found.p == pytest.approx(mcnemar([0] * wrong, [1] * wrong).p)
    assert found.reason.startswith("the runs differ on 3" if wrong == 3 else "all resamples")


def test_pairs_must_be_the_same_images():
    scored, _ = clustered(0)
    turned = Scored(1 - scored.labels, scored.probabilities, 1, 0.5)
    with pytest.raises(InputError, match="same images"):
        paired_bootstrap(scored, turned, accuracy)


def test_an_undefined_difference_says_why():
    scored = Scored([0, 0], [[0.9, 0.1], [0.4, 0.6]], 1, 0.5)
    with pytest.raises(UndefinedMetric):
        auroc(scored)
    found = paired_bootstrap(scored, scored, auroc, resamples=10)
    assert found.difference is None and found.reason == "no image of class 1 in this part"


def handful(wrong: int, n: int = 7) -> tuple[Scored, Scored]:
    """Two runs on n images: one is right on all, the other wrong on the first so many."""
    labels = np.arange(n) % 2
    right = np.where(np.eye(2)[labels] > 0, 0.9, 0.1)
    other = right.copy()
    other[:wrong] = right[:wrong, ::-1]
    return Scored(labels, right, 1, 0.5), Scored(labels, other, 1, 0.5)


def test_a_handful_of_images_shows_no_more_than_an_exchange_could():
    """Four images on which one run alone is right: exact McNemar says 2 / 2^4."""
    found = paired_bootstrap(*handful(4), accuracy, resamples=500)
    assert found.p == pytest.approx(mcnemar([1] * 7, [0] * 4 + [1] * 3).p) == 0.125
    assert found.ci95 is None and found.reason == (
        "the runs differ on 4 images: too few for an interval"
    )
    grouped = paired_bootstrap(*handful(6, 12), accuracy, [0, 0, 0, 1, 1, 1] + [2] * 6, 500)
    assert grouped.p == 0.5 and grouped.ci95 is None
    enough = paired_bootstrap(*handful(9, 12), accuracy, resamples=500)
    # nine images say no more than 2 / 2^9, however large the difference over its error
    assert enough.p == 2**-8 and enough.ci95[0] > 0


def test_p_and_interval_tell_one_story():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels = np.arange(30) % 2
        scores = (1 / (1 + np.exp(-(rng.normal(size=30) + g * labels))) for g in (1.2, 0.4))
        first, second = (Scored(labels, np.c_[1 - x, x], 1, 0.6) for x in scores)
        found = paired_bootstrap(first, second, auroc, resamples=400, seed=seed)
        low, high = found.ci95
        assert (found.p < 0.05) == (low > 0 or high < 0)
