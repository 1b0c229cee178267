"""Files of zero bytes"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import unreadable_by_kind


def check(context: CheckContext) -> list[Finding]:
    """An error: a download or a copy broke off."""
    return unreadable_by_kind(
        context,
        "empty-file",
        ("is", "are"),
        "empty",
        "Fetch them again, or leave them out: medimg verify DATASET --write-clean clean.csv",
    )
