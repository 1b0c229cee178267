"""Probabilities for the data's class shares, from a network that was trained on others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medimg.core.scored import Array, UndefinedMetric

# a slope of this many times the logits' spread tells that a threshold separates the classes
STEEPEST = 1e3
ITERATIONS = 200
# of the gradient of the mean loss
TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Shift:
    """logits' = slope * logits + intercepts; `intercepts` Float[K], the first of them 0 where
    they were fitted (only differences count)."""

    slope: float
    intercepts: tuple[float, ...]

    def apply(self, logits: Array) -> Array:
        """Float64[N, K]."""
        return self.slope * np.asarray(logits, dtype=np.float64) + np.asarray(self.intercepts)


def prior_shift(trained: Array, natural: Array) -> Shift:
    """The exact correction where the classes' shares are all that changed.

    By Bayes p(k | x) is proportional to p(x | k) * share of k; a class weight counts as a share.

    Args:
        trained: Float[K], the classes' shares of the training loss.
        natural: Float[K], their shares of the data; classes without images keep their logit.
    Source:
        Elkan 2001, The Foundations of Cost-Sensitive Learning, theorem 2; Saerens, Latinne &
        Decaestecker 2002, Adjusting the Outputs of a Classifier to New a Priori Probabilities.

    >>> prior_shift([0.5, 0.5], [0.8, 0.2]).intercepts
    (0.4700036292457356, -0.916290731874155)
    """
    trained, natural = np.asarray(trained, dtype=np.float64), np.asarray(natural, dtype=np.float64)
    held = (trained > 0) & (natural > 0)
    logs = np.zeros(len(natural))
    logs[held] = np.log(natural[held] / trained[held])
    return Shift(1.0, tuple(logs.tolist()))


def fit_shift(logits: Array, labels: Array, *, slope: bool = True) -> Shift:
    """Slope and intercepts of greatest likelihood; in two classes, logistic regression.

    Args:
        logits: Float[N, K].
        labels: Int[N].
        slope: fit it too; else it is held at 1.
    Raises:
        UndefinedMetric: a class has no image, or the slope has no bound or is not positive.
    Source:
        Platt 1999, Probabilistic Outputs for Support Vector Machines; Guo et al. 2017, On
        Calibration of Modern Neural Networks, section 4.2 (one temperature, and a bias a class).
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    classes = logits.shape[1]
    if (np.bincount(labels, minlength=classes) == 0).any():
        raise UndefinedMetric("a class has no image")
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = float(centred.std())
    if spread == 0:
        raise UndefinedMetric("every image has the same probabilities")
    # a spread of 1 keeps the equations well conditioned
    scaled = centred / spread
    start = np.r_[1.0 if slope else spread, np.zeros(classes - 1)]
    found = newton(scaled, labels, start, free=np.r_[slope, np.ones(classes - 1)].astype(bool))
    if slope and (found[0] > STEEPEST or separated(scaled, labels, found)):
        raise UndefinedMetric("the logits separate the classes: the slope has no bound")
    if found[0] <= 0:
        raise UndefinedMetric("the slope is not positive: it would turn the ranking round")
    return Shift(float(found[0] / spread), (0.0, *found[1:].tolist()))


def fit_temperature(logits: Array, labels: Array) -> float:
    """The temperature of greatest likelihood: probabilities are the softmax of logits / it.

    It leaves every ranking as it is; above 1 it makes probabilities less extreme.

    Args:
        logits: Float[N, K]; logarithms of probabilities serve as well.
        labels: Int[N].
    Raises:
        UndefinedMetric: no image, probabilities that are all alike, or a fit without bound.
    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if not len(labels):
        raise UndefinedMetric("there is no image to fit a temperature on")
    centred = logits - logits.mean(axis=1, keepdims=True)
    spread = float(centred.std())
    if spread == 0:
        raise UndefinedMetric("every image has the same probabilities")
    scaled = centred / spread
    classes = logits.shape[1]
    found = newton(scaled, labels, np.r_[1.0, np.zeros(classes - 1)], np.arange(classes) == 0)
    if found[0] > STEEPEST or separated(scaled, labels, np.r_[1.0, np.zeros(classes - 1)]):
        raise UndefinedMetric("every image is answered rightly: the temperature has no bound")
    if found[0] <= 0:
        raise UndefinedMetric("the probabilities rank the classes the wrong way round")
    return float(spread / found[0])


def separated(scaled: Array, labels: Array, values: Array) -> bool:
    """Whether every image's class has its greatest value: larger values would fit better still."""
    eta = values[0] * scaled + np.r_[0.0, values[1:]]
    return bool((eta[np.arange(len(labels)), labels] >= eta.max(axis=1)).all())


def newton(scaled: Array, labels: Array, start: Array, free: Array) -> Array:
    """Float[K]: slope, and intercepts of the classes but the first, by damped Newton steps.

    Args:
        free: Bool[K], which of them are fitted.
    """
    count, classes = scaled.shape
    rows = np.arange(count)

    def log_probabilities(values: Array) -> Array:
        eta = values[0] * scaled + np.r_[0.0, values[1:]]
        top = eta.max(axis=1, keepdims=True)
        return eta - top - np.log(np.exp(eta - top).sum(axis=1, keepdims=True))

    def loss(values: Array) -> float:
        return -float(log_probabilities(values)[rows, labels].mean())

    values, current = start.copy(), loss(start)
    own = np.zeros((count, classes))
    own[rows, labels] = 1
    for _ in range(ITERATIONS):
        p = np.exp(log_probabilities(values))
        gradient, curvature = derivatives(scaled, p, own)
        gradient, curvature = gradient[free], curvature[np.ix_(free, free)]
        if abs(gradient).max() < TOLERANCE or values[0] > STEEPEST:
            break
        step = np.zeros(classes)
        step[free] = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        # far from the optimum the curvature is nearly 0 and a full step overshoots
        while loss(values - step) > current and abs(step).max() > 1e-14:
            step /= 2
        values = values - step
        current = loss(values)
    return values


def derivatives(scaled: Array, p: Array, own: Array) -> tuple[Array, Array]:
    """Gradient Float[K] and curvature Float[K, K] of the mean loss in (slope, intercepts but the
    first), for probabilities and one-hot labels Float[N, K]."""
    count = len(scaled)
    gap = p - own
    gradient = np.r_[(gap * scaled).sum() / count, gap[:, 1:].mean(axis=0)]
    mean = (p * scaled).sum(axis=1, keepdims=True)
    curvature = np.empty((scaled.shape[1],) * 2)
    curvature[0, 0] = (p * scaled * (scaled - mean)).sum() / count
    curvature[0, 1:] = curvature[1:, 0] = (p * (scaled - mean))[:, 1:].mean(axis=0)
    curvature[1:, 1:] = np.diag(p[:, 1:].mean(axis=0)) - p[:, 1:].T @ p[:, 1:] / count
    return gradient, curvature
