"""Telling photographs from segmentation masks that share their names, by their pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medimg.api import MedimgError, UsageError

# a mask has a few values, a photograph hundreds
MASK_VALUES = 8
MASK_PAIRS = 20


def suffix(path: str) -> str:
    """A path's extension, small."""
    return PurePosixPath(path).suffix.lower()


def photograph_extension(base: Path, pairs: Sequence[tuple[str, ...]]) -> str:
    """Of images that share a name and differ in extension, the one whose pixels are no mask's.

    Looks at some twenty names at most.

    Raises:
        UsageError: pixels don't make it plain.
    """
    step = -(-len(pairs) // MASK_PAIRS)
    masks: dict[str, list[bool]] = defaultdict(list)
    for path in (path for paths in pairs[::step] for path in paths):
        masks[suffix(path)].append(is_mask(base / path))
    photographs = [kind for kind, found in masks.items() if not any(found)]
    others = [found for kind, found in masks.items() if kind not in photographs]
    if len(photographs) == 1 and all(all(found) for found in others):
        return photographs[0]
    raise UsageError(
        f"images share their names and differ in extension: {', '.join(pairs[0])} "
        f"({len(pairs):,} such)",
        f"Say which are meant: -o extension={min(suffix(path) for path in pairs[0])}",
    )


def is_mask(file: Path) -> bool:
    """Whether an image holds no more than a few values; False where it can't be read."""
    import numpy as np

    from medimg.api import decode

    try:
        pixels = decode(file.read_bytes())
    except (OSError, MedimgError, ValueError):
        return False
    colours = pixels.reshape(-1, pixels.shape[2] if pixels.ndim == 3 else 1)
    return len(np.unique(colours, axis=0)) <= MASK_VALUES
