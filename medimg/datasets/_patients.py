"""Telling patient folders that hold class folders from class folders that hold anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medimg.api import canonical_split, guess_positive
from medimg.datasets._tree import Folder, Level

# numbered folders that are classes for all that
CLASS_WORDS = re.compile(
    r"(bi-?rads|class|classe|grade|kl|label|level|score|stage|tirads|type)[ _-]?\d+", re.IGNORECASE
)
# magnification and the like: no class either
PART_NAME = re.compile(r"\d+x|images?|imgs?|masks?|left|right|slices?", re.IGNORECASE)
MANY_PATIENTS = 20


@dataclass(frozen=True)
class PatientShape:
    """Folders that look like patients: how many, which classes, how sure (0..1) and why."""

    level: Level
    patients: int
    classes: tuple[str, ...]
    confidence: float
    reason: str


def patient_level(level: Level) -> Level:
    """The level below which the patients stand: single folders are gone through."""
    while True:
        holding = {f.name for _, parent in level.parents for f in parent.holding()}
        if len(holding) != 1 or any(parent.images for _, parent in level.parents):
            return level
        inner = level.children(next(iter(holding)))
        if not any(f.holding() for _, p in inner.parents for f in p.holding()):
            return level  # one patient alone
        level = inner


def patient_shape(splits: Level) -> PatientShape | None:
    """The patients and classes under the split folders, where two levels look like that."""
    level = patient_level(splits)
    patients = [f for _, parent in level.parents for f in parent.holding()]
    inner = [f for patient in patients for f in patient.holding()]
    classes = tuple(sorted({f.name for f in inner}))
    if not patients or len(classes) < 2 or any(p.images for p in patients):
        return None
    if any(canonical_split(name) or PART_NAME.fullmatch(name) for name in classes):
        return None
    if any(f.folders for f in inner):
        return None
    confidence, reason = certainty(patients, classes)
    return PatientShape(level, len({p.name for p in patients}), classes, confidence, reason)


def certainty(patients: list[Folder], classes: tuple[str, ...]) -> tuple[float, str]:
    """How sure it is that these folders are patients, and why."""
    names = {p.name for p in patients}
    numbered = all(re.search(r"\d", n) and not CLASS_WORDS.fullmatch(n) for n in names)
    in_files = all(p.name in next(p.below()).rsplit("/", 1)[-1] for p in patients)
    telling = guess_positive(classes) is not None or all(
        name == str(i) for i, name in enumerate(classes)
    )
    found = f"{len(names):,} numbered folders, each holding {' or '.join(classes[:4])}"
    if numbered and in_files and (telling or len(names) > len(classes)):
        return 0.95, f"{found}, and their files are named after them"
    if len(names) <= len(classes):
        return 0.2, found
    if numbered and (telling or len(names) >= MANY_PATIENTS):
        return 0.9, found
    if numbered or telling:
        return 0.5, f"{len(names):,} folders, each holding {' or '.join(classes[:4])}"
    return 0.2, found
