"""Classes of very unequal size"""

from __future__ import annotations

from medimg.api import CheckContext, Finding


def check(context: CheckContext, *, ratio: float = 3.0) -> list[Finding]:
    """A warning where one class has many times the images of another: accuracy says little then.

    Args:
        ratio: images of the largest class an image of the smallest, from which on it is told.
    """
    counts = {name: n for name, n in context.index.class_counts().items() if n}
    if len(counts) < 2:
        return []
    most, least = max(counts, key=lambda c: counts[c]), min(counts, key=lambda c: counts[c])
    times = counts[most] / counts[least]
    if times < ratio:
        return []
    return [
        Finding(
            "imbalance",
            "warning",
            f"{most} has {times:.1f} times the images of {least} "
            f"({counts[most]:,} and {counts[least]:,}): always answering {most} is right for "
            f"{counts[most] / sum(counts.values()):.0%}",
            len(counts),
            tuple({"class": name, "images": n} for name, n in counts.items()),
            "Read AUROC and balanced accuracy, not accuracy; medimg train --balance class-weight",
        )
    ]
