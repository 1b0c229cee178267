"""Pictures far larger or smaller than the rest"""

from __future__ import annotations

from statistics import median

from medimg.api import CheckContext, Finding
from medimg.checks._outliers import odd_items, odd_ones
from medimg.core.scan import ScanRecord


def check(context: CheckContext, *, spreads: float = 5.0, factor: float = 2.0) -> list[Finding]:
    """A warning, by the dataset's own sizes: one of many sizes by nature has none that is odd.

    Args:
        spreads: robust standard deviations from the median that are far.
        factor: how many times larger or smaller than the median it has to be, by the side of a
            square of the same area.
    """
    samples = context.readable()
    odd = odd_ones(context, samples, side, spreads=spreads, least=factor, log=True)
    if not odd:
        return []
    records = [context.record(s) for s in samples]
    usual = f"{median(r.width for r in records):.0f}×{median(r.height for r in records):.0f}"
    worst = context.record(odd[0].sample)
    subject = "1 image is" if len(odd) == 1 else f"{len(odd):,} images are"
    return [
        Finding(
            "odd-size",
            "warning",
            f"{subject} far larger or smaller than the rest (usually {usual} pixels): "
            f"{odd[0].sample.path} has {worst.width}×{worst.height}",
            len(odd),
            odd_items(context, odd, width=lambda r: r.width, height=lambda r: r.height),
            "Crops, thumbnails, another device? Look at them: "
            "medimg verify DATASET --only odd-size --html",
        )
    ]


def side(record: ScanRecord) -> float:
    """Of a square of the same area, in pixels."""
    return float((record.width * record.height) ** 0.5)
