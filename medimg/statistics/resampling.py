"""How often each image is drawn in a bootstrap resample, by patient or by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medimg.core.scored import Array, Scored, UndefinedMetric

# numbers in a block of resamples: about what stays in a core's cache
BLOCK = 1 << 18
# bytes that are asked for and freed before resampling: glibc hands blocks as large as ours back to
# the system and asks for them again, a third of the time, until it has seen a larger one freed
LARGE = 24 << 20
# an interval from fewer resamples than this share would be one of the lucky ones
DEFINED_SHARE = 0.95
SAME_VALUE = "all resamples gave the same value"


def units_of(groups: Sequence[Any] | None, images: int) -> Array:
    """Int[N], the number of the unit that is drawn: a patient, or the image itself.

    An image whose patient is unknown (None) is a unit of its own.
    """
    if groups is None:
        return np.arange(images)
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    units = np.fromiter(map(numbers.__getitem__, groups), dtype=np.int64, count=len(groups))
    if None in numbers:
        alone = np.flatnonzero(units == numbers[None])
        units[alone] = len(numbers) + np.arange(len(alone))
        units = np.unique(units, return_inverse=True)[1]
    return units


def strata_of(labels: Array, units: Array) -> list[Array]:
    """Units that are drawn among each other: those whose images show the same set of classes.

    A stratum of one unit would be drawn every time and pretend certainty. Such strata are drawn
    together; a single one joins the smallest other.

    Returns:
        arrays Int[m] of unit numbers, m > 1 wherever there are two units at all.
    """
    if not len(units):
        return []
    shows = np.zeros((int(units.max()) + 1, int(labels.max()) + 1), dtype=bool)
    shows[units, labels] = True
    _, pattern = np.unique(np.packbits(shows, axis=1), axis=0, return_inverse=True)
    alike = [np.flatnonzero(pattern.ravel() == number) for number in range(pattern.max() + 1)]
    alike.sort(key=lambda stratum: (len(stratum), stratum[0]))
    single = np.array([stratum[0] for stratum in alike if len(stratum) == 1], dtype=np.int64)
    strata = [stratum for stratum in alike if len(stratum) > 1]
    if len(single) > 1 or not strata:
        return [single, *strata]
    return [np.append(strata[0], single), *strata[1:]]


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
    np.empty(LARGE, dtype=np.uint8)
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
        return SAME_VALUE
    return None


def percentiles(values: Array, level: float) -> tuple[float, float]:
    """The central `level` of the replicates that are defined."""
    tail = (1 - level) / 2
    low, high = np.quantile(values[np.isfinite(values)], [tail, 1 - tail])
    return float(low), float(high)


def all_replicates(
    several: Sequence[tuple[Scored, Mapping[str, Callable[..., Any]]]],
    groups: Sequence[Any] | None,
    resamples: int,
    seed: int,
) -> list[dict[str, Array]]:
    """Each metric in each resample: Float[R] by name, NaN where undefined.

    Args:
        several: predictions of the same images (at several thresholds, say) and the metrics
            wanted of each; they share the resamples.
    """
    found: list[dict[str, list[Array]]] = [{name: [] for name in wanted} for _, wanted in several]
    if any(found):
        for weights in resampled(several[0][0].labels, groups, resamples, seed):
            for (scored, wanted), parts in zip(several, found, strict=True):
                for name, function in wanted.items():
                    parts[name].append(replicates(function, scored, weights))
    return [{name: np.concatenate(drawn) for name, drawn in parts.items()} for parts in found]
