"""The images of two versions of a dataset: added, removed, changed, labelled otherwise, renamed."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

# written by verify beside its report
FILE = "images.csv"
FIELDS = ("path", "label", "group", "split", "sha256")
MOST_NAMED = 1000
# files without a byte are alike and no copies
EMPTY = hashlib.sha256(b"").hexdigest()
# how an image that is in both may differ, and the field that tells
MOVES = {
    "relabelled": "label",
    "other_part": "split",
    "other_patient": "group",
    "renamed": "path",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as verify saw it; `sha256` is empty where it could not be read."""

    path: str
    label: str
    group: str
    split: str
    sha256: str

    @property
    def content(self) -> str:
        """What tells the picture again: its hash, its path where it has none to tell."""
        return f"path {self.path}" if self.sha256 in ("", EMPTY) else self.sha256


def read_images(folder: Path) -> list[Listed] | None:
    """The images of a verify report; None where an older one lists none."""
    try:
        with (folder / FILE).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [Listed(*(row[name] for name in FIELDS)) for row in csv.DictReader(file)]
    except (OSError, KeyError, csv.Error):
        return None


def matched(
    old: Sequence[Listed], new: Sequence[Listed]
) -> tuple[list[tuple[Listed, Listed]], list[Listed], list[Listed]]:
    """(pairs of the same picture, those of the old alone, those of the new alone).

    The same picture is the same bytes: under the same path where there are several copies.
    """
    waiting: dict[str, list[Listed]] = defaultdict(list)
    for image in new:
        waiting[image.content].append(image)
    pairs, gone = [], []
    # copies that kept their path are not to be taken by others
    kept = {(image.content, image.path) for image in new}
    for image in sorted(old, key=lambda i: (i.content, i.path) not in kept):
        there = waiting[image.content]
        if not there:
            gone.append(image)
            continue
        same = next((i for i in there if i.path == image.path), there[0])
        there.remove(same)
        pairs.append((image, same))
    return pairs, gone, [image for rest in waiting.values() for image in rest]


def images_changed(
    pairs: Sequence[tuple[Listed, Listed]], gone: Sequence[Listed], fresh: Sequence[Listed]
) -> dict[str, dict[str, Any]]:
    """`{added, removed, changed, relabelled, other_part, other_patient, renamed}`, each
    `{count, items}`; what there is none of is left out."""
    both = {image.path for image in gone} & {image.path for image in fresh}
    rows: dict[str, list[dict[str, str]]] = {
        "added": [{"file": i.path, "class": i.label} for i in fresh if i.path not in both],
        "removed": [{"file": i.path, "class": i.label} for i in gone if i.path not in both],
        "changed": [{"file": path} for path in both],
    }
    for name, field in MOVES.items():
        values = [(now.path, getattr(was, field), getattr(now, field)) for was, now in pairs]
        # where one version knows no patients, or no parts, nothing moved
        known = all(any(side) for side in zip(*(v[1:] for v in values), strict=True))
        rows[name] = [
            {"file": path, "before": before, "now": now}
            for path, before, now in values
            if known and before != now
        ]
    return {
        name: {"count": len(found), "items": sorted(found, key=lambda r: r["file"])[:MOST_NAMED]}
        for name, found in rows.items()
        if found
    }


class Names:
    """What files of one version are called in the other.

    Args:
        called: path here to path there, of the images that are in both.
    """

    def __init__(self, called: Mapping[str, str]) -> None:
        self.called = called
        folders: dict[str, Counter[str]] = defaultdict(Counter)
        for here, there in called.items():
            folders[parent(here)][parent(there)] += 1
        # what is no image goes with the folder that it lies in
        self.folders = {f: found.most_common(1)[0][0] for f, found in folders.items()}

    def of(self, path: str) -> str:
        if path in self.called:
            return self.called[path]
        folder = self.folders.get(parent(path))
        return path if folder is None else str(PurePosixPath(folder) / PurePosixPath(path).name)

    def item(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """An item of a finding with its files as the other version calls them."""
        told = dict(row)
        if "file" in told:
            told["file"] = self.of(str(told["file"]))
        if "files" in told:
            told["files"] = [self.of(str(path)) for path in told["files"]]
        return told


def parent(path: str) -> str:
    return PurePosixPath(path).parent.as_posix()
