"""Images beside those that an index names: what it leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from medimg.api import is_image_name
from medimg.core.index import MEMBER
from medimg.datasets._tree import named_masks


def images_beside(base: Path, paths: Iterable[str]) -> list[str]:
    """The images in the folders of some others, masks left out; sorted.

    Folders are listed and not what lies in them: an index may lie beside the datasets it names.

    Args:
        base: what the paths are relative to.
    """
    named = set(paths)
    files = [path for path in named if MEMBER not in path]
    folders = sorted({os.path.dirname(path) for path in files})
    return [
        path
        for folder in folders
        for path in without_masks(listed(base, folder))
        if path not in named
    ]


def without_masks(paths: list[str]) -> list[str]:
    masks = named_masks(paths)
    return [path for path in paths if path not in masks]


def listed(base: Path, folder: str) -> list[str]:
    """The images in a folder; none where it can't be listed."""
    try:
        return sorted(image_paths(base, folder))
    except OSError:
        return []


def image_paths(base: Path, folder: str) -> Iterator[str]:
    with os.scandir(base / folder) as entries:
        for entry in entries:
            if is_image_name(entry.name) and not entry.is_dir():
                yield f"{folder}/{entry.name}" if folder else entry.name
