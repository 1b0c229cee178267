"""Fewer than two classes: accuracy is then 1.0 and means nothing"""

from __future__ import annotations

from medimg.api import CheckContext, DatasetIndex, Finding


def check(context: CheckContext) -> list[Finding]:
    """An error; the hint says where the classes really are, when that can be seen."""
    index = context.index
    present = {name: n for name, n in index.class_counts().items() if n}
    if len(present) > 1:
        return []
    what = ", ".join(f"{name} ({n:,} images)" for name, n in present.items()) or "none"
    return [
        Finding(
            "one-class",
            "error",
            f"there is one class to learn, and it takes two: {what}"
            if present
            else "there is no labelled image",
            len(index),
            tuple({"class": name, "images": n} for name, n in present.items()),
            deeper(index),
        )
    ]


def deeper(index: DatasetIndex) -> str:
    """Folders below the one class that would be classes themselves."""
    by_depth: dict[int, set[str]] = {}
    for sample in index.samples:
        folders = sample.path.split("/")[:-1]
        after = folders.index(sample.label) + 1 if sample.label in folders else 0
        for depth, name in enumerate(folders[after:]):
            by_depth.setdefault(depth, set()).add(name)
    for depth, names in sorted(by_depth.items()):
        if 2 <= len(names) <= 20:
            found = ",".join(sorted(names))
            levels = "one level" if depth == 0 else f"{depth + 1} levels"
            return (
                f"The class folders may be {levels} down ({found.replace(',', ', ')}): "
                f"medimg verify DATASET -o classes={found}"
            )
    return "Point medimg at the folder that holds the class folders, or name the label column."
