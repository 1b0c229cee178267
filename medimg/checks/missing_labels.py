"""Images without a label"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import items


def check(context: CheckContext) -> list[Finding]:
    """A warning: they are left out of everything."""
    unlabelled = context.index.unlabelled
    if not unlabelled or any(f.check == "missing-labels" for f in context.index.findings):
        return []
    return [
        Finding(
            "missing-labels",
            "warning",
            ("1 image has" if len(unlabelled) == 1 else f"{len(unlabelled):,} images have")
            + f" no label: {unlabelled[0].path}",
            len(unlabelled),
            items(unlabelled),
            "They are left out. Label them in the CSV to use them.",
        )
    ]
