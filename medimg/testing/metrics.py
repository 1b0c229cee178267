"""Holds a metric to its promises, in the tasks that it suits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from medimg.testing._raised import raised


def check_metric(metric: Callable[..., float]) -> None:
    """Holds a metric `(Scored, weights=None) -> float` to its promises, in the tasks it suits.

    Raises:
        AssertionError: a promise is broken.
    """
    from medimg.core.scored import TASKS

    for task in getattr(metric, "tasks", TASKS):
        check_metric_in(metric, 2 if task == "binary" else 3)


def higher_is_better(metric: Callable[..., float]) -> bool:
    return bool(getattr(metric, "higher_is_better", True))


def check_metric_in(metric: Callable[..., float], classes: int) -> None:
    """One task: two classes with a positive one, or three."""
    from medimg.api import Scored, UndefinedMetric

    draw = np.random.default_rng(classes)
    labels = draw.integers(0, classes, 60)
    evidence = draw.normal(0, 1, (60, classes)) + 1.5 * np.eye(classes)[labels]
    noisy = np.exp(evidence) / np.exp(evidence).sum(axis=1, keepdims=True)

    def value(rows: Any, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
        positive, threshold = (1, 0.5) if classes == 2 else (None, None)
        return metric(Scored(labels[rows], probabilities[rows], positive, threshold), weights)

    every = np.arange(60)
    plain = value(every, noisy)
    assert isinstance(plain, float) and np.isfinite(plain), f"the value is {plain!r}, no float"
    assert np.isclose(plain, value(every[::-1], noisy)), "the order of the images matters"
    assert np.isclose(plain, value(every, noisy, np.ones(60))), "weights of one change the value"
    times = draw.integers(0, 4, 60)
    repeated, weighted = value(np.repeat(every, times), noisy), value(every, noisy, times * 1.0)
    assert np.isclose(repeated, weighted), (
        f"weights must count like repeated images: {weighted} weighted, {repeated} repeated"
    )
    perfect, better = (
        value(every, np.eye(classes)[labels]),
        getattr(metric, "higher_is_better", True),
    )
    assert perfect >= plain if better else perfect <= plain, (
        f"perfect predictions get {perfect}, noisy ones {plain}, but higher_is_better is {better}"
    )
    if getattr(metric, "vectorised", False):
        many = value(every, noisy, np.stack([np.ones(60), times * 1.0]))
        assert np.allclose(many, [plain, weighted]), "resamples at once differ from one by one"
    nothing = raised(lambda: value(every[:0], noisy))
    assert isinstance(nothing, UndefinedMetric) and nothing.reason, (
        f"without an image a metric raises UndefinedMetric with its reason, not {nothing!r}"
    )
