"""SMOTE, Borderline-SMOTE and ADASYN against imbalanced-learn and scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from medimg.api import InputError, PluginError, SamplingPlan
from medimg.balance import adasyn, borderline_smote, smote
from medimg.balance._embedding import principal_components
from medimg.balance._planning import check_plan, make_balance
from medimg.core.types import Sample
from medimg.manager import plugins

METHODS = [(smote, SMOTE), (borderline_smote, BorderlineSMOTE), (adasyn, ADASYN)]
IDS = ["smote", "borderline-smote", "adasyn"]


def points(shares: tuple[float, ...], seed: int = 0, count: int = 400):
    """Labels, and overlapping clouds with coordinates in eighths like the embedding's."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(len(shares), count, p=shares)
    place = draw.normal(size=(count, 12)) + labels[:, None]
    return labels, (np.rint(8 * place) / 8).astype(np.float32)


@pytest.mark.parametrize(("ours", "theirs"), METHODS, ids=IDS)
@pytest.mark.parametrize("shares", [(0.8, 0.2), (0.2, 0.7, 0.1)], ids=["two", "three"])
def test_parents_and_shares_give_the_points_of_imbalanced_learn(ours, theirs, shares):
    labels, embedding = points(shares)
    plan = ours.Sampler().plan(labels, None, 3, embedding=embedding)
    made, of_class = theirs(random_state=3).fit_resample(embedding, labels)
    first, second = (embedding[plan.parents[:, n]].astype(np.float64) for n in (0, 1))
    between = first + plan.shares[:, None] * (second - first)
    np.testing.assert_allclose(between, made[len(labels) :], atol=1e-6)
    assert labels[plan.parents[:, 0]].tolist() == of_class[len(labels) :].tolist()
    assert labels[plan.parents[:, 1]].tolist() == of_class[len(labels) :].tolist()
    assert plan.indices.tolist() == list(range(len(labels)))
    assert plan.class_weights.tolist() == [1] * len(shares)
    assert len(plan.parents) > 100


@pytest.mark.parametrize(("ours", "_"), METHODS, ids=IDS)
def test_the_second_parent_is_among_the_five_nearest_of_its_class(ours, _):
    labels, embedding = points((0.8, 0.2))
    plan = ours.Sampler().plan(labels, None, 3, embedding=embedding)
    own = np.flatnonzero(labels == 1)
    near = NearestNeighbors(n_neighbors=6).fit(embedding[own])
    distances = near.kneighbors(embedding[own])[0]
    sixth = dict(zip(own.tolist(), distances[:, -1].tolist(), strict=True))
    for first, second in plan.parents.tolist():
        apart = np.linalg.norm(embedding[first] - embedding[second])
        assert first != second and apart <= sixth[first] + 1e-5


def test_classes_come_out_equal():
    labels, embedding = points((0.6, 0.3, 0.1))
    largest = np.bincount(labels).max()
    for ours, tolerance in ((smote, 0), (borderline_smote, 0), (adasyn, 0.1 * largest)):
        plan = ours.Sampler().plan(labels, None, 0, embedding=embedding)
        after = np.bincount(np.r_[labels, labels[plan.parents[:, 0]]])
        assert abs(after - largest).max() <= tolerance, ours.__name__


@pytest.mark.parametrize(("ours", "_"), METHODS, ids=IDS)
def test_the_seed_decides(ours, _):
    labels, embedding = points((0.8, 0.2))
    one, again, other = (
        ours.Sampler().plan(labels, None, seed, embedding=embedding) for seed in (1, 1, 2)
    )
    assert one.parents.tolist() == again.parents.tolist()
    assert one.shares.tolist() == again.shares.tolist()
    assert one.shares.tolist() != other.shares.tolist()


@pytest.mark.parametrize(("ours", "_"), METHODS, ids=IDS)
def test_equal_classes_and_a_single_one_are_left_as_they_are(ours, _):
    embedding = np.zeros((12, 3), np.float32)
    for labels in (np.repeat([0, 1], 6), np.zeros(12, int)):
        plan = ours.Sampler().plan(labels, None, 0, embedding=embedding)
        assert plan.parents is None and plan.indices.tolist() == list(range(12))


# -- what can't be done --------------------------------------------------------------------------


def made(method: str, sizes: dict[str, int], embedding) -> object:
    samples = [Sample(f"{c}{n}.png", c, split="train") for c, k in sizes.items() for n in range(k)]
    manager = plugins()
    return make_balance(
        method, manager.samplers(), manager.resolve, samples, list(sizes), 0, embedding
    )


