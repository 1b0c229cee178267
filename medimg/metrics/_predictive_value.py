"""Shares of what was called positive, or negative, that are so."""

from __future__ import annotations

from medimg.core.scored import Array, Value, ratio_or_zero, where_defined


def predictive_value(
    right: Array, wrong: Array, positive: Array, negative: Array, of: str
) -> Value:
    """right / (right + wrong), Float[...] each, in a part that holds both classes.

    Where all images are positive, or all negative, it is 0 or 1 whatever the model answers, which
    says nothing about the model: undefined.

    Args:
        positive, negative: images of each class.
        of: what the images are called, in words.
    """
    found = where_defined(
        ratio_or_zero(right, right + wrong), positive > 0, "no positive image in this part"
    )
    found = where_defined(found, negative > 0, "no negative image in this part")
    return where_defined(found, right + wrong > 0, f"no image was called {of}")
