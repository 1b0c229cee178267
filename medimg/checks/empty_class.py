"""A class folder without an image"""

from __future__ import annotations

from medimg.api import CheckContext, Finding


def check(context: CheckContext) -> list[Finding]:
    """An error: a network would learn to never answer that class."""
    counts = context.index.class_counts()
    empty = [name for name, n in counts.items() if n == 0]
    if not empty or len(empty) == len(counts):
        return []
    return [
        Finding(
            "empty-class",
            "error",
            f"no image in the class {', '.join(empty)}",
            len(empty),
            tuple({"class": name} for name in empty),
            "Remove the empty folder, or name the classes: "
            f"-o classes={','.join(n for n in counts if n not in empty)}",
        )
    ]
