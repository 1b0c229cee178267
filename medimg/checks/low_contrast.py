"""Pictures far flatter than the rest"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.checks._outliers import odd_items, odd_ones
from medimg.checks.blank import filled_ones
from medimg.core.scan import ScanRecord


def check(context: CheckContext, *, spreads: float = 4.5, factor: float = 1.5) -> list[Finding]:
    """A warning, by the dataset's own contrast: grey levels between the 1st and 99th percentile.

    Args:
        spreads: robust standard deviations below the median that are far.
        factor: how many times fewer grey levels than the median it has to have.
    """
    samples = context.once(filled_ones)
    odd = odd_ones(context, samples, levels, spreads=spreads, least=factor, log=True)
    flat = [o for o in odd if o.low]
    if not flat:
        return []
    worst = flat[0]
    subject = "1 image is" if len(flat) == 1 else f"{len(flat):,} images are"
    return [
        Finding(
            "low-contrast",
            "warning",
            f"{subject} far flatter than the rest: {worst.sample.path} spans "
            f"{worst.value:.0f} grey levels (usually {worst.usual:.0f})",
            len(flat),
            odd_items(context, flat, contrast=levels),
            "Wrongly windowed, or a photograph of a film? Look at them: "
            "medimg verify DATASET --only low-contrast --html",
        )
    ]


def levels(record: ScanRecord) -> float:
    """Grey levels from the 1st to the 99th percentile, both counted, so that none is 0."""
    return record.percentiles[-1] - record.percentiles[0] + 1
