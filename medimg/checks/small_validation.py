"""A validation part too small to steer by"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.checks._larger_part import cut_hint


def check(context: CheckContext, *, images: int = 30) -> list[Finding]:
    """A warning where a class has few images there: the best epoch is then chosen by chance.

    Args:
        images: the fewest images a class that an epoch or a threshold may be chosen by.
    """
    counts = context.index.split_counts().get("val")
    if not counts:
        context.not_applicable("there is no validation part")
    small = {name: n for name, n in counts.items() if 0 < n < images}
    if not small:
        return []
    return [
        Finding(
            "small-validation",
            "warning",
            f"validation holds {sum(counts.values()):,} images, with "
            + ", ".join(f"{n} of {name}" for name, n in small.items())
            + f": fewer than {images} a class can't choose an epoch or a threshold",
            sum(small.values()),
            tuple({"class": name, "split": "val", "images": n} for name, n in small.items()),
            cut_hint(context, val=images),
        )
    ]
