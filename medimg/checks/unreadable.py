"""Files that look like images and can't be decoded"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import unreadable_by_kind


def check(context: CheckContext) -> list[Finding]:
    """An error: a reader that passes over them trains on fewer images than it says."""
    return unreadable_by_kind(
        context,
        "unreadable",
        ("can't", "can't"),
        "be decoded wholly",
        "Fetch them again, or leave them out: medimg verify DATASET --write-clean clean.csv",
    )
