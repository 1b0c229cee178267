"""The same metrics in each subgroup of the images, and how far apart they lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from medimg.core.scored import Array, Scored, suited
from medimg.statistics.bootstrap import FEWEST, points
from medimg.statistics.metric_rows import metric_rows
from medimg.statistics.resampling import (
    method_of,
    percentiles,
    replicates,
    resampled,
    units_of,
    why_no_interval,
)

Metrics = Mapping[str, Callable[..., Any]]

UNKNOWN = "(unknown)"
# images, below which a subgroup's numbers say little
LEAST = 20
# numbers of more distinct values than this are cut into ranges
MOST_VALUES = 12
RANGES = 4


def subgroups(
    scored: Scored,
    values: Sequence[str | None],
    groups: Sequence[Any] | None,
    metrics: Metrics,
    *,
    least: int | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Metrics with intervals in each subgroup of one column, and the gap between the extremes.

    Args:
        values: what the column says of each image, length N; None and empty: unknown.
        groups: the patient of each image; a patient may have images in several subgroups.
        least: patients (images where they are unknown), below which a subgroup is named but its
            numbers are not given; None: LEAST images, and FEWEST patients.
    Returns:
        `{groups: {value: {images, patients, classes, metrics, suppressed}}, gap: {metric: {value,
        highest, lowest, differences, ci95, method, reason}}}`. `suppressed` says why there are no
        numbers. The gap's interval draws patients for all subgroups at once, so that those who
        are in several count so. It is the largest of `differences`, all those between two of the
        subgroups: of more than two, its interval holds at the level of them all (Bonferroni).
    """
    rows_of = members(ranges(values))
    found: dict[str, Any] = {}
    shown: dict[str, Array] = {}
    for value, rows in rows_of.items():
        patients = None if groups is None else [groups[i] for i in rows]
        part = rows_only(scored, rows)
        why = suppressed(part, least, found_patients(patients))
        found[value] = {
            "images": len(rows),
            "patients": None if patients is None else len(set(patients) - {None}),
            "classes": {scored.name(k): int((part.labels == k).sum()) for k in range(part.outputs)},
            "metrics": {} if why else metric_rows(part, metrics, patients, resamples, level, seed),
            "suppressed": why,
        }
        if not why:
            shown[value] = rows
    return {"groups": found, "gap": gaps(scored, shown, groups, metrics, resamples, level, seed)}


def rows_only(scored: Scored, rows: Array) -> Scored:
    """The same predictions of some images."""
    return Scored(
        scored.labels[rows],
        scored.probabilities[rows],
        scored.positive,
        scored.threshold,
        scored.classes,
    )


def found_patients(patients: Sequence[Any] | None) -> int | None:
    """How many patients there are, those who are unknown counting as one an image."""
    return None if patients is None else len(np.unique(units_of(patients, len(patients))))


def suppressed(part: Scored, least: int | None, patients: int | None = None) -> str | None:
    """Why a subgroup's numbers are not given; None where they are.

    Args:
        least: patients, or images where patients are unknown; None: LEAST images and, however
            many images they have, FEWEST patients.
        patients: of the subgroup, None where patients are unknown.
    """
    if patients is not None and least is not None:
        return fewer(patients, "patient", least)
    why = fewer(len(part), "image", LEAST if least is None else least)
    return why if why or patients is None else fewer(patients, "patient", FEWEST)


def fewer(count: int, unit: str, least: int) -> str | None:
    """`3 patients: fewer than 5`; None where there are enough."""
    return None if count >= least else f"{count} {unit}{'s' * (count != 1)}: fewer than {least}"


def members(values: Sequence[str]) -> dict[str, Array]:
    """Value to Int[n], its rows; numbers in their order, then words, the unknown last."""
    rows: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        rows.setdefault(value, []).append(place)
    return {value: np.array(rows[value], dtype=np.int64) for value in sorted(rows, key=place_of)}


def place_of(value: str) -> tuple[int, float, str]:
    number = as_number(value.split(" to ")[0])
    if value == UNKNOWN:
        return (2, 0.0, value)
    return (1, 0.0, value) if number is None else (0, number, value)