@pytest.mark.parametrize("method", IDS)
def test_too_few_images_are_named_before_any_is_decoded(method):
    def embedding():
        raise AssertionError("decoded")

    with pytest.raises(InputError) as caught:
        made(method, {"benign": 40, "rare": 5, "scarce": 2}, embedding)
    assert caught.value.message == (
        f"{method} needs 6 images of each class in the training part, one and its 5 nearest: "
        "class rare has 5, class scarce has 2"
    )
    assert "oversample, class-weight" in caught.value.hint
    assert "-o classes=" in caught.value.hint
    with pytest.raises(InputError) as caught:
        made(method, {"benign": 40, "rare": 5}, embedding)
    # without it one class would be left
    assert "-o classes=" not in caught.value.hint


def test_six_images_are_enough():
    def embedding():
        return np.random.default_rng(0).normal(size=(46, 4)).astype(np.float32)

    balance = made("smote", {"benign": 40, "rare": 6}, embedding)
    assert balance.result()["after"] == {"benign": 40, "rare": 40}
    assert balance.result()["synthetic"] == 34
    assert balance.trained_shares() == pytest.approx([0.5, 0.5])
    assert balance.natural_shares() == pytest.approx([40 / 46, 6 / 46])


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("borderline-smote", "finds no image at the border"),
        ("adasyn", "5 nearest are all of its own class"),
    ],
)
def test_classes_that_lie_apart_are_a_clear_error(method, says):
    def embedding():
        draw = np.random.default_rng(0).normal(size=(60, 4))
        draw[40:] += 1000
        return draw.astype(np.float32)

    with pytest.raises(InputError, match=says) as caught:
        made(method, {"a": 40, "b": 20}, embedding)
    assert "Take smote" in caught.value.hint


@pytest.mark.parametrize(
    ("parents", "shares", "says"),
    [
        ([[0, 3]], [0.5], "names images 0 to 3 of 3"),
        ([[0, 1]], [0.5], "blends images of two classes"),
        ([[1, 2]], [1.5], "share that is not between 0 and 1"),
        ([[1, 2]], [0.5, 0.5], r"not \[S, 2\] and \[S\]"),
        ([[1, 2]], None, r"not \[S, 2\] and \[S\]"),
    ],
)
def test_parents_that_do_not_fit_are_the_plugins_fault(parents, shares, says):
    plan = SamplingPlan(
        np.arange(3), np.ones(2), np.array(parents), None if shares is None else np.array(shares)
    )
    with pytest.raises(PluginError, match=says):
        check_plan(plan, np.array([0, 1, 1]), "x")


# -- the embedding -------------------------------------------------------------------------------


def test_the_embedding_is_a_principal_component_analysis_in_eighths():
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (300, 6, 6, 1)).astype(np.uint8)
    rows = draw.permutation(300)
    ours = principal_components(pixels, rows, 5)
    reference = PCA(5, svd_solver="full").fit_transform(pixels[rows].reshape(300, -1).astype(float))
    signs = np.sign((ours * reference).sum(axis=0))
    np.testing.assert_allclose(ours * signs, reference, atol=0.0626)
    assert ours.dtype == np.float32 and np.array_equal(ours * 8, np.rint(ours * 8))


def test_few_pictures_and_equal_ones():
    assert (
        principal_components(np.zeros((3, 2, 2, 1), np.uint8), np.arange(3)).tolist()
        == [[0.0] * 4] * 3
    )


BIG = """
import json, resource, sys, time
import numpy as np
from medimg.balance import adasyn, borderline_smote, smote
from medimg.balance._embedding import principal_components
import imblearn.over_sampling
from sklearn.neighbors import NearestNeighbors

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

draw = np.random.default_rng(0)
labels = (np.arange(200_000) % 40 == 0).astype(np.int64)
pixels = draw.integers(0, 256, (200_000, 16, 16, 1), np.uint8)
before, started = peak(), time.perf_counter()
embedding = principal_components(pixels, np.arange(200_000))
plan = smote.Sampler().plan(labels, None, 0, embedding=embedding)
print(json.dumps([len(plan.parents), peak() - before, time.perf_counter() - started]))
"""


@pytest.mark.slow
def test_two_hundred_thousand_images_take_little_memory_and_time():
    answer = subprocess.run(
        [sys.executable, "-c", BIG], capture_output=True, text=True, timeout=120, check=True
    )
    synthetic, megabytes, seconds = json.loads(answer.stdout)
    assert synthetic == 190_000
    # the synthetic pictures alone would be 28 GB at 224 px
    assert megabytes < 600
    assert seconds < 60
