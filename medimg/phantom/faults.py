"""Faults planted on request, by name. Each touches files that no other fault has touched.

``patient-leakage`` and ``shortcut`` are settled before anything is drawn; the others copy or cut
files that have been written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from medimg.core.errors import UsageError, near_misses
from medimg.phantom.anatomy import PLAN_STREAM, Array, stream
from medimg.phantom.roster import CLASSES, Names
from medimg.phantom.truth import PhantomImage, PlantedFault

FAULTS = (
    "patient-leakage",
    "duplicates-across-splits",
    "duplicates-across-classes",
    "re-encoded-copy",
    "unreadable",
    "shortcut",
)
TAG = "AP"
_TAG_SHARE = {"NORMAL": 0.05, "PNEUMONIA": 0.9}
_JPEG_QUALITY = 90


def chosen_faults(faults: str | Iterable[str]) -> tuple[str, ...]:
    """Names asked for, in the order in which they are planted; ``"all"`` is every one.

    Raises:
        UsageError: a name is unknown.
    """
    asked = set(FAULTS if faults == "all" else [faults] if isinstance(faults, str) else faults)
    for name in sorted(asked - set(FAULTS)):
        raise UsageError(f"no fault is called {name!r}", near_misses(name, list(FAULTS)))
    return tuple(name for name in FAULTS if name in asked)


def leak_patients(images: list[PhantomImage], seed: int) -> tuple[list[PhantomImage], PlantedFault]:
    """Move the last image of some training patients (1 in 30, two at least) to the test part."""
    by_patient: dict[str, list[PhantomImage]] = {}
    for image in images:
        by_patient.setdefault(image.patient, []).append(image)
    several = [p for p, own in by_patient.items() if len(own) > 1 and own[0].split == "train"]
    count = min(len(several), max(2, len(by_patient) // 30))
    picks = stream(seed, 0, 2, PLAN_STREAM).choice(len(several), count, replace=False)
    leaky = {several[index] for index in picks}
    moved = {by_patient[patient][-1].file for patient in leaky}
    after = [_moved(image, "test") if image.file in moved else image for image in images]
    return after, PlantedFault(
        name="patient-leakage",
        check="patient-leakage",
        note="images of one patient stand in train and in test",
        files=tuple(sorted(image.file for image in after if image.patient in leaky)),
        patients=tuple(sorted(leaky)),
    )


def _moved(image: PhantomImage, split: str) -> PhantomImage:
    name = image.file.rpartition("/")[2]
    return replace(image, split=split, file=f"{split}/{image.label}/{name}")


def tag_classes(images: list[PhantomImage], seed: int) -> PlantedFault:
    """Choose the images that get the letters AP: nearly all PNEUMONIA, hardly any NORMAL."""
    draws = stream(seed, 0, 3, PLAN_STREAM).random(len(images))
    tagged = [
        image for image, draw in zip(images, draws, strict=True) if draw < _TAG_SHARE[image.label]
    ]
    return PlantedFault(
        name="shortcut",
        check="shortcut",
        note=f"the letters {TAG} in the upper right corner of most PNEUMONIA and few NORMAL images",
        files=tuple(sorted(image.file for image in tagged)),
        patients=tuple(sorted({image.patient for image in tagged})),
    )


class Planter:
    """Plants the faults that copy or cut files, in a set that has been written.

    Args:
        folder: the set.
        images: what lies in it; copies are added to a list of its own, ``images``.
        names: continues the numbering, so that a copy has a plausible name of a new patient.
        taken: files that other faults are about.
    """

    def __init__(
        self, folder: Path, images: list[PhantomImage], names: Names, taken: set[str], seed: int
    ) -> None:
        self.folder = folder
        self.images = list(images)
        self._names = names
        self._taken = set(taken)
        self._rng = stream(seed, 0, 4, PLAN_STREAM)

    def duplicates_across_splits(self) -> PlantedFault:
        """Byte-identical copies of training images in val and test."""
        pairs = []
        for target in ("test", "val", "test", "test"):
            original = self._pick("train")
            pairs.append(self._copy(original, target, original.label, lambda data: data))
        return self._fault(
            "duplicates-across-splits",
            "duplicates-across-splits",
            "byte-identical copies under another patient's name",
            pairs,
        )

    def duplicates_across_classes(self) -> PlantedFault:
        """Byte-identical copies in the other class of the same split."""
        pairs = []
        for label in (*CLASSES, CLASSES[0]):
            other = CLASSES[1 - CLASSES.index(label)]
            pairs.append(self._copy(self._pick("train", label), "train", other, lambda data: data))
        return self._fault(
            "duplicates-across-classes",
            "duplicates-across-classes",
            "byte-identical copies in the other class",
            pairs,
        )

    def re_encoded_copy(self) -> PlantedFault:
        """Training images saved anew in test: the same pixels as PNG, near ones as JPEG."""
        pairs = [self._copy(self._pick("train"), "test", None, _recompressed) for _ in range(2)]
        pairs.append(self._copy(self._pick("train"), "test", None, _as_jpeg, ".jpeg"))
        return self._fault(
            "re-encoded-copy",
            "duplicates-across-splits",
            "saved anew: .png copies have the same pixels, .jpeg near ones",
            pairs,
        )

    def unreadable(self) -> PlantedFault:
        """PNG files cut in half."""
        cut = [self._pick("train"), self._pick("train")]
        for image in cut:
            data = (self.folder / image.file).read_bytes()
            (self.folder / image.file).write_bytes(data[: len(data) // 2])
        return PlantedFault(
            name="unreadable",
            check="unreadable",
            note="PNG files cut in half",
            files=tuple(sorted(image.file for image in cut)),
            patients=tuple(sorted({image.patient for image in cut})),
        )

    def _pick(self, split: str, label: str | None = None) -> PhantomImage:
        """An image that no fault is about yet."""
        free = [
            image
            for image in self.images
            if image.split == split
            and image.label == (label or image.label)
            and image.file not in self._taken
        ]
        if not free:
            raise UsageError(
                "the set is too small for all of these faults",
                "Ask for more images or for fewer faults.",
            )
        image = free[int(self._rng.integers(len(free)))]
        self._taken.add(image.file)
        return image

    def _copy(
        self,
        original: PhantomImage,
        split: str,
        label: str | None,
        saved_as: Callable[[bytes], bytes],
        suffix: str = ".png",
    ) -> tuple[str, str]:
        """Write a copy under a new patient's name; returns (original, copy)."""
        label = label or original.label
        series = str(self._rng.choice(_SERIES[label]))
        patient = self._names.patient(series)
        file = f"{split}/{label}/{self._names.image(series, patient, 1, suffix)}"
        (self.folder / file).write_bytes(saved_as((self.folder / original.file).read_bytes()))
        self.images.append(
            PhantomImage(file, patient, label, split, original.severity, original.file)
        )
        self._taken.add(file)
        return original.file, file

    def _fault(
        self, name: str, check: str, note: str, pairs: list[tuple[str, str]]
    ) -> PlantedFault:
        files = {file for pair in pairs for file in pair}
        patients = {image.patient for image in self.images if image.file in files}
        return PlantedFault(
            name, check, note, tuple(sorted(files)), tuple(sorted(patients)), tuple(pairs)
        )


_SERIES = {"NORMAL": ("IM", "NORMAL2-IM"), "PNEUMONIA": ("bacteria", "virus")}

PLANTED_IN_FILES: dict[str, Callable[[Planter], PlantedFault]] = {
    "duplicates-across-splits": Planter.duplicates_across_splits,
    "duplicates-across-classes": Planter.duplicates_across_classes,
    "re-encoded-copy": Planter.re_encoded_copy,
    "unreadable": Planter.unreadable,
}


def _grey(data: bytes) -> Array:
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert grey is not None, "a file that was just drawn can be decoded"
    return grey


def _recompressed(data: bytes) -> bytes:
    return cv2.imencode(".png", _grey(data), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()


def _as_jpeg(data: bytes) -> bytes:
    return cv2.imencode(".jpg", _grey(data), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
