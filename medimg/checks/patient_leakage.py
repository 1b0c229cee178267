"""Patients with images on two sides of the split"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import MOST_ITEMS, grouped, item


def check(context: CheckContext) -> list[Finding]:
    """An error: the network is tested on patients that it was trained on."""
    known = [s for s in context.index.samples if s.group is not None and s.split is not None]
    leaky = {
        patient: own
        for patient, own in grouped(known, lambda s: s.group).items()
        if len({s.split for s in own}) > 1
    }
    if not leaky:
        return []
    sides = sorted({"/".join(sorted({str(s.split) for s in own})) for own in leaky.values()})
    number = f"{len(leaky)} patient{'s' * (len(leaky) != 1)}"
    verb = "has" if len(leaky) == 1 else "have"
    rows = [item(s) for own in leaky.values() for s in own]
    return [
        Finding(
            "patient-leakage",
            "error",
            f"{number} {verb} images on two sides of the split ({', '.join(sides)}), "
            f"the first {next(iter(leaky))}",
            len(leaky),
            tuple(rows[:MOST_ITEMS]),
            "Split by patient: medimg split DATASET. If these are no patients: -o group=none",
        )
    ]
