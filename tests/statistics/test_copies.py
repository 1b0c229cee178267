"""Copies of one picture are drawn together: showing each image twice tells nothing new."""

from __future__ import annotations

import numpy as np
import pytest

from medimg.metrics.accuracy import accuracy
from medimg.metrics.auroc import auroc
from medimg.statistics.copies import joined
from medimg.statistics.evaluation import evaluate_predictions

METRICS = {"accuracy": accuracy, "auroc": auroc}


def evaluated(times: int, groups=None):
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    p = 1 / (1 + np.exp(-(labels + rng.normal(size=120))))
    contents = [f"{n:064x}" for n in range(120)]
    shown = [np.tile(x, times) for x in (labels, p)]
    return evaluate_predictions(
        shown[0], np.c_[1 - shown[1], shown[1]], groups, ["no", "yes"], 1, 0.6,
        metrics=METRICS, contents=contents * times, resamples=800,
    )  # fmt: skip


def width(result, name: str) -> float:
    low, high = result["metrics"][name]["ci95"]
    return high - low


def test_images_that_are_shown_twice_make_no_interval_narrower():
    once, twice = evaluated(1), evaluated(2)
    for name in METRICS:
        value = once["metrics"][name]["value"]
        assert twice["metrics"][name]["value"] == pytest.approx(value)
        assert width(twice, name) == pytest.approx(width(once, name), rel=0.12)
    assert once["metrics"]["accuracy"]["method"] == "Wilson"
    assert "by picture" in twice["metrics"]["accuracy"]["method"]
    assert twice["groups"] is None and twice["by_group"] is None


def test_patients_who_share_a_picture_are_one_unit():
    assert joined(["p", "q", "r"], ["a", "b", "a"]) == [0, 1, 0]
    assert joined(["p", "q", "p"], ["a", "b", "a"]) is None
    assert joined(None, ["a", "b", "c"]) is None
    assert joined(None, ["", "", "c"]) is None
    units = joined(["p", None, None, "p"], ["a", "b", "b", "c"])
    assert units == [0, 1, 1, 0]
