"""The same picture under two labels"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import copies_across


def check(context: CheckContext) -> list[Finding]:
    """An error: one of the labels is wrong, and nobody but a reader of the scan knows which."""
    return copies_across(
        context,
        "duplicates-across-classes",
        "in two classes",
        lambda sample: sample.label,
        "Look them up in the source; medimg verify DATASET --write-clean clean.csv drops "
        "all copies",
    )
