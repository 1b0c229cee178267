"""Whether probabilities are what they promise: bins, slope and intercept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from medimg.core.reliability import BINS, bin_edges, bin_of, confidence_and_outcome
from medimg.core.scored import Array, Scored, UndefinedMetric
from medimg.statistics.resampling import units_of

# float32 probabilities can't tell 1 - 6e-8 from 1
CLIP = 1e-7


WALD = "Wald, logistic regression"
LIFTED = (
    "the calibration error is lifted by noise: of few images even perfect probabilities have one "
    "above 0"
)
SANDWICH = "Wald with the sandwich variance by patient, logistic regression"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A coefficient and its interval, None where that has no width to give."""

    value: float
    ci95: tuple[float, float] | None

    @classmethod
    def around(cls, value: float, reach: float) -> Fitted:
        return cls(value, (value - reach, value + reach) if np.isfinite(reach) else None)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of the positive class (two classes) or of the likeliest one (more).

    Args:
        ece: expected calibration error, None without images.
        slope, intercept: of the logistic recalibration; 1 and 0 are perfect; a slope below 1
            means probabilities too extreme, an intercept above 0 means too low. None where
            `reason` says why.
        bins: `{low, high, count, confidence, observed}` each, None in those of an empty bin.
        slope_ci95, intercept_ci95: (low, high), by `method`; None where there is no value.
        clipped: probabilities of 0 and 1, which have no logit and were taken as CLIP from it.
        notes: what a reader of these numbers has to know, in words.
    """

    ece: float | None
    slope: float | None
    intercept: float | None
    bins: tuple[dict[str, Any], ...]
    reason: str | None = None
    slope_ci95: tuple[float, float] | None = None
    intercept_ci95: tuple[float, float] | None = None
    method: str | None = None
    clipped: int = 0
    notes: tuple[str, ...] = ()


def calibration(
    scored: Scored,
    bins: int = BINS,
    groups: Sequence[Any] | None = None,
    level: float = 0.95,
) -> Calibration:
    """Bins, expected calibration error, calibration slope and intercept.

    The slope comes from the joint logistic fit of the outcome on the logit of the probability,
    the intercept from the fit with the slope held at 1 (calibration in the large).

    Args:
        groups: the patient of each image where patients have several; None where images are
            independent.
    Source:
        Van Calster et al. 2016, A calibration hierarchy for risk models was defined; Guo et al.
        2017 for the error; Liang and Zeger 1986, Longitudinal data analysis using generalized
        linear models (the sandwich variance).
    """
    rows = reliability(scored, bins)
    held = [row for row in rows if row["count"]]
    gaps = [row["count"] * abs(row["confidence"] - row["observed"]) for row in held]
    error = sum(gaps) / len(scored) if len(scored) else None
    if scored.task != "binary":
        why = "slope and intercept are for two classes"
        return Calibration(error, None, None, rows, why, notes=(LIFTED,))
    confidence, outcome = confidence_and_outcome(scored)
    slope: Fitted | None = None
    intercept: Fitted | None = None
    reason = None
    clipped = int(((confidence < CLIP) | (confidence > 1 - CLIP)).sum())
    units = None if groups is None else units_of(groups, len(scored))
    try:
        intercept = calibration_intercept(confidence, outcome, units, level)
        slope = calibration_slope(confidence, outcome, units, level)
    except UndefinedMetric as undefined:
        reason = undefined.reason
    return Calibration(
        error,
        slope.value if slope else None,
        intercept.value if intercept else None,
        rows,
        reason,
        slope.ci95 if slope else None,
        intercept.ci95 if intercept else None,
        (WALD if groups is None else SANDWICH) if intercept else None,
        clipped,
        (LIFTED, *([about_clipped(clipped)] if clipped and intercept else [])),
    )


def about_clipped(count: int) -> str:
    """What probabilities of exactly 0 or 1 do to slope and intercept, in words."""
    told = (
        "1 probability of 0 or 1 was" if count == 1 else f"{count:,} probabilities of 0 or 1 were"
    )
    return f"{told} taken as {CLIP:g} from it, having no logit: slope and intercept depend on that"


def reliability(scored: Scored, bins: int = BINS) -> tuple[dict[str, Any], ...]:
    """Equal-width bins of confidence: what was promised and what came."""
    confidence, outcome = confidence_and_outcome(scored)
    edges, place = bin_edges(bins), bin_of(confidence, bins)
    counts = np.bincount(place, minlength=bins)
    promised = np.bincount(place, confidence, bins)
    came = np.bincount(place, outcome, bins)
    return tuple(
        {
            "low": float(edges[i]),
            "high": float(edges[i + 1]),
            "count": int(counts[i]),
            "confidence": float(promised[i] / counts[i]) if counts[i] else None,
            "observed": float(came[i] / counts[i]) if counts[i] else None,
        }
        for i in range(bins)
    )


def calibration_slope(
    confidence: Array, outcome: Array, units: Array | None = None, level: float = 0.95
) -> Fitted:
    """b of the logistic fit outcome ~ a + b * logit(confidence).

    Raises:
        UndefinedMetric: one outcome only, one probability only, or outcomes that a threshold
            separates (the slope is then without bound).
    """
    given = logit(np.clip(confidence, CLIP, 1 - CLIP))
    yes, no = given[outcome > 0], given[outcome == 0]
    check_both(outcome)
    if np.ptp(given) == 0:
        raise UndefinedMetric("every image has the same probability")
    if yes.min() >= no.max() or yes.max() <= no.min():
        raise UndefinedMetric("a threshold separates the outcomes: the slope has no bound")
    # a logit scale of 1 keeps the 2 x 2 system well conditioned
    centre, scale = given.mean(), given.std()
    design = np.stack([np.ones_like(given), (given - centre) / scale], axis=1)
    beta = logistic_fit(design, outcome)
    reach = reaches(design, outcome, beta, 0.0, units, level)[1]
    return Fitted.around(float(beta[1] / scale), float(reach / scale))


def calibration_intercept(
    confidence: Array, outcome: Array, units: Array | None = None, level: float = 0.95
) -> Fitted:
    """a of the logistic fit outcome ~ a + logit(confidence).

    Raises:
        UndefinedMetric: one outcome only, or no probability but 0 and 1.
    """
    check_both(outcome)
    if ((confidence < CLIP) | (confidence > 1 - CLIP)).all():
        raise UndefinedMetric("every probability is 0 or 1: none has a logit")
    offset = logit(np.clip(confidence, CLIP, 1 - CLIP))
    design = np.ones((len(offset), 1))
    beta = logistic_fit(design, outcome, offset)
    reach = reaches(design, outcome, beta, offset, units, level)[0]
    return Fitted.around(float(beta[0]), float(reach))


def reaches(
    design: Array,
    outcome: Array,
    beta: Array,
    offset: Array | float,
    units: Array | None,
    level: float,
) -> Array:
    """Float[D], half the widths of the coefficients' intervals.

    Args:
        units: Int[N], whose image it is; None where images are independent. Patients' images are
            taken together (the sandwich variance, by Student's t with the number of patients).
    """
    mean = expit(design @ beta + offset)
    bread = np.linalg.pinv(design.T @ (design * (mean * (1 - mean))[:, None]))
    if units is None:
        return ndtri((1 + level) / 2) * np.sqrt(np.diag(bread))
    scores = design * (outcome - mean)[:, None]
    sums = np.zeros((int(units.max()) + 1, design.shape[1]))
    np.add.at(sums, units, scores)
    count, width = design.shape
    people = len(sums)
    if people < 2:
        return np.full(width, np.nan)
    correction = people / (people - 1) * (count - 1) / (count - width)
    variance = correction * bread @ (sums.T @ sums) @ bread
    return stdtrit(people - 1, (1 + level) / 2) * np.sqrt(np.diag(variance))


def check_both(outcome: Array) -> None:
    if not 0 < outcome.sum() < len(outcome):
        raise UndefinedMetric("calibration needs positive and negative images")


def logistic_fit(design: Array, outcome: Array, offset: Array | float = 0.0) -> Array:
    """Maximum-likelihood coefficients Float[D] of a logistic model, by damped Newton steps.

    Args:
        design: Float[N, D].
        outcome: Float[N] of 0 and 1.
        offset: Float[N], added to the linear predictor with coefficient 1.
    """

    def loss(beta: Array) -> float:
        eta = design @ beta + offset
        return float((np.logaddexp(0, eta) - outcome * eta).sum())

    beta = np.zeros(design.shape[1])
    current = loss(beta)
    for _ in range(200):
        mean = expit(design @ beta + offset)
        gradient = design.T @ (mean - outcome)
        curvature = design.T @ (design * (mean * (1 - mean))[:, None])
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        # far from the optimum the curvature is nearly 0 and a full step overshoots
        while loss(beta - step) > current + 1e-12 * abs(current) and abs(step).max() > 1e-12:
            step /= 2
        beta, current = beta - step, loss(beta - step)
        if abs(step).max() < 1e-10:
            break
    return beta
