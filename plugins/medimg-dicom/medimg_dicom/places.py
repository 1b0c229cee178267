"""Class and split by the folders that files lie in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from medimg.api import UsageError, canonical_split, near_misses
from medimg_dicom.headers import Header


@dataclass(frozen=True, slots=True)
class Place:
    """What a file's folders say; `label` is None where it lies in no class folder."""

    label: str | None
    split: str | None = None


def places(paths: Iterable[str]) -> dict[str, Place]:
    """Path to place. Classes are the first folders side by side, below train, val and test.

    >>> places(["set/train/a/1", "set/train/b/p1/2", "set/test/a/3"])["set/train/b/p1/2"]
    Place(label='b', split='train')
    """
    folders = {path: tuple(path.split("/")[:-1]) for path in paths}
    depth = split_depth(list(folders.values()))
    tails: dict[str, tuple[str | None, tuple[str, ...]]]
    if depth is None:
        tails = {path: (None, parts) for path, parts in folders.items()}
    else:
        tails = {
            path: (split_at(parts, depth), parts[depth + 1 :]) for path, parts in folders.items()
        }
    start = class_depth([parts for split, parts in tails.values() if split or depth is None])
    return {
        path: Place(parts[start] if len(parts) > start else None, split)
        if split or depth is None
        else Place(None)
        for path, (split, parts) in tails.items()
    }


def split_at(parts: Sequence[str], depth: int) -> str | None:
    return canonical_split(parts[depth]) if len(parts) > depth else None


def split_depth(folders: Sequence[tuple[str, ...]]) -> int | None:
    """How deep folders called train, val and test lie, below folders that stand alone."""
    depth = 0
    while True:
        names = {parts[depth] for parts in folders if len(parts) > depth}
        if any(canonical_split(name) for name in names):
            return depth
        if len(names) != 1 or any(len(parts) == depth for parts in folders):
            return None
        depth += 1


def class_depth(folders: Sequence[tuple[str, ...]]) -> int:
    """How deep the first two folders side by side lie; 0 where there is only ever one."""
    depth = 0
    while True:
        names = {parts[depth] for parts in folders if len(parts) > depth}
        if len(names) >= 2:
            return depth
        if not names or any(len(parts) == depth for parts in folders):
            return 0
        depth += 1


def named_places(paths: Iterable[str], classes: Sequence[str]) -> dict[str, Place]:
    """Path to place, of the files below folders of these names at whatever depth.

    Raises:
        UsageError: a name that no folder has.
    """
    found: dict[str, Place] = {}
    known: set[str] = set()
    for path in paths:
        parts = path.split("/")[:-1]
        known |= set(parts)
        label = next((part for part in parts if part in classes), None)
        split = next((s for part in parts if (s := canonical_split(part))), None)
        found[path] = Place(label, split if label else None)
    for name in classes:
        if name not in known:
            raise UsageError(
                f"no folder of DICOM files is called {name!r}",
                near_misses(name, sorted(known)[:40]),
            )
    return found


def are_patients(headers: Mapping[str, Header], found: Mapping[str, Place]) -> bool:
    """Whether what looks like class folders is a folder a patient: each holds one patient, no
    patient is in two, and there are three at least or they are called after their patients."""
    inside: dict[str, set[str]] = defaultdict(set)
    for path, place in found.items():
        if place.label is not None:
            inside[place.label].add(headers[path].patient)
    patients = [next(iter(ids)) for ids in inside.values() if len(ids) == 1]
    if len(patients) < max(2, len(inside)) or "" in patients or len(set(patients)) < len(inside):
        return False
    return len(inside) >= 3 or all(name in ids for name, ids in inside.items())


def classes_inside(
    headers: Mapping[str, Header], found: Mapping[str, Place]
) -> tuple[list[str], list[str]] | None:
    """(folders taken for classes, folders in them) where each holds folders of the same names
    that could be the classes: `fold1/ILL`, `fold1/NORMAL`, `fold2/ILL`, `fold2/NORMAL`.

    Folders that hold one patient each wherever they stand are that patient's.
    """
    inside: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path, place in found.items():
        parts = path.split("/")[:-1]
        if place.label is None:
            continue
        below = parts[parts.index(place.label) + 1 :]
        if below and canonical_split(below[0]):
            below = below[1:]
        inside[place.label][below[0] if below else ""].add(headers[path].patient)
    names = {frozenset(inner) for inner in inside.values()}
    inner = sorted(next(iter(names), ()))
    if len(inside) < 2 or len(names) != 1 or len(inner) < 2 or "" in inner:
        return None
    patients = [set().union(*(own[name] for own in inside.values())) for name in inner]
    if all(len(ids) == 1 for ids in patients):
        return None
    return sorted(inside), inner
