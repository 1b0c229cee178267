"""What a picture is stored as: its mode, and whether its colours are any."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medimg.api import CheckContext, Sample
from medimg.checks.blank import blank_ones
from medimg.core.scan import ScanRecord

GREY_AS_RGB = "grey stored as RGB"
NAMES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "RGB": "colour",
    "RGBA": "colour with transparency",
    "P": "palette",
    "CMYK": "CMYK",
}
GREY_NAMES = {"RGB": GREY_AS_RGB, "RGBA": "grey stored as RGBA", "P": "grey stored as palette"}


def kinds(context: CheckContext, samples: Sequence[Sample]) -> list[str]:
    """What each of N readable pictures is stored as, in words.

    Blank ones, which are grey in any modality, count as the others of their mode mostly do.
    """
    blank = {s.path for s in context.once(blank_ones)}
    records = [context.record(s) for s in samples]
    filled = [record for s, record in zip(samples, records, strict=True) if s.path not in blank]
    commonest = Counter((record.mode, kind(record)) for record in filled).most_common()
    # rarest first, so that the commonest of a mode stays
    usual = {mode: name for (mode, name), _ in reversed(commonest)}
    return [
        usual.get(r.mode, kind(r)) if s.path in blank else kind(r)
        for s, r in zip(samples, records, strict=True)
    ]


def kind(record: ScanRecord) -> str:
    """What a picture is stored as, in words."""
    mode, _, depth = record.mode.partition(";")
    names = NAMES | (GREY_NAMES if record.grey else {})
    name = names.get(mode, mode or "unknown")
    return f"{depth}-bit {name}" if depth else name
