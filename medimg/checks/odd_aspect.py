"""Pictures far wider or narrower than the rest"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.checks._outliers import odd_items, odd_ones
from medimg.core.scan import ScanRecord


def check(context: CheckContext, *, spreads: float = 5.0, factor: float = 1.5) -> list[Finding]:
    """A warning, by the dataset's own ratios of width to height.

    Args:
        spreads: robust standard deviations from the median that are far.
        factor: how many times wider or narrower than the median it has to be.
    """
    odd = odd_ones(context, context.readable(), ratio, spreads=spreads, least=factor, log=True)
    if not odd:
        return []
    worst = context.record(odd[0].sample)
    subject = "1 image has" if len(odd) == 1 else f"{len(odd):,} images have"
    return [
        Finding(
            "odd-aspect",
            "warning",
            f"{subject} another shape than the rest (width / height is usually "
            f"{odd[0].usual:.2f}): {odd[0].sample.path} has {worst.width}×{worst.height}",
            len(odd),
            odd_items(context, odd, aspect=ratio),
            "Lying on their side, cut off, or no picture of the same kind? Resizing to a square "
            "distorts them; --set odd-aspect.factor=… says how much is odd.",
        )
    ]


def ratio(record: ScanRecord) -> float:
    return record.width / record.height
