"""What a call raised."""

from __future__ import annotations

from collections.abc import Callable


def raised(call: Callable[[], object]) -> Exception | None:
    """What a call raised; None where it did not."""
    try:
        call()
    except Exception as error:  # whatever it is, the caller judges it
        return error
    return None
