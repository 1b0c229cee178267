"""A reader pointed one level of folders too high or too low"""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.api import CheckContext, DatasetIndex, Finding, counted
from medimg.core.images import is_image_name
from medimg.core.index import canonical_split, guess_positive

if TYPE_CHECKING:
    from medimg.core.registry import DatasetCard

NAME = "wrong-level"
MOST_CLASSES = 20
# what a folder of the well is called, and hardly any other folder
WELL = {"benign", "healthy", "negative", "normal", "normals"}
# folders above the one given that may tell what it is
ABOVE = 3


def check(context: CheckContext) -> list[Finding]:
    """A warning that says where the classes, or the other parts, really are."""
    index = context.index
    return [
        *one_class(index, context.card),
        *several_datasets(index),
        *inside_a_part(index),
        *inside_a_class(index, context.card),
        *inside_a_patient(index),
    ]


def command(index: DatasetIndex, place: Path | None = None, classes: str = "") -> str:
    """The command that reads a place, or this one by other classes."""
    target = shlex.quote(str(place)) if place else "DATASET"
    return f"medimg verify {target}" + (
        f" -o {shlex.quote(f'classes={classes}')}" if classes else ""
    )


# -- too high --------------------------------------------------------------------------------------


def one_class(index: DatasetIndex, card: DatasetCard | None) -> list[Finding]:
    """One class whose folder holds the class folders, or lies beside or below them."""
    present = [name for name, n in index.class_counts().items() if n]
    if len(present) != 1:
        return []
    (label,) = present
    known = f"; {card.title} has {', '.join(card.classes)}" if card else ""
    depth, names = deeper_classes(index, label, card)
    if names:
        levels = "one level" if depth == 0 else f"{depth + 1} levels"
        message = f"one class was read, {label}, and {levels} below it lie {', '.join(names)}"
        rows = tuple({"class": name, "levels_down": depth + 1} for name in names)
        hint = f"Read these as the classes: {command(index, classes=','.join(names))}"
        return [Finding(NAME, "warning", message + known, len(rows), rows, hint)]
    if card is None or card.canonical(label) is not None:
        return []
    message = f"one class was read, {label}{known}"
    hint = (
        "Point medimg at the folder that holds the class folders, or name them: "
        f"{command(index, classes=card.options.get('classes', ','.join(card.classes)))}"
    )
    return [Finding(NAME, "warning", message, 1, ({"class": label},), hint)]


def deeper_classes(
    index: DatasetIndex, label: str, card: DatasetCard | None
) -> tuple[int, list[str]]:
    """(depth, names) of the folders below a class that are the classes: the card's, else the
    first that stand side by side; no names where there are none."""
    below = sorted(folders_below(index, label).items())
    if card is not None:
        for depth, names in below:
            fitting = sorted(name for name in names if card.canonical(name))
            if {card.canonical(name) for name in fitting} >= set(card.classes):
                return depth, fitting
        return 0, []
    for depth, names in below:
        if 2 <= len(names) <= MOST_CLASSES:
            return depth, sorted(names)
    return 0, []


def folders_below(index: DatasetIndex, label: str) -> dict[int, set[str]]:
    """Names of the folders in a class's folder by depth, of images that lie so deep."""
    below: dict[int, set[str]] = defaultdict(set)
    for sample in index.samples:
        folders = sample.path.split("/")[:-1]
        after = folders.index(label) + 1 if label in folders else 0
        for depth, name in enumerate(folders[after:]):
            below[depth].add(name)
    return below


def several_datasets(index: DatasetIndex) -> list[Finding]:
    """Classes whose folders are datasets of their own: train and test, or sick and well."""
    trees: dict[str, list[list[str]]] = defaultdict(list)
    for sample in index.samples:
        folders = sample.path.split("/")[:-1]
        if folders and sample.label == folders[0]:
            trees[folders[0]].append(folders[1:])
    cut = [name for name, ways in trees.items() if has_parts(ways)]
    paired = [name for name, ways in trees.items() if has_classes(ways)]
    found = sorted({*cut, *paired}) if cut or len(paired) > 1 else []
    if not found:
        return []
    subject = f"{found[0]} looks like a dataset" if len(found) == 1 else (
        f"{len(found)} of the {len(trees)} classes look like datasets of their own"
    )  # fmt: skip
    return [
        Finding(
            NAME,
            "warning",
            f"{subject} ({', '.join(found[:6])}): the folder given lies above "
            f"{'it' if len(found) == 1 else 'them'}",
            len(found),
            tuple({"class": name, "file": name} for name in found),
            f"Point medimg at one: {command(index, index.root / found[0])}"
            + ("" if cut else ". If they are patients: --layout patient"),
        )
    ]


