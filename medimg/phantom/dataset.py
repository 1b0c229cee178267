"""Writes a set of phantoms in the layout of the real one, with a truth file beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2

from medimg.core.errors import InputError, UsageError
from medimg.core.workers import cores, executor, one_thread_a_call
from medimg.phantom.anatomy import Anatomy
from medimg.phantom.drawing import LARGEST_PX, SMALLEST_PX, draw
from medimg.phantom.faults import (
    PLANTED_IN_FILES,
    TAG,
    Planter,
    chosen_faults,
    leak_patients,
    tag_classes,
)
from medimg.phantom.roster import CLASSES, SPLITS, Names, Patient, assign_splits, enrol
from medimg.phantom.truth import TRUTH_FILE, PhantomImage, PhantomTruth, PlantedFault

SMALLEST_SET = 12
# one takes some milliseconds to draw
FEWEST_FOR_PROCESSES = 60
DEMO_IMAGES, DEMO_SIZE_PX = 900, 128


def make_dataset(
    folder: Path,
    *,
    images: int = 600,
    size_px: int = 128,
    seed: int = 0,
    faults: str | Iterable[str] = "all",
    splits: tuple[float, float, float] = (0.7, 0.1, 0.2),
    overwrite: bool = False,
    on_patient: Callable[[int, int], None] | None = None,
) -> PhantomTruth:
    """Draw ``folder/{train,val,test}/{NORMAL,PNEUMONIA}/*.png`` and write ``folder/truth.json``.

    The same arguments give the same bytes. A patient's anatomy depends on (seed, patient), an
    image on (seed, patient, image); no patient is in two splits unless that is asked for.

    Args:
        folder: where to; made when missing.
        images: how many to draw, 12 at least; planted copies come on top.
        size_px: side of the square images, 64 to 256.
        seed: of everything random.
        faults: names from ``medimg.phantom.FAULTS``, ``"all"``, or ``()`` for a clean set.
        splits: shares of train, val and test, summing to 1; 0 leaves a part out.
        overwrite: replace a set of phantoms that lies in the folder; other files are kept.
        on_patient: called with (images written, images in all) after each patient.
    Returns:
        what the truth file says.
    Raises:
        UsageError: an argument out of range, or a fault nobody knows.
        InputError: the folder holds images already.
    """
    names_of_faults = chosen_faults(faults)
    _demand_sense(images, size_px, splits, names_of_faults)
    folder = Path(folder)
    _make_room(folder, overwrite)
    for split, share in zip(SPLITS, splits, strict=True):
        for label in CLASSES if share > 0 else ():
            (folder / split / label).mkdir(parents=True, exist_ok=True)
    names = Names()
    patients = assign_splits(enrol(seed, images, names), splits, seed)
    listed = [image for patient in patients for image in _listed(patient)]
    planted: list[PlantedFault] = []
    if "patient-leakage" in names_of_faults:
        listed, leak = leak_patients(listed, seed)
        planted.append(leak)
    # The tag is on so many images that other faults could not keep away from them.
    taken = {file for fault in planted for file in fault.files}
    if "shortcut" in names_of_faults:
        planted.append(tag_classes(listed, seed))
    _write_images(folder, patients, listed, planted, seed, size_px, on_patient)
    planter = Planter(folder, listed, names, taken, seed)
    for name in names_of_faults:
        if name in PLANTED_IN_FILES:
            planted.append(PLANTED_IN_FILES[name](planter))
    planted.sort(key=lambda fault: names_of_faults.index(fault.name))
    entries = sorted(planter.images, key=lambda image: image.file)
    truth = PhantomTruth(seed, size_px, tuple(entries), tuple(planted))
    truth.write(folder / TRUTH_FILE)
    return truth


def make_demo_dataset(folder: Path, *, seed: int = 0, overwrite: bool = False) -> PhantomTruth:
    """The set that ``medimg demo`` draws: 900 images of about 300 patients, every fault."""
    return make_dataset(
        folder, images=DEMO_IMAGES, size_px=DEMO_SIZE_PX, seed=seed, overwrite=overwrite
    )


def _demand_sense(
    images: int, size_px: int, splits: tuple[float, float, float], faults: tuple[str, ...]
) -> None:
    if images < SMALLEST_SET:
        raise UsageError(f"a set needs at least {SMALLEST_SET} images, not {images}")
    if not SMALLEST_PX <= size_px <= LARGEST_PX:
        raise UsageError(f"phantoms are {SMALLEST_PX} to {LARGEST_PX} px, not {size_px}")
    if len(splits) != len(SPLITS) or min(splits) < 0 or not math.isclose(sum(splits), 1):
        raise UsageError(f"splits {splits} are not three shares that sum to 1")
    if set(faults) - {"shortcut"} and min(splits) == 0:
        raise UsageError(
            "faults other than the shortcut need a train, a val and a test part",
            "Give every part a share, or ask for faults=().",
        )


def _make_room(folder: Path, overwrite: bool) -> None:
    """Remove the files of an earlier set, and no others; refuse a folder in use."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder")
    if overwrite and (folder / TRUTH_FILE).exists():
        for image in PhantomTruth.read(folder).images:
            if Path(image.file).parts[0] in SPLITS and ".." not in Path(image.file).parts:
                (folder / image.file).unlink(missing_ok=True)
        (folder / TRUTH_FILE).unlink()
    for split in SPLITS:
        if any(path.is_file() for path in (folder / split).rglob("*")):
            raise InputError(
                f"{folder / split} holds files already",
                "Choose an empty folder, or replace an earlier set with overwrite.",
            )


def _listed(patient: Patient) -> list[PhantomImage]:
    return [
        PhantomImage(
            file=f"{patient.split}/{patient.label}/{name}",
            patient=patient.name,
            label=patient.label,
            split=patient.split,
            severity=severity,
        )
        for name, severity in zip(patient.file_names, patient.severities, strict=True)
    ]


def _write_images(
    folder: Path,
    patients: list[Patient],
    listed: list[PhantomImage],
    planted: list[PlantedFault],
    seed: int,
    size_px: int,
    on_patient: Callable[[int, int], None] | None,
) -> None:
    """Draw patient by patient, on all cores."""
    tagged = {file for fault in planted if fault.name == "shortcut" for file in fault.files}
    own: dict[str, list[PhantomImage]] = {}
    for image in listed:
        own.setdefault(image.patient, []).append(image)

    def write(patient: Patient) -> int:
        anatomy = Anatomy.of(seed, patient.number, patient.pattern)
        for number, image in enumerate(own[patient.name]):
            tag = TAG if image.file in tagged else None
            grey = draw(anatomy, severity=image.severity, size_px=size_px, image=number, tag=tag)
            (folder / image.file).write_bytes(cv2.imencode(".png", grey)[1].tobytes())
        return len(own[patient.name])

    done = 0
    with one_thread_a_call():
        pool, call = executor(cores(), len(listed), write, FEWEST_FOR_PROCESSES)
        with pool:
            for written in pool.map(call, patients):
                done += written
                if on_patient is not None:
                    on_patient(done, len(listed))
