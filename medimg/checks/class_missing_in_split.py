"""A class that a part of the split lacks"""

from __future__ import annotations

from medimg.api import SPLITS, CheckContext, DatasetIndex, Finding


def check(context: CheckContext) -> list[Finding]:
    """An error in train and test (it can't be learnt, or told), a warning in val; an error, too,
    where there is no training part at all, or a part's folder is empty."""
    index = context.index
    if not index.splits():
        context.not_applicable("there is no split")
    if "train" not in index.splits():
        held = " and ".join(index.splits())
        return [
            Finding(
                "class-missing-in-split",
                "error",
                f"there is no training part, only {held}",
                len(index.classes),
                tuple({"class": name, "split": "train"} for name in index.classes),
                "Deal all images anew: medimg split DATASET; or open the folder above this one.",
            )
        ]
    found = [empty_part(index, split) for split in empty_parts(index)]
    present = {name for name, n in index.class_counts().items() if n}
    for split, counts in index.split_counts().items():
        lost = sorted(name for name in present if counts[name] == 0)
        if not lost:
            continue
        found.append(
            Finding(
                "class-missing-in-split",
                "warning" if split == "val" else "error",
                f"{split} holds no image of {', '.join(lost)}",
                len(lost),
                tuple({"class": name, "split": split} for name in lost),
                "Make a split in which every class stands in every part: medimg split DATASET",
            )
        )
    return found


def empty_parts(index: DatasetIndex) -> list[str]:
    """The parts that have a folder and no image."""
    declared = {split for split, _ in index.declared}
    return [s for s in SPLITS if s in declared and s not in index.splits()]


def empty_part(index: DatasetIndex, split: str) -> Finding:
    """The finding that a part's folder is there, and nothing in it."""
    return Finding(
        "class-missing-in-split",
        "warning" if split == "val" else "error",
        f"the folder of {split} holds no image at all",
        len(index.classes),
        tuple({"class": name, "split": split} for name in index.classes),
        f"Copy the images of {split} anew, or delete its folder; or deal the others anew: "
        "medimg split DATASET",
    )
