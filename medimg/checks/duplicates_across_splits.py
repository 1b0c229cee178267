"""The same picture on two sides of the split"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import copies_across


def check(context: CheckContext) -> list[Finding]:
    """An error: byte-identical files, pixel-identical ones, and confirmed near copies."""
    if not context.index.splits():
        context.not_applicable("there is no split")
    return copies_across(
        context,
        "duplicates-across-splits",
        "on two sides of the split",
        lambda sample: sample.split,
        "Keep evaluation clean: medimg verify DATASET --write-clean clean.csv drops the training "
        "copies; medimg split DATASET --keep-duplicates-together makes a new split",
    )
