"""A class with too few images or patients to stand in every part"""

from __future__ import annotations

from collections.abc import Collection

from medimg.api import CheckContext, DatasetIndex, Finding, Sample
from medimg.core.checking import MOST_ITEMS, grouped

MOST_NAMED = 12
PARTS_IN_WORDS = {2: "training and test", 3: "training, validation and test"}


def units(samples: list[Sample]) -> int:
    """Patients, or images where patients are unknown."""
    return len({s.group if s.group is not None else f"\0{s.path}" for s in samples})


def check(context: CheckContext, *, parts: int = 3) -> list[Finding]:
    """An error below two (it can't be trained and tested on), a warning below the parts.

    Args:
        parts: how many parts a split has, each of which takes a patient (or image) of each class.
    """
    index = context.index
    own = grouped(index.samples, lambda s: str(s.label))
    number = {name: units(own.get(name, [])) for name in index.classes}
    alone = [name for name, n in number.items() if n == 1]
    few = [name for name, n in number.items() if 2 <= n < parts]
    return [
        finding(index, severity, {name: own[name] for name in names}, number, parts)
        for severity, names in (("error", alone), ("warning", few))
        if names
    ]


def finding(
    index: DatasetIndex,
    severity: str,
    classes: dict[str, list[Sample]],
    number: dict[str, int],
    parts: int,
) -> Finding:
    """What is said of the classes that have too few, the first of them in words."""
    unit = "patients" if index.groups() else "images"
    name, own = next(iter(classes.items()))
    have = f"{number[name]} {unit}" if number[name] != 1 else f"a single {unit[:-1]}"
    message = (
        f"the class {name} has {have}"
        + (f" ({len(own)} images)" if unit == "patients" else "")
        + f": it can't stand in {PARTS_IN_WORDS.get(parts, f'{parts} parts')}"
        + nobody(index, own)
    )
    if len(classes) > 1:
        message += f"; and so for {len(classes) - 1:,} more"
    return Finding(
        "small-class",
        severity,  # type: ignore[arg-type]
        message,
        sum(len(samples) for samples in classes.values()),
        tuple({"class": c, "images": len(samples)} for c, samples in classes.items())[:MOST_ITEMS],
        hint(index, classes),
    )


def nobody(index: DatasetIndex, own: list[Sample]) -> str:
    """The parts of the split that got none of a class, in words."""
    without = [part for part in index.splits() if all(s.split != part for s in own)]
    return f", and {' and '.join(without)} got none" if without else ""


def hint(index: DatasetIndex, small: Collection[str]) -> str:
    """How to do without the classes, where two others are left."""
    others = [c for c in index.classes if c not in small]
    if len(others) < 2:
        return "Collect more before a result can mean something."
    them = "the class" if len(small) == 1 else "them"
    if len(others) > MOST_NAMED:
        return "Leave them out: -o classes=… with the names of the others"
    return f"Leave {them} out: -o classes={','.join(others)}"
