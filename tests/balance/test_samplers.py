"""Each sampler against scikit-learn, imbalanced-learn and plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from medimg.balance import class_weight, oversample, undersample

LABELS = np.random.default_rng(0).choice(4, 300, p=[0.6, 0.25, 0.1, 0.05])


def counts(plan):
    return np.bincount(LABELS[plan.indices], minlength=4)


def test_class_weights_are_those_of_scikit_learn():
    plan = class_weight.Sampler().plan(LABELS, None, 0)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=LABELS)
    np.testing.assert_allclose(plan.class_weights, expected, rtol=1e-6)
    np.testing.assert_allclose(
        plan.class_weights[LABELS], compute_sample_weight("balanced", LABELS), rtol=1e-6
    )
    assert plan.class_weights.dtype == np.float32
    assert plan.indices.tolist() == list(range(300))


def test_weighted_classes_carry_equal_shares_and_the_mean_weight_stays_one():
    weights = class_weight.Sampler().plan(LABELS, None, 0).class_weights[LABELS]
    shares = np.bincount(LABELS, weights=weights)
    np.testing.assert_allclose(shares, 75, rtol=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_a_class_without_images_gets_weight_one():
    plan = class_weight.Sampler().plan(np.array([0, 0, 2]), None, 0)
    np.testing.assert_allclose(plan.class_weights, [0.75, 1.0, 1.5])


def test_oversampling_keeps_all_and_repeats_the_rare():
    plan = oversample.Sampler().plan(LABELS, None, 3)
    assert counts(plan).tolist() == [np.bincount(LABELS).max()] * 4
    assert set(plan.indices) == set(range(300))
    majority = np.nonzero(LABELS == 0)[0]
    assert sorted(i for i in plan.indices if LABELS[i] == 0) == majority.tolist()
    reference = RandomOverSampler(random_state=3)
    reference.fit_resample(np.zeros((300, 1)), LABELS)
    assert plan.indices.tolist() == reference.sample_indices_.tolist()
    assert plan.class_weights.tolist() == [1, 1, 1, 1]


def test_undersampling_keeps_the_rare_and_repeats_nothing():
    plan = undersample.Sampler().plan(LABELS, None, 3)
    assert counts(plan).tolist() == [np.bincount(LABELS).min()] * 4
    assert len(set(plan.indices)) == len(plan.indices)
    reference = RandomUnderSampler(random_state=3)
    reference.fit_resample(np.zeros((300, 1)), LABELS)
    assert plan.indices.tolist() == sorted(reference.sample_indices_.tolist())


@pytest.mark.parametrize("method", [oversample, undersample])
def test_the_seed_decides_and_nothing_else(method):
    first = method.Sampler().plan(LABELS, None, 1).indices
    assert method.Sampler().plan(LABELS, np.arange(300), 1).indices.tolist() == first.tolist()
    assert method.Sampler().plan(LABELS, None, 2).indices.tolist() != first.tolist()


@pytest.mark.parametrize("method", [class_weight, oversample, undersample])
def test_one_class_or_none_is_left_as_it_is(method):
    one = method.Sampler().plan(np.array([1, 1, 1]), None, 0)
    assert one.indices.tolist() == [0, 1, 2]
    assert one.class_weights.tolist() == [1, 1]
    assert len(method.Sampler().plan(np.array([], dtype=int), None, 0).indices) == 0


def test_they_are_offered_by_name():
    from medimg.builtin import medimg_samplers

    offered = {info.name: info for info in medimg_samplers()}
    assert {"class-weight", "oversample", "undersample"} <= set(offered)
    assert offered["class-weight"].target == "medimg.balance.class_weight:Sampler"
    assert offered["oversample"].summary.startswith("Repeat random images")
