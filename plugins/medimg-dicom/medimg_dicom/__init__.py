"""DICOM folders for medimg: what the plugin offers, without importing pydicom."""

from __future__ import annotations

from medimg.api import DatasetInfo, hookimpl

__version__ = "0.1.0"


@hookimpl
def medimg_datasets() -> list[DatasetInfo]:
    return [
        DatasetInfo(
            name="dicom",
            summary="A folder of DICOM files, labelled by class folders or a CSV file",
            target="medimg_dicom.folder:Reader",
        )
    ]
