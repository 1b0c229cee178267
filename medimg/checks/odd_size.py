"""Pictures far larger or smaller than the rest, or of hardly a pixel"""

from __future__ import annotations

from statistics import median

from medimg.api import CheckContext, Finding, Sample
from medimg.checks._outliers import FEWEST, odd_items, odd_ones
from medimg.core.checking import items
from medimg.core.scan import ScanRecord


def check(
    context: CheckContext, *, pixels: int = 8, spreads: float = 5.0, factor: float = 2.0
) -> list[Finding]:
    """A warning, by the dataset's own sizes: one of many sizes by nature has none that is odd.

    Args:
        pixels: of the shorter side, below which a picture shows nothing whatever the others are.
        spreads: robust standard deviations from the median that are far.
        factor: how many times larger or smaller than the median it has to be, by the side of a
            square of the same area.
    """
    samples = context.readable()
    small = [s for s in samples if min(size_of(context.record(s))) < pixels]
    if small and len(samples) < FEWEST:
        return of_tiny(context, small, pixels)
    odd = odd_ones(context, samples, side, spreads=spreads, least=factor, log=True)
    named = {one.sample.path for one in odd}
    tiny = of_tiny(context, [s for s in small if s.path not in named], pixels)
    if not odd:
        return tiny
    records = [context.record(s) for s in samples]
    usual = f"{median(r.width for r in records):.0f}×{median(r.height for r in records):.0f}"
    worst = context.record(odd[0].sample)
    subject = "1 image is" if len(odd) == 1 else f"{len(odd):,} images are"
    return [
        *tiny,
        Finding(
            "odd-size",
            "warning",
            f"{subject} far larger or smaller than the rest (usually {usual} pixels): "
            f"{odd[0].sample.path} has {worst.width}×{worst.height}",
            len(odd),
            odd_items(context, odd, width=lambda r: r.width, height=lambda r: r.height),
            "Crops, thumbnails, another device? Look at them: "
            "medimg verify DATASET --only odd-size --html",
        ),
    ]


def of_tiny(context: CheckContext, tiny: list[Sample], pixels: int) -> list[Finding]:
    """The warning about pictures that have hardly a pixel, as others have too."""
    if not tiny:
        return []
    width, height = size_of(context.record(tiny[0]))
    subject = "1 image has" if len(tiny) == 1 else f"{len(tiny):,} images have"
    return [
        Finding(
            "odd-size",
            "warning",
            f"{subject} fewer than {pixels} pixels on a side: {tiny[0].path} has {width}×{height}",
            len(tiny),
            items(tiny),
            "Thumbnails, markers or failed crops? Fetch the pictures, or leave these out.",
        )
    ]


def size_of(record: ScanRecord) -> tuple[int, int]:
    return record.width, record.height


def side(record: ScanRecord) -> float:
    """Of a square of the same area, in pixels."""
    return float((record.width * record.height) ** 0.5)
