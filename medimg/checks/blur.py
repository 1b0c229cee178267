"""Pictures far less sharp than the rest"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.checks._outliers import odd_items, odd_ones
from medimg.core.scan import ScanRecord

# what is perfectly smooth has no logarithm
SMOOTHEST = 1e-4


def check(context: CheckContext, *, spreads: float = 4.0, factor: float = 1.5) -> list[Finding]:
    """A warning, by the dataset's own sharpness: a modality that is blurred by nature is silent.

    Args:
        spreads: robust standard deviations below the median, of the logarithm, that are far.
        factor: how many times less sharp than the median it has to be.
    """
    samples = [s for s in context.readable() if context.record(s).sharpness is not None]
    odd = odd_ones(context, samples, sharpness, spreads=spreads, least=factor, log=True)
    blurred = [o for o in odd if o.low]
    if not blurred:
        return []
    worst = blurred[0]
    subject = "1 image is" if len(blurred) == 1 else f"{len(blurred):,} images are"
    return [
        Finding(
            "blur",
            "warning",
            f"{subject} far less sharp than the rest: {worst.sample.path} has a sharpness of "
            f"{worst.value:.2g} (usually {worst.usual:.2g})",
            len(blurred),
            odd_items(context, blurred, sharpness=sharpness),
            "Moved, out of focus, or enlarged from a small picture? Look at them: "
            "medimg verify DATASET --only blur --html",
        )
    ]


def sharpness(record: ScanRecord) -> float:
    return max(record.sharpness or 0.0, SMOOTHEST)
