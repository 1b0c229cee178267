"""Patients with images on two sides of the split"""

from __future__ import annotations

from typing import Any

from medimg.api import SPLITS, CheckContext, Finding, Sample
from medimg.core.checking import MOST_ITEMS, grouped


def check(context: CheckContext) -> list[Finding]:
    """An error: the network is tested on patients that it was trained on."""
    if not context.index.groups():
        context.not_applicable("patients are unknown")
    if not context.index.splits():
        context.not_applicable("there is no split")
    known = [s for s in context.index.samples if s.group is not None and s.split is not None]
    leaky = {
        patient: own
        for patient, own in grouped(known, lambda s: s.group).items()
        if len({s.split for s in own}) > 1
    }
    if not leaky:
        return []
    sides = sorted({"/".join(sides_of(own)) for own in leaky.values()})
    number = f"{len(leaky)} patient{'s' * (len(leaky) != 1)}"
    verb = "has" if len(leaky) == 1 else "have"
    return [
        Finding(
            "patient-leakage",
            "error",
            f"{number} {verb} images on two sides of the split ({', '.join(sides)}), "
            f"the first {next(iter(leaky))}",
            len(leaky),
            tuple(row(p, own) for p, own in list(leaky.items())[:MOST_ITEMS]),
            "Split by patient: medimg split DATASET. If these are no patients: -o group=none",
        )
    ]


def sides_of(samples: list[Sample]) -> list[str]:
    """The splits they stand in, in the usual order."""
    return [name for name in SPLITS if any(s.split == name for s in samples)]


def row(patient: str | None, samples: list[Sample]) -> dict[str, Any]:
    """A patient as an item: the splits, the classes, every file."""
    return {
        "patient": patient,
        "splits": sides_of(samples),
        "classes": sorted({str(s.label) for s in samples}),
        "files": [s.path for s in samples],
    }
