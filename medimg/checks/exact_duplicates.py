"""Copies of a picture within one class and part"""

from __future__ import annotations

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import copy_items, grouped


def check(context: CheckContext) -> list[Finding]:
    """A warning: they count one picture twice."""
    groups = [g for copies in context.copies() for g in within(copies)]
    if not groups:
        return []
    groups.sort(key=lambda g: (-len(g), g[0].path))
    extra = sum(len(g) - 1 for g in groups)
    subject = "1 picture stands" if len(groups) == 1 else f"{len(groups)} pictures stand"
    too_many = "1 copy" if extra == 1 else f"{extra} copies"
    return [
        Finding(
            "exact-duplicates",
            "warning",
            f"{subject} more than once in one class and part ({too_many} too many)",
            len(groups),
            copy_items(groups, context.scan),
            "Intervals count them as independent. medimg split DATASET --keep-duplicates-together "
            "keeps them on one side.",
        )
    ]


def within(copies: tuple[Sample, ...]) -> list[list[Sample]]:
    """Of a picture's copies, those that share class and part; two at least."""
    return [g for g in grouped(copies, lambda s: (s.label, s.split)).values() if len(g) > 1]
