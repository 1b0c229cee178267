"""Whether a finetune helped, on pairs of predictions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from medimg.core.runs import Predictions
from medimg.manager import plugins
from medimg.training.change import change_of, in_words


def predictions(scores: np.ndarray, labels: np.ndarray) -> Predictions:
    n = len(labels)
    return Predictions(
        paths=tuple(f"{i}.png" for i in range(n)),
        split="val",
        labels=tuple("ab"[k] for k in labels),
        groups=(None,) * n,
        sha256=tuple(f"{i:064d}" for i in range(n)),
        classes=("a", "b"),
        probabilities=np.stack([1 - scores, scores], axis=1),
    )


def scored(signal: float, labels: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(labels))
    return stats.logistic.cdf(signal * labels + noise)


@pytest.mark.parametrize("before, after, expected", [(0.3, 2, True), (2, 0.3, False), (1, 1, None)])
def test_an_interval_on_one_side_decides(before, after, expected):
    labels = np.arange(300) % 2
    old, new = scored(before, labels, 1), scored(after, labels, 1)
    metrics = plugins().functions(plugins().metrics())
    change = change_of(predictions(old, labels), predictions(new, labels), 1, metrics)
    assert change["metric"] == "auroc" and change["helped"] is expected
    row = change["differences"]["auroc"]
    assert row["before"] == pytest.approx(roc_auc_score(labels, old))
    assert row["after"] == pytest.approx(roc_auc_score(labels, new))
    assert row["test"].lower().startswith("delong")
    losses = change["differences"]["log_loss"]
    assert losses["difference"] == pytest.approx(log_loss(labels, new) - log_loss(labels, old))
    word = {True: "It helped", False: "It made things worse", None: "No clear difference"}
    assert in_words(change).startswith(word[expected])


def test_nothing_without_validation():
    assert change_of(None, None, None, {}) is None
