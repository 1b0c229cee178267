"""Pictures that look alike: saved anew, resized, or only similar"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import near_items


def check(context: CheckContext) -> list[Finding]:
    """A warning: confirmed copies within one class and part, and pairs that are not confirmed.

    Confirmed ones on two sides stand under `duplicates-across-splits` and `-classes`.
    """
    pairs = [
        pair
        for pair in context.near_copies
        if not pair.confirmed
        or (pair.first.label, pair.first.split) == (pair.second.label, pair.second.split)
    ]
    if not pairs:
        return []
    confirmed = sum(pair.confirmed for pair in pairs)
    return [
        Finding(
            "near-duplicates",
            "warning",
            f"{len(pairs)} pair{'s' * (len(pairs) != 1)} of pictures look alike: {confirmed} "
            f"nearly identical, {len(pairs) - confirmed} similar (correlation 0.99 and more)",
            len(pairs),
            near_items(pairs),
            "Look at them: the same scan twice, or neighbours of one series?",
        )
    ]