def has_parts(ways: list[list[str]]) -> bool:
    """Whether folders named like parts lie below, each part with two folders or more in it."""
    inside: dict[str, set[str]] = defaultdict(set)
    for way in ways:
        for name, following in zip(way, way[1:], strict=False):
            split = canonical_split(name)
            if split:
                inside[split].add(following)
    return any(len(names) > 1 for names in inside.values())


def has_classes(ways: list[list[str]]) -> bool:
    """Whether its first level of more than one folder says sick and well."""
    for depth in range(3):
        names = {way[depth] for way in ways if len(way) > depth}
        if len(names) > 1:
            return guess_positive(names) is not None
    return False


# -- too low ---------------------------------------------------------------------------------------


def inside_a_part(index: DatasetIndex) -> list[Finding]:
    """The folder given is a part, and others stand beside it."""
    own = canonical_split(index.root.name)
    if own is None or index.splits() or not index.root.is_dir():
        return []
    parent = index.root.parent
    others = [
        folder
        for folder in folders_in(parent)
        if canonical_split(folder.name) not in (None, own)
        and any(inner.name in index.classes for inner in folders_in(folder))
    ]
    if not others:
        return []
    names = " and ".join(folder.name for folder in others)
    return [
        Finding(
            NAME,
            "warning",
            f"{index.root.name} is one part of a dataset, and {names} "
            f"{'stands' if len(others) == 1 else 'stand'} beside it",
            len(others),
            tuple({"file": f"../{folder.name}"} for folder in others),
            f"To check them together: {command(index, parent)}",
        )
    ]


def inside_a_class(index: DatasetIndex, card: DatasetCard | None) -> list[Finding]:
    """The folder given is that of a class, or lies in one, and other classes stand beside it."""
    told = card is None and (index.splits() or guess_positive(index.classes) is not None)
    if told or not index.root.is_dir():
        return []
    here = index.root
    for _ in range(ABOVE):
        beside = class_beside(here, card)
        if beside is not None:
            return [
                Finding(
                    NAME,
                    "warning",
                    f"the folder given is the class {here.name}, or lies in it, and "
                    f"{beside.name} stands beside it",
                    1,
                    ({"file": os.path.relpath(beside, index.root)},),
                    "Point medimg at the folder above: "
                    f"{command(index, here.parent, f'{here.name},{beside.name}')}",
                )
            ]
        here = here.parent
    return []


def inside_a_patient(index: DatasetIndex) -> list[Finding]:
    """The folder given is that of one patient."""
    if index.groups() != (index.root.name,):
        return []
    others = [f for f in folders_in(index.root.parent) if f.name != index.root.name]
    if not others:
        return []
    return [
        Finding(
            NAME,
            "warning",
            f"the folder given is that of one patient, {index.root.name}, and "
            f"{counted(len(others), 'folder stands', 'folders stand')} beside it",
            1,
            ({"patient": index.root.name},),
            f"Point medimg at the folder above: {command(index, index.root.parent)}",
        )
    ]


def class_beside(folder: Path, card: DatasetCard | None) -> Path | None:
    """The folder beside one that is the other class: by its card, or one of them is called well."""
    own = card.canonical(folder.name) if card else None
    for other in folders_in(folder.parent):
        if other.name == folder.name or canonical_split(other.name):
            continue
        by_card = card is not None and own and card.canonical(other.name) not in (None, own)
        well = {folder.name.lower(), other.name.lower()} & WELL
        if (by_card or (card is None and well)) and holds_image(other):
            return other
    return None


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder; none where it can't be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                folder / e.name for e in entries if not e.name.startswith(".") and e.is_dir()
            )
    except OSError:
        return []


def holds_image(folder: Path, files: int = 1000) -> bool:
    """Whether an image lies below, among the first so many files."""
    seen = 0
    for _, _, names in os.walk(folder):
        if any(is_image_name(name) for name in names):
            return True
        seen += len(names)
        if seen > files:
            return False
    return False
