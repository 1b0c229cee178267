"""Files that would unpack to hundreds of megapixels; they are never unpacked"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import unreadable_by_kind


def check(context: CheckContext) -> list[Finding]:
    """An error: told from the header alone."""
    return unreadable_by_kind(
        context,
        "decompression-bomb",
        ("is", "are"),
        "too large to unpack",
        "Cut whole slides into tiles first; leave the rest out with --write-clean.",
    )
