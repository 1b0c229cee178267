"""A class with too few images or patients to stand in every part"""

from __future__ import annotations

from medimg.api import CheckContext, DatasetIndex, Finding, Sample

PARTS = 3


def units(samples: list[Sample]) -> int:
    """Patients, or images where patients are unknown."""
    return len({s.group if s.group is not None else f"\0{s.path}" for s in samples})


def check(context: CheckContext) -> list[Finding]:
    """An error below two (it can't be trained and tested on), a warning below three parts."""
    index = context.index
    by_class = {name: [s for s in index.samples if s.label == name] for name in index.classes}
    small = {name: (len(own), units(own)) for name, own in by_class.items() if own}
    unit = "patients" if index.groups() else "images"
    found = []
    for name, (images, n) in small.items():
        if n >= PARTS:
            continue
        number = f"{n} {unit}" if n != 1 else f"a single {unit[:-1]}"
        found.append(
            Finding(
                "small-class",
                "error" if n < 2 else "warning",
                f"the class {name} has {number}"
                + (f" ({images} images)" if unit == "patients" else "")
                + ": it can't stand in training, validation and test",
                images,
                ({"class": name, "images": images},),
                hint(index, name),
            )
        )
    return found


def hint(index: DatasetIndex, name: str) -> str:
    """How to do without the class, where two others are left."""
    others = [c for c in index.classes if c != name]
    if len(others) < 2:
        return "Collect more before a result can mean something."
    return f"Leave the class out: -o classes={','.join(others)}"
