"""Reading a MedMNIST archive: `train_images`, `train_labels`, the same for val and test."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np

from medimg.api import (
    SPLITS,
    DatasetIndex,
    Guess,
    InputError,
    Sample,
    check_options,
    keep_classes,
    listed,
)
from medimg_medmnist.names import class_names

ArchiveErrors = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class ArchiveSource:
    """Pixels of an archive's pictures; a part is unpacked when its first picture is read."""

    format = "NPZ"

    def __init__(self, file: Path) -> None:
        self.file = file
        self.root = file.parent
        self._parts: dict[str, np.ndarray] = {}
        self._unpacking = Lock()

    def read(self, path: str) -> np.ndarray:
        """UInt8[h, w] or UInt8[h, w, 3] of the picture `<archive>::<part>/<number>`.

        Raises:
            OSError: the archive is damaged or holds no such picture.
        """
        part, _, number = path.rpartition("::")[2].partition("/")
        try:
            return self._part(part)[int(number)]
        except (*ArchiveErrors, IndexError) as error:
            raise OSError(f"{self.file} holds no readable picture {part}/{number}") from error

    def _part(self, part: str) -> np.ndarray:
        with self._unpacking:
            if part not in self._parts:
                with np.load(self.file, allow_pickle=False) as archive:
                    self._parts[part] = archive[f"{part}_images"]
            return self._parts[part]


class Reader:
    """Reads an archive, or a folder that holds one and nothing else to read."""

    options = ("classes",)

    def sniff(self, path: Path) -> Guess:
        """How sure it is that `path` is a MedMNIST archive, by the names of its arrays."""
        file = archive_in(path)
        if file is None:
            return Guess(0.0, "no single .npz archive")
        parts = parts_of(file)
        if not parts:
            return Guess(0.0, f"{file.name} holds no train_images and train_labels")
        reason = f"{file.name} holds images and labels for {', '.join(parts)}"
        if path.is_file():
            return Guess(1.0, reason)
        alone = not any(entry.is_dir() for entry in path.iterdir() if entry.name[0] not in "._")
        return Guess(0.9 if alone else 0.5, reason)

    def read(self, path: Path, options: Mapping[str, str]) -> DatasetIndex:
        """The index of the archive; classes by name where the archive's name tells the set.

        Raises:
            InputError: no archive, arrays that don't fit, several labels a picture, volumes.
            UsageError: an option it does not have, or a class that no picture has.
        """
        check_options("medmnist", options, self.options)
        file = archive_in(path)
        parts = parts_of(file) if file else ()
        if file is None or not parts:
            raise InputError(
                f"no MedMNIST archive at {path}",
                "It is an .npz file with the arrays train_images, train_labels, val_images, …",
            )
        index = read_archive(path, file, parts)
        if "classes" not in options:
            return index
        wanted = tuple(sorted(set(listed(options["classes"]))))
        return replace(index, samples=keep_classes(index.samples, wanted), classes=wanted)


def archive_in(path: Path) -> Path | None:
    """The archive itself, or the only one in a folder."""
    if path.is_file():
        return path if path.suffix.lower() == ".npz" else None
    found = sorted(path.glob("*.npz")) if path.is_dir() else []
    return found[0] if len(found) == 1 else None


def parts_of(file: Path) -> tuple[str, ...]:
    """The splits of which an archive holds images and labels; none where it is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return ()
    return tuple(s for s in SPLITS if {f"{s}_images.npy", f"{s}_labels.npy"} <= names)


def read_archive(path: Path, file: Path, parts: Sequence[str]) -> DatasetIndex:
    """The index of an archive's parts; unpacks labels alone."""
    labels = {part: labels_of(file, part) for part in parts}
    highest = max(int(found.max(initial=0)) for found in labels.values())
    names = class_names(file.stem)
    if names is None or highest >= len(names):
        names = tuple(str(i) for i in range(highest + 1))
    samples = tuple(
        Sample(f"{file.name}::{part}/{i}", names[label], split=part)
        for part in parts
        for i, label in enumerate(labels[part].tolist())
    )
    known = class_names(file.stem) == names
    return DatasetIndex(
        name=file.stem,
        root=Path(os.path.abspath(path)),
        layout="medmnist",
        source=ArchiveSource(Path(os.path.abspath(file))),
        samples=samples,
        classes=tuple(sorted(names)),
        reason=f"{file.name} holds images and labels for {', '.join(parts)}"
        + ("; class names by its name" if known else "; class names not known"),
    )


def labels_of(file: Path, part: str) -> np.ndarray:
    """Int[N]: the labels of a part, one for each of its pictures.

    Raises:
        InputError: several labels a picture, no whole numbers, or not as many as pictures.
    """
    try:
        shape, pixels = header_of(file, f"{part}_images.npy")
        with np.load(file, allow_pickle=False) as archive:
            labels = archive[f"{part}_labels"]
    except ArchiveErrors as error:
        raise InputError(f"{file} is damaged or no NumPy archive: {error}") from error
    check_pictures(file, part, shape, pixels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputError(
            f"{file.name} gives a picture {labels.shape[1]} labels at once ({part}_labels is "
            f"{labels.shape[0]:,} × {labels.shape[1]}); medimg tells classes apart of which a "
            "picture has one",
            "ChestMNIST is such a set: cut a single question out of it first.",
        )
    labels = labels.reshape(-1)
    if labels.dtype.kind not in "iub" or len(labels) != shape[0] or (labels < 0).any():
        raise InputError(
            f"{file.name}: {part}_labels must hold a whole number from 0 for each of the "
            f"{shape[0]:,} pictures, not {len(labels):,} of type {labels.dtype}"
        )
    return labels.astype(np.int64)


def header_of(file: Path, member: str) -> tuple[tuple[int, ...], np.dtype]:
    """An array's shape and type, without unpacking it."""
    with zipfile.ZipFile(file) as archive, archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    return shape, dtype


def check_pictures(file: Path, part: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Fails unless the array holds pictures of one or three channels in 8 bits."""
    flat = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    if not flat or dtype != np.uint8:
        raise InputError(
            f"{file.name}: {part}_images is {' × '.join(map(str, shape))} of {dtype}; pictures are "
            "N × h × w or N × h × w × 3 of uint8",
            "The 3-D sets of MedMNIST are not read." if len(shape) >= 4 else "",
        )
