"""A folder for each patient holding class folders, or patients named in the file names.

`<patient>/<class>/*.png`, with split folders around it or not; with `-o group_regex=…` class
folders whose file names tell the patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medimg.api import (
    DatasetIndex,
    Guess,
    InputError,
    Sample,
    check_options,
    counted,
    keep_classes,
)
from medimg.core.index import listed, with_patient_options
from medimg.datasets._patients import patient_level, patient_shape
from medimg.datasets._tree import Tree, read_tree, split_level
from medimg.datasets.folder import assemble, check_group, images_tree, read_classes


class Reader:
    """Reads patient folders."""

    options = ("classes", "group", "group_regex")

    def sniff(self, path: Path) -> Guess:
        """How sure it is that `path` holds patient folders, by names alone."""
        if not path.is_dir():
            return Guess(0.0, "not a folder")
        shape = patient_shape(split_level(read_tree(path, sizes=False).root))
        if shape is None:
            return Guess(0.0, "no patient folders that hold class folders")
        return Guess(shape.confidence, shape.reason)

    def read(self, path: Path, options: Mapping[str, str]) -> DatasetIndex:
        """The index of the patient folders under `path`.

        Raises:
            InputError: no image, or no patient folders and no `group_regex`.
            UsageError: an option it does not have.
        """
        check_options("patient", options, self.options)
        check_group("patient", options)
        tree = images_tree(path)
        if patient_shape(split_level(tree.root)) is None and "group_regex" in options:
            return read_classes(path, options, "patient")
        index = read_patients(path, tree)
        if "classes" in options:
            kept = keep_classes(index.samples, listed(options["classes"]))
            classes = tuple(sorted(set(listed(options["classes"]))))
            declared = tuple(d for d in index.declared if d[1] in classes)
            index = replace(index, samples=kept, classes=classes, declared=declared)
        return with_patient_options(index, options)


def read_patients(path: Path, tree: Tree) -> DatasetIndex:
    """The index by `<patient>/<class>`."""
    level = patient_level(split_level(tree.root))
    samples: list[Sample] = []
    declared: set[tuple[str | None, str]] = set()
    for split, parent in level.parents:
        for patient in parent.folders:
            for folder in patient.folders:
                if folder.holds_images or folder.is_empty:
                    declared.add((split, folder.name))
                samples += [
                    Sample(p, folder.name, group=patient.name, split=split) for p in folder.below()
                ]
    if not samples:
        raise InputError(
            f"no patient folders that hold class folders in {path}",
            "Say how file names tell the patient: -o 'group_regex=(patient\\d+)', or read it as "
            "class folders: --layout folder",
        )
    patients = len({s.group for s in samples})
    classes = sorted({label for _, label in declared})
    folders = counted(patients, "patient folder")
    reason = f"{folders} holding class folders {', '.join(classes[:6])}"
    return assemble(path, tree, "patient", samples, declared, reason, patients="patient folders")
