"""Patients with images of more than one class (information)"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import grouped


def check(context: CheckContext) -> list[Finding]:
    """Information: natural where a label belongs to a patch, an eye or a date."""
    if not context.index.groups():
        context.not_applicable("patients are unknown")
    known = [s for s in context.index.samples if s.group is not None]
    groups = grouped(known, lambda s: s.group)
    mixed = {g: own for g, own in groups.items() if len({s.label for s in own}) > 1}
    if not mixed:
        return []
    return [
        Finding(
            "patient-both-classes",
            "info",
            f"{len(mixed)} of {len(groups)} patients {'has' if len(mixed) == 1 else 'have'} "
            "images of more than one class",
            len(mixed),
            tuple(
                {"patient": g, "classes": sorted({str(s.label) for s in own})}
                for g, own in list(mixed.items())[:1000]
            ),
        )
    ]
