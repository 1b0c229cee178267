"""The same picture on two sides of the split"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import copy_items


def check(context: CheckContext) -> list[Finding]:
    """An error: byte-identical files, and files that decode to identical pixels."""
    groups = [g for g in context.copies() if len({s.split for s in g if s.split}) > 1]
    if not groups:
        return []
    bytewise = sum(row["identical"] == "bytes" for row in copy_items(groups, context.scan))
    number = f"{len(groups)} picture{'s' * (len(groups) != 1)}"
    return [
        Finding(
            "duplicates-across-splits",
            "error",
            f"{number} stand{'s' * (len(groups) == 1)} on two sides of the split "
            f"({bytewise} byte-identical, {len(groups) - bytewise} pixel-identical)",
            len(groups),
            copy_items(groups, context.scan),
            "Keep evaluation clean: medimg verify DATASET --write-clean clean.csv drops the "
            "training copies; medimg split --keep-duplicates-together makes a new split",
        )
    ]
