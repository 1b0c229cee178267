"""A class with too few images or patients to stand in every part"""

from __future__ import annotations

from medimg.api import CheckContext, DatasetIndex, Finding, Sample

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
    unit = "patients" if index.groups() else "images"
    found = []
    for name in index.classes:
        own = [s for s in index.samples if s.label == name]
        n = units(own)
        if not 0 < n < parts:
            continue
        number = f"{n} {unit}" if n != 1 else f"a single {unit[:-1]}"
        found.append(
            Finding(
                "small-class",
                "error" if n < 2 else "warning",
                f"the class {name} has {number}"
                + (f" ({len(own)} images)" if unit == "patients" else "")
                + f": it can't stand in {PARTS_IN_WORDS.get(parts, f'{parts} parts')}"
                + nobody(index, own),
                len(own),
                ({"class": name, "images": len(own)},),
                hint(index, name),
            )
        )
    return found


def nobody(index: DatasetIndex, own: list[Sample]) -> str:
    """The parts of the split that got none of a class, in words."""
    without = [part for part in index.splits() if all(s.split != part for s in own)]
    return f", and {' and '.join(without)} got none" if without else ""


def hint(index: DatasetIndex, name: str) -> str:
    """How to do without the class, where two others are left."""
    others = [c for c in index.classes if c != name]
    if len(others) < 2:
        return "Collect more before a result can mean something."
    return f"Leave the class out: -o classes={','.join(others)}"
