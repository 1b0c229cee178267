"""Subgroups against their own evaluation, and the gap against a bootstrap written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medimg.core.scored import Scored
from medimg.metrics.accuracy import accuracy
from medimg.metrics.auroc import auroc
from medimg.metrics.balanced_accuracy import balanced_accuracy
from medimg.statistics.intervals import intervals
from medimg.statistics.subgroups import UNKNOWN, ranges, subgroups

BOTH = {"accuracy": accuracy, "auroc": auroc}


def images(seed: int, n: int = 400) -> tuple[Scored, np.ndarray]:
    """Two views; the second is read worse."""
    rng = np.random.default_rng(seed)
    labels, view = rng.integers(0, 2, n), rng.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(rng.normal(size=n) + (2 * labels - 1) * np.where(view, 0.4, 1.5))))
    return Scored(labels, np.c_[1 - p, p], 1, 0.5), view


def test_a_subgroup_is_its_own_evaluation():
    scored, view = images(0)
    found = subgroups(scored, ["PA" if v == 0 else "AP" for v in view], None, BOTH, resamples=200)
    assert list(found["groups"]) == ["AP", "PA"]
    for name, value in (("PA", 0), ("AP", 1)):
        rows = view == value
        group = found["groups"][name]
        part = Scored(scored.labels[rows], scored.probabilities[rows], 1, 0.5)
        alone = intervals(part, BOTH, None, 200)
        assert group["images"] == rows.sum() == sum(group["classes"].values())
        for metric in BOTH:
            assert group["metrics"][metric]["value"] == alone[metric].value
            assert group["metrics"][metric]["ci95"] == alone[metric].bounds
    p = scored.probabilities[:, 1]
    areas = [roc_auc_score(scored.labels[view == v], p[view == v]) for v in (0, 1)]
    gap = found["gap"]["auroc"]
    assert (gap["highest"], gap["lowest"]) == ("PA", "AP")
    assert gap["value"] == pytest.approx(areas[0] - areas[1])
    assert 0 < gap["ci95"][0] < gap["value"] < gap["ci95"][1]


def test_the_gaps_interval_is_that_of_a_plain_bootstrap():
    scored, view = images(1)
    gap = subgroups(scored, [str(v) for v in view], None, BOTH, resamples=3000)["gap"]["accuracy"]
    right, rng = scored.labels == scored.decided, np.random.default_rng(7)
    drawn = []
    for _ in range(3000):
        rows = np.concatenate(
            [
                rng.choice(np.flatnonzero(scored.labels == k), (scored.labels == k).sum())
                for k in (0, 1)
            ]
        )
        drawn.append(right[rows[view[rows] == 0]].mean() - right[rows[view[rows] == 1]].mean())
    assert gap["ci95"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.012)


def test_patients_who_are_in_both_subgroups_count_so():
    """The same patients at two magnifications: what is theirs goes out of the difference."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(120), 2)
    labels = patient % 2
    zoom = np.tile(["40X", "400X"], 120).tolist()
    logits = (2 * labels - 1) + rng.normal(scale=2, size=120)[patient]
    p = 1 / (1 + np.exp(-(logits + rng.normal(scale=0.2, size=240))))
    scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
    widths = []
    for groups in (patient.tolist(), None):
        low, high = subgroups(scored, zoom, groups, BOTH)["gap"]["auroc"]["ci95"]
        widths.append(high - low)
    assert widths[0] < 0.5 * widths[1]


def test_the_largest_of_many_gaps_is_held_to_the_level_of_them_all():
    """Seven labels drawn at random: one picks the extremes afterwards, and finds something."""
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = np.arange(280) % 2
        p = 1 / (1 + np.exp(-(1.5 * labels + rng.normal(size=280))))
        scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
        column = [f"g{k}" for k in rng.integers(0, 7, 280)]
        found = subgroups(scored, column, None, {"auroc": auroc}, resamples=120)
        gap = found["gap"]["auroc"]
        assert gap["differences"] == 21 and "Bonferroni over 21" in gap["method"]
        assert gap["ci95"][0] < gap["value"] < gap["ci95"][1]
        alarms += gap["ci95"][0] > 0
    assert alarms <= 7  # 3 expected; of plain intervals more than half


def test_small_subgroups_have_no_numbers():
    scored, view = images(0, 60)
    values = ["rare" if i < 5 else str(v) for i, v in enumerate(view)]
    found = subgroups(scored, values, None, BOTH, least=10, resamples=100)
    assert found["groups"]["rare"]["suppressed"] == "5 images: fewer than 10"
    assert found["groups"]["rare"]["metrics"] == {}
    assert "rare" not in {found["gap"]["accuracy"][end] for end in ("highest", "lowest")}


def test_one_subgroup_has_no_gap():
    scored, _ = images(0, 60)
    assert subgroups(scored, ["X-ray"] * 60, None, BOTH, resamples=100)["gap"] == {}


def test_a_class_that_a_subgroup_lacks():
    scored, _ = images(0, 80)
    values = ["ill" if label else "well" for label in scored.labels]
    found = subgroups(scored, values, None, BOTH, resamples=100)
    assert found["groups"]["ill"]["metrics"]["auroc"]["value"] is None
    assert (
        found["groups"]["ill"]["metrics"]["auroc"]["reason"]
        == "every image in this part is class 1"
    )
    assert "auroc" not in found["gap"] and "accuracy" in found["gap"]


def test_ages_are_cut_into_quarters_and_words_are_not():
    ages = [str(a) for a in range(20, 80)]
    told = ranges([*ages, None, " "])
    assert told[-2:] == [UNKNOWN] * 2
    quarters = sorted(set(told[:-2]))
    assert quarters == ["20 to 34", "35 to 49", "50 to 64", "65 to 79"]
    assert ranges(["1", "2", "1"]) == ["1", "2", "1"]
    views = [f"view {i}" for i in range(30)]
    assert ranges(views) == views


def test_few_patients_have_no_numbers_however_many_images():
    scored, view = images(0, 80)
    patients = [f"p{n % 2}" if v else f"q{n}" for n, v in enumerate(view)]
    values = ["many" if v == 0 else "few" for v in view]
    found = subgroups(scored, values, patients, BOTH, resamples=100)["groups"]
    assert found["few"]["suppressed"] == "2 patients: fewer than 5"
    assert found["few"]["metrics"] == {} and found["many"]["metrics"]


def test_two_patients_have_no_interval():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    p = rng.random(60)
    scored = Scored(labels, np.c_[1 - p, p], 1, 0.5)
    groups = [f"p{n // 30}" for n in range(60)]
    found = intervals(scored, {"balanced_accuracy": balanced_accuracy}, groups, 200)
    assert found["balanced_accuracy"].bounds is None
    assert found["balanced_accuracy"].reason == (
        "2 patients: an interval by patient needs 5 or more"
    )


def test_the_least_counts_patients_where_they_are_known():
    scored, view = images(0, 80)
    patients = [f"p{n % 8}" if v else f"q{n}" for n, v in enumerate(view)]
    values = ["many" if v == 0 else "few" for v in view]
    found = subgroups(scored, values, patients, BOTH, least=9, resamples=100)["groups"]
    assert found["few"]["suppressed"] == "8 patients: fewer than 9"
    found = subgroups(scored, values, patients, BOTH, least=8, resamples=100)["groups"]
    assert found["few"]["suppressed"] is None
    assert subgroups(scored, values, None, BOTH, resamples=100)["groups"]["few"]["metrics"]