def as_number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def ranges(values: Sequence[str | None]) -> list[str]:
    """The values as subgroups: numbers of many values in quarters of about equal size.

    >>> ranges(["M", None, "F"])
    ['M', '(unknown)', 'F']
    """
    told = [(value or "").strip() or UNKNOWN for value in values]
    numbers = [as_number(value) for value in told]
    known = np.array([n for n in numbers if n is not None])
    words = sum(1 for v, n in zip(told, numbers, strict=True) if n is None and v != UNKNOWN)
    if words or len(set(known.tolist())) <= MOST_VALUES:
        return told
    cuts = np.unique(np.quantile(known, np.linspace(0, 1, RANGES + 1)[1:-1], method="lower"))
    place = np.searchsorted(cuts, known, side="left")
    held = {k: known[place == k] for k in set(place.tolist())}
    names = {k: f"{values.min():g} to {values.max():g}" for k, values in held.items()}
    found = iter(names[k] for k in place.tolist())
    return [UNKNOWN if number is None else next(found) for number in numbers]


def gaps(
    scored: Scored,
    shown: Mapping[str, Array],
    groups: Sequence[Any] | None,
    metrics: Metrics,
    resamples: int,
    level: float,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """For each metric the subgroups where it is highest and lowest, and the difference."""
    parts = {value: rows_only(scored, rows) for value, rows in shown.items()}
    fitting = suited(metrics, scored)
    by_value = {value: points(fitting, part)[0] for value, part in parts.items()}
    extremes: dict[str, tuple[str, str]] = {}
    for name in fitting:
        known = [v for v in by_value if by_value[v][name] is not None]
        if len(known) > 1:
            ordered = sorted(known, key=lambda v: by_value[v][name] or 0.0)
            extremes[name] = (ordered[-1], ordered[0])
    drawn: dict[str, list[Array]] = {name: [] for name in extremes}
    if extremes:
        for weights in resampled(scored.labels, groups, resamples, seed):
            within = {value: frozen(weights[:, rows]) for value, rows in shown.items()}
            for name, (high, low) in extremes.items():
                both = [replicates(fitting[name], parts[v], within[v]) for v in (high, low)]
                drawn[name].append(both[0] - both[1])
    return {
        name: {
            "value": (by_value[high][name] or 0.0) - (by_value[low][name] or 0.0),
            "highest": high,
            "lowest": low,
            "differences": (count := differences(by_value, name)),
            **interval_of(
                np.concatenate(drawn[name]),
                level,
                groups,
                (by_value[high][name] or 0.0) - (by_value[low][name] or 0.0),
                count,
            ),
        }
        for name, (high, low) in extremes.items()
    }


def frozen(weights: Array) -> Array:
    """Read-only, so that metrics share what they compute from them."""
    weights.setflags(write=False)
    return weights


def differences(by_value: Mapping[str, Mapping[str, float | None]], name: str) -> int:
    """How many pairs of subgroups there are in which both have a value."""
    known = sum(1 for values in by_value.values() if values[name] is not None)
    return known * (known - 1) // 2


def interval_of(
    drawn: Array,
    level: float,
    groups: Sequence[Any] | None,
    value: float,
    count: int,
) -> dict[str, Any]:
    """The interval of the largest of `count` differences.

    Of more than one, from the standard error: the tails of the resamples that a corrected level
    asks for hold a handful of them.
    """
    reason = why_no_interval(drawn)
    if reason:
        return {"ci95": None, "method": None, "reason": reason}
    if count < 2:
        return {"ci95": percentiles(drawn, level), "method": method_of(groups), "reason": None}
    reach = float(ndtri(1 - (1 - level) / (2 * count)) * drawn[np.isfinite(drawn)].std(ddof=1))
    unit = "image" if groups is None else "patient"
    method = f"bootstrap standard error by {unit}, Bonferroni over {count} differences"
    return {"ci95": (value - reach, value + reach), "method": method, "reason": None}
