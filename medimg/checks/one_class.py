"""Fewer than two classes: accuracy is then 1.0 and means nothing"""

from __future__ import annotations

import shlex

from medimg.api import CheckContext, Finding
from medimg.checks.wrong_level import deeper_classes


def check(context: CheckContext) -> list[Finding]:
    """An error; the hint says where the classes really are, when that can be seen."""
    index = context.index
    present = {name: n for name, n in index.class_counts().items() if n}
    if len(present) > 1:
        return []
    what = (
        ", ".join(f"{name} ({n:,} image{'s' * (n != 1)})" for name, n in present.items()) or "none"
    )
    return [
        Finding(
            "one-class",
            "error",
            f"there is one class to learn, and it takes two: {what}"
            if present
            else "there is no labelled image",
            len(index),
            tuple({"class": name, "images": n} for name, n in present.items()),
            deeper(context, next(iter(present), None)),
        )
    ]


def deeper(context: CheckContext, label: str | None) -> str:
    """Where the classes are: in folders below the one class, or elsewhere."""
    depth, names = deeper_classes(context.index, label or "", context.card)
    if not names:
        return "Point medimg at the folder that holds the class folders, or name the label column."
    levels = "one level" if depth == 0 else f"{depth + 1} levels"
    return (
        f"The class folders may be {levels} down ({', '.join(names)}): "
        f"medimg verify DATASET -o {shlex.quote('classes=' + ','.join(names))}"
    )
