"""Pictures that look alike: saved anew, resized, or only similar"""

from __future__ import annotations

from collections.abc import Callable

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import apart, near_items
from medimg.core.near_copies import CONFIRMED, DISTANCE_BITS, NearCopy

PAGE = "medimg verify DATASET --html"


def check(
    context: CheckContext,
    *,
    distance: int = DISTANCE_BITS,
    correlation: float = CONFIRMED,
    mirror: bool = False,
    look_alikes: float = 3.0,
) -> list[Finding]:
    """A warning: confirmed copies within one class and part, and pairs that are not confirmed.

    Confirmed ones on two sides stand under `duplicates-across-splits` and `-classes`, for which
    these parameters count too. Pairs that only look alike are information where many more pairs
    look nearly as alike: copies stand out, look-alikes are the end of a long row.

    Args:
        distance: bits of 64 in which the hashes of two candidates may differ, 0 to 12.
        correlation: of aligned pixels, from which a pair is confirmed.
        mirror: whether mirror images count as copies.
        look_alikes: pairs of correlation 0.98 to 0.99 for each of 0.99 and more that is not
            confirmed, from which those count as the modality's nature (of pictures smaller than 64
            pixels 0.96 to 0.97: recompressed or halved ones reach no more; `correlation=0.95` finds
            most of the rest).
    """
    elsewhere = context.once(told_elsewhere)
    pairs = [
        pair
        for pair in context.near_copies
        if not (pair.confirmed and pair.first.path in elsewhere)
    ]
    found = []
    if context.near_search.not_searched:
        found.append(
            Finding(
                "near-duplicates",
                "info",
                context.near_search.not_searched,
                hint="Copies that are identical in every pixel are found all the same.",
            )
        )
    copies = [pair for pair in pairs if pair.confirmed or pair.moved]
    similar = [pair for pair in pairs if not (pair.confirmed or pair.moved)]
    if copies:
        found.append(of_copies(context, copies))
    if similar:
        found.append(of_similar(context, similar, look_alikes))
    return found


def of_copies(context: CheckContext, pairs: list[NearCopy]) -> Finding:
    """About pairs that lie on each other, as they are or once moved."""
    moved = [pair for pair in pairs if pair.moved]
    sides = [
        f"{count} of them {where}"
        for where, count in (
            ("in two classes", across(context, moved, lambda s: s.label)),
            ("on two sides of the split", across(context, moved, lambda s: s.split)),
        )
        if count
    ]
    crops = f", {len(moved)} once moved by a few pixels" if moved else ""
    crops += f" ({', '.join(sides)})" if sides else ""
    still = len(pairs) - len(moved)
    return Finding(
        "near-duplicates",
        "warning",
        f"{subject(pairs)} like the same picture: {still} nearly identical{crops}",
        len(pairs),
        near_items(pairs, context),
        f"Look at them ({PAGE}): the same scan twice, a crop of it, or neighbours of one series?",
    )


def of_similar(context: CheckContext, pairs: list[NearCopy], look_alikes: float) -> Finding:
    """About pairs that no moving makes copies of."""
    beside = context.near_search.look_alikes
    by_nature = beside >= look_alikes * len(pairs)
    # rounded down
    least = int(min(pair.correlation for pair in pairs) * 100) / 100
    return Finding(
        "near-duplicates",
        "info" if by_nature else "warning",
        f"{subject(pairs)} alike, but not confirmed as copies (correlation {least:.2f} and more)"
        + (f"; {beside:,} more are nearly so, as such pictures are by nature" if by_nature else ""),
        len(pairs),
        near_items(pairs, context),
        f"Look at some of them ({PAGE})."
        if by_nature
        else f"Look at them ({PAGE}): the same patient twice, or only alike?",
    )


def subject(pairs: list[NearCopy]) -> str:
    return "1 pair looks" if len(pairs) == 1 else f"{len(pairs):,} pairs look"


def across(
    context: CheckContext, pairs: list[NearCopy], side: Callable[[Sample], str | None]
) -> int:
    """How many pairs stand on two sides of something."""
    return sum(apart(context.pictures_of(pair), side) for pair in pairs)


def told_elsewhere(context: CheckContext) -> set[str]:
    """Paths of the copies that the checks of copies on two sides name."""
    return {
        s.path
        for group in context.copy_groups()
        if apart(group, lambda s: s.split) or apart(group, lambda s: s.label)
        for s in group
    }
