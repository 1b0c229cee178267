"""Classes of very unequal size"""

from __future__ import annotations

from medimg.api import CheckContext, Finding

RATIO = 3.0


def check(context: CheckContext) -> list[Finding]:
    """A warning from 3 to 1 on: accuracy then says little."""
    counts = {name: n for name, n in context.index.class_counts().items() if n}
    if len(counts) < 2:
        return []
    most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    ratio = counts[most] / counts[least]
    if ratio < RATIO:
        return []
    return [
        Finding(
            "imbalance",
            "warning",
            f"{most} has {ratio:.1f} times the images of {least} "
            f"({counts[most]:,} and {counts[least]:,}): always answering {most} is right for "
            f"{counts[most] / sum(counts.values()):.0%}",
            len(counts),
            tuple({"class": name, "images": n} for name, n in counts.items()),
            "Read AUROC and balanced accuracy, not accuracy; medimg train --balance class-weight",
        )
    ]
