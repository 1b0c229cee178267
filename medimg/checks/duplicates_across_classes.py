"""The same picture under two labels"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import copy_items


def check(context: CheckContext) -> list[Finding]:
    """An error: one of the labels is wrong, and nobody but a reader of the scan knows which."""
    groups = [g for g in context.copies() if len({s.label for s in g}) > 1]
    if not groups:
        return []
    number = f"{len(groups)} picture{'s' * (len(groups) != 1)}"
    return [
        Finding(
            "duplicates-across-classes",
            "error",
            f"{number} stand{'s' * (len(groups) == 1)} in two classes",
            len(groups),
            copy_items(groups, context.scan),
            "Look them up in the source; medimg verify DATASET --write-clean clean.csv drops "
            "all copies",
        )
    ]
