"""Chest X-ray phantoms drawn by code, with faults planted on request and a truth file.

A phantom is a drawing: body, lungs, ribs, heart and diaphragm of a patient who does not exist,
with pneumonia as patches of added density. Phantoms are for showing and testing what medimg does.
They are not for clinical use, teach nothing about disease, and are no substitute for real data;
a number measured on them says something about the method and nothing about any patient.

>>> from medimg.phantom import Anatomy, draw
>>> picture = draw(Anatomy.of(seed=0, patient=1), severity=0.8, size_px=96)
>>> picture.shape, picture.dtype.name
((96, 96), 'uint8')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medimg.phantom.anatomy import Anatomy
    from medimg.phantom.dataset import make_dataset, make_demo_dataset
    from medimg.phantom.drawing import draw
    from medimg.phantom.faults import FAULTS
    from medimg.phantom.roster import PATIENT_PATTERN
    from medimg.phantom.truth import PhantomImage, PhantomTruth, PlantedFault

__all__ = [
    "FAULTS",
    "PATIENT_PATTERN",
    "Anatomy",
    "PhantomImage",
    "PhantomTruth",
    "PlantedFault",
    "draw",
    "make_dataset",
    "make_demo_dataset",
]

_HOMES = {
    "FAULTS": "faults",
    "PATIENT_PATTERN": "roster",
    "Anatomy": "anatomy",
    "PhantomImage": "truth",
    "PhantomTruth": "truth",
    "PlantedFault": "truth",
    "draw": "drawing",
    "make_dataset": "dataset",
    "make_demo_dataset": "dataset",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for: NumPy and OpenCV stay out of start-up."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
