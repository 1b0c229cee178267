"""Pictures that look alike: saved anew, resized, or only similar"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
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
    confirmed = sum(pair.confirmed for pair in pairs)
    subject = "1 pair of pictures looks" if len(pairs) == 1 else f"{len(pairs)} pairs look"
    found.append(
        Finding(
            "near-duplicates",
            "warning",
            f"{subject} alike: {confirmed} nearly identical, {len(pairs) - confirmed} similar "
            "(correlation 0.99 and more)",
            len(pairs),
            near_items(pairs, context),
            "Look at them: the same scan twice, or neighbours of one series?",
        )
    )
    return found


def told_elsewhere(context: CheckContext, pair: NearCopy) -> bool:
    """Whether one of the checks of copies on two sides names the pair."""
    samples = context.pictures_of(pair)
    return pair.confirmed and (
        apart(samples, lambda s: s.split) or apart(samples, lambda s: s.label)
    )
