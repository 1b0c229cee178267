"""How often each image is drawn in a bootstrap resample, by patient or by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medimg.core.scored import Array, Scored, UndefinedMetric

# numbers in a block of resamples: about what stays in a core's cache
BLOCK = 1 << 18
# an interval from fewer resamples than this share would be one of the lucky ones
DEFINED_SHARE = 0.95


def units_of(groups: Sequence[Any] | None, images: int) -> Array:
    """Int[N], the number of the unit that is drawn: a patient, or the image itself.

    An image whose patient is unknown (None) is a unit of its own.
    """
    if groups is None:
        return np.arange(images)
    numbers: dict[Any, int] = {}
    keys = (("alone", i) if g is None else ("of", g) for i, g in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def strata_of(labels: Array, units: Array) -> list[Array]:
    """Units that are drawn among each other: those whose images show the same set of classes.

    A stratum of one unit would be drawn every time and pretend certainty. Such strata are drawn
    together; a single one joins the smallest other.

    Returns:
        arrays Int[m] of unit numbers, m > 1 wherever there are two units at all.
    """
    if not len(units):
        return []
    pairs = np.unique(np.stack([units, labels], axis=1), axis=0)
    _, starts = np.unique(pairs[:, 0], return_index=True)
    by_pattern: dict[tuple[int, ...], list[int]] = {}
    for unit, shown in enumerate(np.split(pairs[:, 1], starts[1:])):
        by_pattern.setdefault(tuple(shown.tolist()), []).append(unit)
    strata = sorted(by_pattern.values(), key=lambda s: (len(s), s[0]))
    single = [unit for stratum in strata if len(stratum) == 1 for unit in stratum]
    strata = [stratum for stratum in strata if len(stratum) > 1]
    if len(single) > 1 or not strata:
        strata.insert(0, single)
    else:
        strata[0] = strata[0] + single
    return [np.array(stratum, dtype=np.int64) for stratum in strata]


def resampled(
    labels: Array, groups: Sequence[Any] | None, resamples: int, seed: int
) -> Iterator[Array]:
    """Blocks of weights Float[B, N], `resamples` rows in all: the multiplicity of each image.

    Images of one patient are drawn together, patients within the strata of `strata_of`. The same
    arguments give the same weights on every machine.
    """
    units = units_of(groups, len(labels))
    strata = strata_of(labels, units)
    generator = np.random.default_rng(seed)
    size = max(1, BLOCK // max(1, len(labels)))
    for start in range(0, resamples, size):
        weights = multiplicities(generator, strata, min(size, resamples - start))
        if groups is not None:
            weights = weights.take(units, axis=1)
        weights.setflags(write=False)
        yield weights


def multiplicities(generator: np.random.Generator, strata: list[Array], rows: int) -> Array:
    """Float[rows, units]: how often each unit comes up, as many draws a stratum as it has units."""
    drawn = [s[generator.integers(0, len(s), (rows, len(s)))] for s in strata]
    units = np.concatenate(drawn, axis=1)
    count = units.shape[1]
    units += np.arange(rows)[:, None] * count
    found = np.bincount(units.ravel(), minlength=rows * count)
    return found.reshape(rows, count).astype(np.float64)


def replicates(function: Callable[..., Any], scored: Scored, weights: Array) -> Array:
    """A metric in each resample of a block: Float[B], NaN where it is undefined."""
    if getattr(function, "vectorised", False):
        return np.asarray(function(scored, weights), dtype=np.float64)
    return np.array([value_or_nan(function, scored, row) for row in weights])


def value_or_nan(function: Callable[..., Any], scored: Scored, weights: Array) -> float:
    try:
        return float(function(scored, weights))
    except UndefinedMetric:
        return float("nan")


def method_of(groups: Sequence[Any] | None) -> str:
    """The name of the method, for reports."""
    unit = "image" if groups is None else "patient"
    return f"percentile bootstrap by {unit}, stratified by class"


def why_no_interval(values: Array) -> str | None:
    """The reason why replicates give no interval; None where they do."""
    finite = np.isfinite(values)
    if finite.mean() < DEFINED_SHARE:
        return f"undefined in {1 - finite.mean():.0%} of the resamples"
    if np.ptp(values[finite]) <= 1e-12 * max(1.0, abs(values[finite]).max()):
        return "all resamples gave the same value"
    return None


def percentiles(values: Array, level: float) -> tuple[float, float]:
    """The central `level` of the replicates that are defined."""
    tail = (1 - level) / 2
    low, high = np.quantile(values[np.isfinite(values)], [tail, 1 - tail])
    return float(low), float(high)


def all_replicates(
    scored: Scored,
    metrics: Mapping[str, Callable[..., Any]],
    groups: Sequence[Any] | None,
    resamples: int,
    seed: int,
) -> dict[str, Array]:
    """Each metric in each resample: Float[R] by name, NaN where undefined."""
    found: dict[str, list[Array]] = {name: [] for name in metrics}
    if metrics:
        for weights in resampled(scored.labels, groups, resamples, seed):
            for name, function in metrics.items():
                found[name].append(replicates(function, scored, weights))
    return {name: np.concatenate(parts) for name, parts in found.items()}
