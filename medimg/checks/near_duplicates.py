"""Pictures that look alike: saved anew, resized, or only similar"""

from __future__ import annotations

from collections.abc import Callable

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import apart, near_items
from medimg.core.near_copies import CONFIRMED, DISTANCE_BITS, NearCopy


def check(
    context: CheckContext,
    *,
    distance: int = DISTANCE_BITS,
    correlation: float = CONFIRMED,
    mirror: bool = False,
) -> list[Finding]:
    """A warning: confirmed copies within one class and part, and pairs that are not confirmed.

    Confirmed ones on two sides stand under `duplicates-across-splits` and `-classes`, for which
    these parameters count too.

    Args:
        distance: bits of 64 in which the hashes of two candidates may differ, 0 to 12.
        correlation: of aligned pixels, from which a pair is confirmed.
        mirror: whether mirror images count as copies.
    """
    pairs = [pair for pair in context.near_copies if not told_elsewhere(context, pair)]
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
    if not pairs:
        return found
    confirmed, moved = sum(p.confirmed for p in pairs), [p for p in pairs if p.moved]
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
    subject = "1 pair of pictures looks" if len(pairs) == 1 else f"{len(pairs)} pairs look"
    found.append(
        Finding(
            "near-duplicates",
            "warning",
            f"{subject} alike: {confirmed} nearly identical{crops}, "
            f"{len(pairs) - confirmed - len(moved)} similar (correlation 0.99 and more)",
            len(pairs),
            near_items(pairs, context),
            "Look at them (medimg verify DATASET --html): the same scan twice, a crop of it, or "
            "neighbours of one series?",
        )
    )
    return found


def across(
    context: CheckContext, pairs: list[NearCopy], side: Callable[[Sample], str | None]
) -> int:
    """How many pairs stand on two sides of something."""
    return sum(apart(context.pictures_of(pair), side) for pair in pairs)


def told_elsewhere(context: CheckContext, pair: NearCopy) -> bool:
    """Whether one of the checks of copies on two sides names the pair."""
    samples = context.pictures_of(pair)
    return pair.confirmed and (
        apart(samples, lambda s: s.split) or apart(samples, lambda s: s.label)
    )
