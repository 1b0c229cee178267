"""A dataset without the files in error: which stay, which go, and why in words."""

from __future__ import annotations

from collections.abc import Callable

from medimg.core.checking import CheckContext, grouped
from medimg.core.near_copies import keys_of
from medimg.core.types import Sample

# a file stands in evaluation for what training must not have seen: it is kept where it judges
KEPT_FIRST = {"test": 0, "val": 1, "train": 2, None: 3}
# errors that leaving files out mends
CLEANABLE = frozenset(
    {
        "unreadable",
        "truncated",
        "empty-file",
        "multi-frame",
        "decompression-bomb",
        "patient-leakage",
        "duplicates-across-splits",
        "duplicates-across-classes",
    }
)


def clean(context: CheckContext) -> tuple[list[Sample], list[str]]:
    """(samples without those in error, what was left out in words).

    Unreadable files go. Of copies in two classes all go, since one label is wrong. Of copies and
    of patients on two sides of the split only those of one side stay, test before val before
    train: evaluation stays as published.
    """
    kept = context.readable()
    picture = keys_of(kept, context.scan, context.near_copies)
    words = [left_out(len(context.index) - len(kept), "unreadable")]
    same = grouped(kept, lambda s: picture[s.path])
    ambiguous = {p for p, own in same.items() if len({s.label for s in own}) > 1}
    before = len(kept)
    kept = [s for s in kept if picture[s.path] not in ambiguous]
    words.append(left_out(before - len(kept), "in two classes"))
    kept, dropped = keep_one_side(kept, lambda s: picture[s.path])
    words.append(left_out(dropped, "copies of images that stand in evaluation"))
    kept, dropped = keep_one_side(kept, lambda s: s.group)
    words.append(left_out(dropped, "of patients who are in evaluation too"))
    return kept, [w for w in words if w]


def left_out(count: int, why: str) -> str:
    return f"{count} {why}" if count else ""


def keep_one_side(
    samples: list[Sample], key: Callable[[Sample], str | None]
) -> tuple[list[Sample], int]:
    """Samples whose key stands in one split alone: test before val before train."""
    side: dict[str, str | None] = {}
    for s in samples:
        k = key(s)
        if k is not None and (k not in side or KEPT_FIRST[s.split] < KEPT_FIRST[side[k]]):
            side[k] = s.split
    kept = [s for s in samples if (k := key(s)) is None or side[k] == s.split]
    return kept, len(samples) - len(kept)
