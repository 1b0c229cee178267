"""MedMNIST archives for medimg: what the plugin offers, without importing NumPy."""

from __future__ import annotations

from medimg.api import DatasetInfo, hookimpl

__version__ = "0.1.0"


@hookimpl
def medimg_datasets() -> list[DatasetInfo]:
    return [
        DatasetInfo(
            name="medmnist",
            summary="A MedMNIST archive (.npz) with train, val and test arrays",
            target="medimg_medmnist.archive:Reader",
            suffixes=(".npz",),
        )
    ]
