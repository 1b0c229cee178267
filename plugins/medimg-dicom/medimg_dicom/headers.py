"""What is taken from a DICOM file's header; the pixels are not read."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.api import is_run_folder

if TYPE_CHECKING:
    import pydicom

# fields that may identify a person (PS3.15 table E.1-1, those that are commonly filled)
IDENTIFYING = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientBirthTime", "OtherPatientIDs",
    "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientAddress",
    "PatientTelephoneNumbers", "PatientComments", "MilitaryRank", "IssuerOfPatientID",
    "AccessionNumber", "StudyID", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate",
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName",
    "DeviceSerialNumber", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingPhysician",
)  # fmt: skip
NEEDED = (
    "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "NumberOfFrames", "Rows", "Columns",
    "PatientIdentityRemoved",
)  # fmt: skip
JUNK_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}
DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}


class NoDicom(ValueError):
    """A file that can't be read as DICOM."""


@dataclass(frozen=True, slots=True)
class Header:
    """What one file says of itself.

    Args:
        path: POSIX path relative to the dataset's root.
        patient, study, series, instance: PatientID and the UIDs; empty where not given.
        frames: pictures in it; 0 where it holds none (a report, a plan).
        private: names of filled fields that may identify a person, never their values.
        removed: whether it declares that the patient's identity was removed.
    """

    path: str
    patient: str
    study: str
    series: str
    instance: str
    frames: int
    private: tuple[str, ...]
    removed: bool


def is_dicom(file: Path) -> bool:
    """Whether `DICM` stands at byte 128, whatever the file is called."""
    try:
        if not file.is_file():
            return False
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(root: Path, path: str) -> Header:
    """The header of a DICOM file.

    Raises:
        NoDicom: it can't be parsed, or says nothing.
    """
    import pydicom

    try:
        with warnings.catch_warnings():
            # values that break a rule of the standard are read as they stand
            warnings.simplefilter("ignore")
            tags = list(dict.fromkeys((*NEEDED, *IDENTIFYING)))
            found = pydicom.dcmread(root / path, stop_before_pixels=True, specific_tags=tags)
            return header_of(path, found)
    except Exception as error:  # what a damaged file raises differs by where it is damaged
        raise NoDicom(f"{type(error).__name__}: {error}") from error


def header_of(path: str, found: pydicom.Dataset) -> Header:
    picture = found.get("Rows") and found.get("Columns")
    if not picture and not text(found, "SOPInstanceUID"):
        raise NoDicom("it ends before it says what it is")
    return Header(
        path,
        patient=text(found, "PatientID"),
        study=text(found, "StudyInstanceUID"),
        series=text(found, "SeriesInstanceUID"),
        instance=text(found, "SOPInstanceUID"),
        frames=int(found.get("NumberOfFrames") or 1) if picture else 0,
        private=tuple(name for name in IDENTIFYING if text(found, name)),
        removed=text(found, "PatientIdentityRemoved").upper() == "YES",
    )


def text(found: pydicom.Dataset, keyword: str) -> str:
    """A field as text; empty where it is absent or blank."""
    value = found.get(keyword)
    return "" if value is None else str(value).strip().strip("^")


# -- listing -------------------------------------------------------------------------------------


def list_files(root: Path) -> Iterator[str]:
    """Every file's path relative to `root`, sorted; what a system or an editor left is skipped."""
    yield from _listed(root, "", frozenset())


def _listed(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:  # a link to a folder it lies in would never end
        return
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    if prefix and any(e.name == "report.json" for e in entries) and is_run_folder(folder):
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in JUNK_FOLDERS:
            continue
        if entry.is_dir():
            yield from _listed(Path(entry.path), f"{prefix}{entry.name}/", above | {here})
        elif entry.is_file():  # a pipe or a device would be waited for without end
            yield prefix + entry.name


def sorted_out(root: Path, paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """(DICOM files, others); a DICOMDIR is a table of contents and neither."""
    dicom: list[str] = []
    others: list[str] = []
    for path in paths:
        if path.rpartition("/")[2].upper() != "DICOMDIR":
            (dicom if is_dicom(root / path) else others).append(path)
    return dicom, others
