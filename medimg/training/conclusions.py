"""Whether an evaluation's numbers allow a conclusion: their width, and how far they lie from
validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medimg.core.index import counted
from medimg.core.runs import Predictions
from medimg.core.types import Finding

# an interval as wide as this holds both a good and a poor network
WIDE = 0.2
# validation and test that differ by less are close enough, however sure the difference is
APART = 0.05
CHANCE = 0.5
# patients, below which resampling them says little of patients to come
FEW = 15
# of a normal distribution, 95 % between
Z = 1.96
# told in this order; the first that has a value
HEADLINES = ("auroc", "balanced_accuracy", "accuracy")
# where their intervals come from resampling
RESAMPLES = 500


def validation_metrics(
    val: Predictions | None,
    positive: str | None,
    threshold: Mapping[str, Any] | None,
    metrics: Mapping[str, Callable[..., Any]],
    seed: int,
) -> dict[str, dict[str, Any]] | None:
    """The headline metrics of the validation part, as in an evaluate report; None without one."""
    from medimg.core.scored import Scored
    from medimg.statistics.metric_rows import metric_rows

    if val is None:
        return None
    two = len(val.classes) == 2 and positive is not None
    scored = Scored(
        val.label_numbers(),
        val.probabilities,
        val.classes.index(str(positive)) if two else None,
        threshold["value"] if two and threshold else None,
        val.classes,
    )
    wanted = {name: metrics[name] for name in HEADLINES if name in metrics}
    return metric_rows(scored, wanted, val.group_names(), RESAMPLES, 0.95, seed)


def far_apart(
    validation: Mapping[str, Any] | None, metrics: Mapping[str, Any], split: str
) -> list[Finding]:
    """`validation-test-gap`, where a difference is both large and beyond chance."""
    if validation is None or split == "val":
        return []
    for name in HEADLINES[:2]:
        here, there = metrics.get(name), validation.get(name)
        if not here or not there or not here.get("ci95") or not there.get("ci95"):
            continue
        difference = there["value"] - here["value"]
        reach = Z * (error(here) ** 2 + error(there) ** 2) ** 0.5
        if abs(difference) <= max(APART, reach):
            continue
        why = (
            "validation chose the epoch and the threshold, and flatters; or the parts differ"
            if difference > 0
            else "the parts differ, or the labels of one are worse"
        )
        return [
            Finding(
                "validation-test-gap",
                "warning",
                f"{name} is {told(there)} on validation and {told(here)} on {split}, "
                f"{abs(difference):.3f} apart: {why}",
                hint="Look at what differs: medimg inspect DATASET; choose less on validation, or "
                "make it larger.",
            )
        ]
    return []


def error(cell: Mapping[str, Any]) -> float:
    """About the standard error, from the interval's width."""
    low, high = cell["ci95"]
    return float(high - low) / (2 * Z)


def told(cell: Mapping[str, Any]) -> str:
    return f"{cell['value']:.3f} ({cell['ci95'][0]:.3f} to {cell['ci95'][1]:.3f})"


def too_wide(
    metrics: Mapping[str, Any], images: int, groups: int | None, split: str
) -> list[Finding]:
    """`wide-interval`, where the headline metric's interval allows no conclusion."""
    name = next((n for n in HEADLINES if (metrics.get(n) or {}).get("value") is not None), None)
    if name is None or not metrics[name].get("ci95"):
        return []
    cell = metrics[name]
    if groups is not None and groups < FEW:
        return [few_patients(groups, images, split)]
    low, high = cell["ci95"]
    chance = name == "auroc" and low <= CHANCE <= high
    if high - low < WIDE and not chance:
        return []
    units, kind = (images, "images") if groups is None else (groups, "patients")
    # a width falls with the root of the number
    needed = max(units + 1, round(units * ((high - low) / (WIDE / 2)) ** 2))
    holds = f", and holds {CHANCE}, which is chance" if chance else ""
    return [
        Finding(
            "wide-interval",
            "warning",
            f"the interval of {name} on {split}, {told(cell)}, is {high - low:.2f} wide{holds}: "
            f"{units:,} {kind} allow no conclusion",
            hint=f"About {needed:,} {kind} would make it {WIDE / 2:g} wide.",
        )
    ]


def few_patients(groups: int, images: int, split: str) -> Finding:
    return Finding(
        "wide-interval",
        "warning",
        f"the {counted(images, f'image of {split} is', f'images of {split} are')} of "
        f"{counted(groups, 'patient')}: intervals of so few promise more than they hold, and allow "
        "no conclusion",
        groups,
        hint=f"Evaluate on {FEW} patients or more, whatever the number of images.",
    )
