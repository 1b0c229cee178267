"""What was drawn and what was planted: the truth file beside a set of phantoms."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medimg.core.errors import InputError

TRUTH_FILE = "truth.json"
SCHEMA = "medimg.phantom/1"


@dataclass(frozen=True, slots=True)
class PhantomImage:
    """One file: where it lies, what its name and folder say, how ill the patient was drawn."""

    file: str  # relative to the set's folder, with forward slashes
    patient: str  # as the file name has it
    label: str
    split: str
    severity: float  # 0 without pneumonia, else up to 1
    copy_of: str | None = None


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """One fault: the files and patients concerned, and the check that should find it.

    ``pairs`` holds (original, copy) for the faults that copy a picture.
    """

    name: str
    check: str
    note: str
    files: tuple[str, ...]
    patients: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PhantomTruth:
    """All that is known about a set of phantoms."""

    seed: int
    size_px: int
    images: tuple[PhantomImage, ...]
    faults: tuple[PlantedFault, ...]

    def fault(self, name: str) -> PlantedFault:
        """The planted fault of this name.

        Raises:
            KeyError: it was not planted.
        """
        for fault in self.faults:
            if fault.name == name:
                return fault
        raise KeyError(name)

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients in the set, sorted."""
        return tuple(sorted({image.patient for image in self.images}))

    def write(self, path: Path) -> None:
        """Write the truth as JSON, the same bytes for the same truth."""
        content = {"schema": SCHEMA, "phantom": True, **asdict(self)}
        Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> PhantomTruth:
        """Read a truth file, or the one in a folder.

        Raises:
            InputError: there is none, or it is no truth file.
        """
        path = Path(path)
        file = path / TRUTH_FILE if path.is_dir() else path
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return _from_json(content)
        except OSError as error:
            raise InputError(f"{file} can't be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no truth file of phantoms ({error})") from error


def _from_json(content: dict[str, Any]) -> PhantomTruth:
    if content.get("schema") != SCHEMA:
        raise ValueError(f"schema {content.get('schema')!r}, expected {SCHEMA!r}")
    images = tuple(PhantomImage(**image) for image in content["images"])
    faults = tuple(_fault_from_json(fault) for fault in content["faults"])
    return PhantomTruth(content["seed"], content["size_px"], images, faults)


def _fault_from_json(fault: dict[str, Any]) -> PlantedFault:
    return PlantedFault(
        name=fault["name"],
        check=fault["check"],
        note=fault["note"],
        files=tuple(fault["files"]),
        patients=tuple(fault["patients"]),
        pairs=tuple((original, copy) for original, copy in fault["pairs"]),
    )
