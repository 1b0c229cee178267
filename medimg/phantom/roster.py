"""Who is in a set: patients with their class, images, names and split."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from medimg.phantom.anatomy import PLAN_STREAM, Pattern, stream

CLASSES = ("NORMAL", "PNEUMONIA")
SPLITS = ("train", "val", "test")
PATIENT_PATTERN = re.compile(r"(person\d+_(?:virus|bacteria)|(?:NORMAL2-)?IM-\d+)")

# 1 to 6 images a patient, 3 on average; three in five patients are ill.
_IMAGES_SHARE = (0.24, 0.20, 0.19, 0.16, 0.12, 0.09)
_PNEUMONIA_SHARE = 0.6
_ONE_A_SPLIT = len(CLASSES) * len(SPLITS)


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient of the set. Severity is 0 in NORMAL, else 0.05 to 1, one an image."""

    number: int
    label: str
    pattern: Pattern
    series: str  # person…_bacteria, person…_virus, IM, NORMAL2-IM: each counts anew
    name: str
    file_names: tuple[str, ...]
    severities: tuple[float, ...]
    split: str = ""


class Names:
    """Hands out names as the real set has them; numbers count anew in each series."""

    def __init__(self) -> None:
        self._patients: dict[str, int] = {}
        self._images: dict[str, int] = {}

    def patient(self, series: str) -> str:
        """The next patient of a series, such as ``person12_virus`` or ``IM-0115``."""
        number = self._patients[series] = self._patients.get(series, 0) + 1
        if series in ("bacteria", "virus"):
            return f"person{number}_{series}"
        return f"{series}-{number:04d}"

    def image(self, series: str, patient: str, of_patient: int, suffix: str = ".png") -> str:
        """A file name for a patient's image number ``of_patient`` (from 1)."""
        if series in ("bacteria", "virus"):
            number = self._images[series] = self._images.get(series, 0) + 1
            return f"{patient}_{number}{suffix}"
        return f"{patient}-{of_patient:04d}{suffix}"


def enrol(seed: int, images: int, names: Names) -> list[Patient]:
    """Patients whose images add up to ``images``; each depends on (seed, number) alone.

    The first six are of both classes in turn and small sets have few images a patient, so that
    each class can stand in each split.
    """
    patients: list[Patient] = []
    left = images
    while left:
        number = len(patients)
        rng = stream(seed, number, 0, PLAN_STREAM)
        ill = bool(rng.random() < _PNEUMONIA_SHARE)
        if number < _ONE_A_SPLIT:
            ill = number % 2 == 1
        count = 1 + int(rng.choice(len(_IMAGES_SHARE), p=_IMAGES_SHARE))
        count = min(count, left, max(1, images // (2 * _ONE_A_SPLIT)))
        patients.append(_patient(rng, names, number, ill, count))
        left -= count
    return patients


def _patient(rng: np.random.Generator, names: Names, number: int, ill: bool, count: int) -> Patient:
    pattern: Pattern = "bacteria" if rng.random() < 0.65 else "virus"
    series = pattern if ill else str(rng.choice(["IM", "NORMAL2-IM"]))
    name = names.patient(series)
    usual = rng.uniform(0.08, 1.0)
    course = np.clip(usual + rng.normal(0, 0.07, count), 0.05, 1.0) if ill else np.zeros(count)
    return Patient(
        number=number,
        label=CLASSES[ill],
        pattern=pattern,
        series=series,
        name=name,
        file_names=tuple(names.image(series, name, 1 + image) for image in range(count)),
        severities=tuple(round(float(severity), 4) for severity in course),
    )


def assign_splits(
    patients: list[Patient], ratios: tuple[float, float, float], seed: int
) -> list[Patient]:
    """Give every patient one split; in each class, images come near to the ratios."""
    chosen: dict[int, str] = {}
    for number, label in enumerate(CLASSES):
        members = [patient for patient in patients if patient.label == label]
        order = stream(seed, number, 1, PLAN_STREAM).permutation(len(members))
        total = sum(len(patient.file_names) for patient in members)
        wanted = {s: r * total for s, r in zip(SPLITS, ratios, strict=True) if r > 0}
        fresh = list(wanted)
        for index in order:
            # Every split gets a patient first, then the one that lacks most.
            split = fresh.pop() if fresh else max(wanted, key=wanted.__getitem__)
            chosen[members[index].number] = split
            wanted[split] -= len(members[index].file_names)
    return [replace(patient, split=chosen[patient.number]) for patient in patients]
