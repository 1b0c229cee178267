"""Copies of a picture within one class and part"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import copy_items


def check(context: CheckContext) -> list[Finding]:
    """A warning: they count one picture twice."""
    groups = [g for g in context.copies() if len({(s.label, s.split) for s in g}) == 1]
    if not groups:
        return []
    extra = sum(len(g) - 1 for g in groups)
    number = f"{len(groups)} picture{'s' * (len(groups) != 1)}"
    return [
        Finding(
            "exact-duplicates",
            "warning",
            f"{number} stand{'s' * (len(groups) == 1)} more than once in their class and part "
            f"({extra} copies too many)",
            len(groups),
            copy_items(groups, context.scan),
            "Intervals count them as independent. A split made by medimg keeps copies together.",
        )
    ]
