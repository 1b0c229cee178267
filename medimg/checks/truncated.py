"""Files cut short, which decoders often show as half a picture"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import unreadable_by_kind


def check(context: CheckContext) -> list[Finding]:
    """An error: a JPEG without its end decodes to a picture with a grey lower half."""
    return unreadable_by_kind(
        context,
        "truncated",
        ("is", "are"),
        "cut short",
        "Fetch them again, or leave them out: medimg verify DATASET --write-clean clean.csv",
    )
