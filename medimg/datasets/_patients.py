"""Telling patient folders that hold class folders from class folders that hold anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medimg.api import canonical_split, guess_positive
from medimg.datasets._tree import Folder, Level, class_level

# numbered folders that are classes for all that
CLASS_WORDS = re.compile(
    r"(bi-?rads|class|classe|grade|kl|label|level|score|stage|tirads|type)[ _-]?\d+", re.IGNORECASE
)
# magnification, side, view and the like: no class either
PART_NAME = re.compile(
    r"\d+x|images?|imgs?|masks?|left|right|slices?|od|os|ap|pa|axial|coronal|sagittal|frontal"
    r"|lateral|fe?male|flair|t[12]w?",
    re.IGNORECASE,
)
# what a dataset was cut into: neither patients nor classes
CUT_NAME = re.compile(
    r"(k?[ _-]?folds?|cv|parts?|batch|chunk|(sub)?set|split|repeat|run|site|cent(er|re)|hospital)"
    r"[ _-]?\d+",
    re.IGNORECASE,
)
MANY_PATIENTS = 20
# so many in each class, so many images each in the middle of them
PATIENTS_A_CLASS, IMAGES_A_PATIENT = 5, 2
# what a patient may have several of
PIECE_NAME = re.compile(
    r"(scan|series|study|session|visit|slide|video|clip|seq(uence)?|frames?|stack|roi|tile|patch"
    r"|imgs?|images?|lesion|week|month|day|year|roll|page)[ _-]?\d+",
    re.IGNORECASE,
)
YEAR = re.compile(r"(19|20)\d\d([ _-]?\d\d){0,2}")


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


def certainty(patients: Sequence[Folder], classes: Sequence[str]) -> tuple[float, str]:
    """How sure it is that these folders are patients, and why: 0.5 where they may be classes."""
    names = sorted({p.name for p in patients})
    numbered = all(re.search(r"\d", n) and not CLASS_WORDS.fullmatch(n) for n in names)
    in_files = all(p.name in next(p.below()).rsplit("/", 1)[-1] for p in patients)
    telling = tells_classes(classes)
    kind = "numbered folders" if numbered else "folders"
    found = f"{len(names):,} {kind}, each holding {' or '.join(classes[:4])}"
    if all(CUT_NAME.fullmatch(name) for name in names):
        return 0.2, found
    if numbered and in_files and (telling or len(names) > len(classes)):
        return 0.95, f"{found}, and their files are named after them"
    if len(names) <= len(classes):
        return few_folders(patients, names, classes, numbered), found
    if numbered and (telling or len(names) >= MANY_PATIENTS):
        return 0.9, found
    if numbered or telling or (alike(patients) and not any_digits(classes)):
        return 0.5, found
    return 0.2, found


def few_folders(
    patients: Sequence[Folder], names: Sequence[str], classes: Sequence[str], numbered: bool
) -> float:
    """How sure it is that no more folders than there are names in them are patients."""
    outer_tell = tells_classes(names)
    in_words = guess_positive(classes) is not None and not any_digits(classes)
    bare = all(name.isdecimal() for name in names) and not any_digits(classes)
    if len(names) < 2 or (outer_tell and not in_words and not bare):
        return 0.2
    if not alike(patients):
        return 0.5 if numbered and in_words and not outer_tell else 0.2
    if numbered and tells_classes(classes) and not outer_tell:
        return 0.9
    # unless they are numbered inside alone: patients or parts in class folders
    return 0.5 if numbered or in_words or not any_digits(classes) else 0.2


def tells_classes(names: Sequence[str]) -> bool:
    """Whether names are those of classes: one says healthy, or they are grades or 0, 1, 2."""
    return (
        guess_positive(names) is not None
        or all(CLASS_WORDS.fullmatch(name) for name in names)
        or all(name == str(i) for i, name in enumerate(sorted(names)))
    )


def any_digits(names: Iterable[str]) -> bool:
    return any(re.search(r"\d", name) for name in names)


def alike(folders: Sequence[Folder]) -> bool:
    """Whether two folders or more hold folders of the same names, two names at least."""
    inside = {tuple(sorted(f.name for f in folder.holding())) for folder in folders}
    return len(folders) > 1 and len(inside) == 1 and len(inside.pop()) > 1


# -- classes inside what looks like classes ------------------------------------------------------


@dataclass(frozen=True)
class Inside:
    """Folders side by side (`fold1`, `fold2`) that hold folders of the same names (`A`, `B`):
    which of the two are the classes is the user's to say.

    Args:
        cut: the outer ones are named like parts that a dataset was cut into.
        in_splits: the inner ones lie in train, val and test folders of the outer ones.
    """

    outer: tuple[str, ...]
    inner: tuple[str, ...]
    cut: bool
    in_splits: bool


def classes_inside(splits: Level) -> Inside | None:
    """The folders that would be read as classes and look as if they held the classes.

    What `patient_shape` is sure about, or takes for classes, is no question.
    """
    folders = [f for _, parent in class_level(splits).parents for f in parent.holding()]
    outer = tuple(sorted({f.name for f in folders}))
    if len(outer) < 2:
        return None
    inside = [names_inside(folder) for folder in folders]
    times = Counter(name for names in inside for name in names)
    in_splits = any(canonical_split(f.name) for folder in folders for f in folder.holding())
    if all(CUT_NAME.fullmatch(name) for name in outer):
        shared = tuple(sorted(name for name, n in times.items() if n > 1))
        found = len(shared) > 1 and all(inside)
        return Inside(outer, shared, True, in_splits) if found else None
    inner = tuple(sorted(times))
    if len(inner) < 2 or any(names != inside[0] for names in inside) or patient_shape(splits):
        return None
    held = [Folder(f.name, f.path, folders=[deepest(f, name) for name in inner]) for f in folders]
    likely = certainty(held, inner)[0] >= 0.5
    return Inside(outer, inner, False, in_splits) if likely else None


def names_inside(folder: Folder) -> frozenset[str]:
    """The names of the folders in a folder that could be classes, below train, val and test."""
    holding = folder.holding()
    if holding and all(canonical_split(f.name) for f in holding):
        holding = [f for split in holding for f in split.holding()]
    names = {f.name for f in holding}
    no_class = any(canonical_split(name) or PART_NAME.fullmatch(name) for name in names)
    return frozenset() if no_class else frozenset(names)


def deepest(folder: Folder, name: str) -> Folder:
    """The folder of that name in a folder, or in the train, val and test folders in it."""
    return next(f for f in folder.walk() if f.name == name and f.holds_images)


# -- patients inside classes ---------------------------------------------------------------------


def patients_in_classes(level: Level, classes: Sequence[str]) -> dict[str, str]:
    """Path to patient, where patients have folders in the class folders; empty if that isn't sure.

    It is where all images lie in such folders, many in each class, several images each, called
    alike and numbered (`patient003`, `LIDC-IDRI-0003`), and no name stands twice: numbers that
    count anew in each class or split are no ids.
    """
    held = [f for _, parent in level.parents for f in parent.holding() if f.name in classes]
    inner = [folder.holding() for folder in held]
    if not held or any(folder.images for folder in held):
        return {}
    by_class = Counter(folder.name for folder, own in zip(held, inner, strict=True) for _ in own)
    folders = [f for own in inner for f in own]
    names = {f.name for f in folders}
    if min(by_class.values()) < PATIENTS_A_CLASS or len(names) < len(folders):
        return {}
    images = sorted(sum(1 for _ in f.below()) for f in folders)
    sure = images[len(images) // 2] >= IMAGES_A_PATIENT and all(map(like_an_id, names))
    if not sure or len({shape_of(name) for name in names}) > 1:
        return {}
    return {path: folder.name for folder in folders for path in folder.below()}


def like_an_id(name: str) -> bool:
    """Whether a numbered folder may be a patient rather than a part, a piece, a grade or a year."""
    others = (CUT_NAME, CLASS_WORDS, PART_NAME, PIECE_NAME, YEAR)
    return any_digits([name]) and not any(pattern.fullmatch(name) for pattern in others)


def shape_of(name: str) -> str:
    """A name without its numbers.

    >>> shape_of("LIDC-IDRI-0003"), shape_of("P7")
    ('lidc-idri-#', 'p#')
    """
    return re.sub(r"\d+", "#", name.lower())
