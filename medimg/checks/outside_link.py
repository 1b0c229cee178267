"""Symbolic links that leave the dataset's folder"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from medimg.api import CheckContext, Finding
from medimg.core.checking import MOST_ITEMS
from medimg.core.index import MEMBER


def check(context: CheckContext) -> list[Finding]:
    """A warning: what lies elsewhere is missing where the folder is copied or packed.

    Only links are looked at; a table may name files elsewhere in plain words.
    """
    root = getattr(context.index.source, "root", None)
    samples = (*context.index.samples, *context.index.unlabelled)
    paths = [s.path for s in samples if MEMBER not in s.path]
    if root is None or not paths:
        context.not_applicable("the images are no files in a folder")
    way_out = way_outside(str(root))
    behind: dict[str, int] = {}
    for path in dict.fromkeys(paths):
        link = way_out(path)
        if link is not None:
            behind[link] = behind.get(link, 0) + 1
    return finding(behind, str(root)) if behind else []


def finding(behind: dict[str, int], root: str) -> list[Finding]:
    """The warning, of link to how many images lie behind it."""
    rows = sorted(behind.items(), key=lambda row: (-row[1], row[0]))
    images = sum(behind.values())
    lie = "1 image lies" if images == 1 else f"{images:,} images lie"
    links = "a symbolic link" if len(rows) == 1 else f"{len(rows):,} symbolic links"
    return [
        Finding(
            "outside-link",
            "warning",
            f"{lie} outside the dataset's folder, behind {links}: {rows[0][0]}",
            images,
            tuple(row(root, link, count) for link, count in rows[:MOST_ITEMS]),
            "Copy the files into the folder (cp -rL), or they are missing wherever it is taken.",
        )
    ]


def row(root: str, link: str, images: int) -> dict[str, Any]:
    return {"file": link, "target": os.readlink(os.path.join(root, link)), "images": images}


def way_outside(root: str) -> Callable[[str], str | None]:
    """From a path in the folder to the first link on its way that leaves it, None without one."""
    # the folder itself may well be reached through a link
    home = os.path.join(os.path.realpath(root), "")

    def leaves(path: str) -> str | None:
        full = os.path.realpath(os.path.join(root, path))
        return None if os.path.join(full, "").startswith(home) else path

    @cache
    def links_in(folder: str) -> frozenset[str]:
        # a listing tells the links of a whole folder without a look at each file
        try:
            with os.scandir(os.path.join(root, folder)) as listing:
                return frozenset(entry.name for entry in listing if entry.is_symlink())
        except OSError:
            return frozenset()

    @cache
    def folder_leaves(folder: str) -> str | None:
        if folder in ("", "/") or folder.endswith(".."):
            return None
        return way_out(folder)

    def way_out(path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        if os.path.isabs(path):
            return None
        return folder_leaves(folder) or (leaves(path) if name in links_in(folder) else None)

    return way_out
