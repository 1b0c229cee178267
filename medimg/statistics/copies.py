"""Copies of one picture are no independent images: what is drawn together because of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def joined(groups: Sequence[Any] | None, contents: Sequence[str]) -> list[Any] | None:
    """The unit of each image where some pictures stand there more than once.

    Images of one patient are one unit, and so are copies of one picture; patients who share a
    picture are one unit too.

    Args:
        groups: the patient of each image (None: unknown); None where patients are unknown.
        contents: the hash of each picture; empty where it is not known.
    Returns:
        a number an image; None where copies change nothing: there are none, or they lie within
        patients.

    >>> joined(None, ["a", "b", "a"]), joined(["p", "p", "q"], ["a", "a", "b"])
    ([0, 1, 0], None)
    """
    unit = list(range(len(contents)))

    def root(place: int) -> int:
        while unit[place] != place:
            unit[place] = unit[unit[place]]
            place = unit[place]
        return place

    first: dict[Any, int] = {}
    for place in range(len(contents)):
        if groups is not None and groups[place] is not None:
            key = ("patient", groups[place])
            unit[root(place)] = root(first.setdefault(key, place))
    before = len({root(place) for place in range(len(contents))})
    for place, digest in enumerate(contents):
        if digest:
            unit[root(place)] = root(first.setdefault(("picture", digest), place))
    roots = [root(place) for place in range(len(contents))]
    if len(set(roots)) == before:
        return None
    number: dict[int, int] = {}
    return [number.setdefault(place, len(number)) for place in roots]


def by_picture(told: Any) -> Any:
    """The same results where units are pictures and patients are unknown: their methods and
    reasons say so."""
    if isinstance(told, Mapping):
        return {
            key: as_pictures(value)
            if key in ("method", "reason", "suppressed") and isinstance(value, str)
            else by_picture(value)
            for key, value in told.items()
        }
    return told


def as_pictures(text: str) -> str:
    return text.replace("patient", "picture")
