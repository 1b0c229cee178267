"""Pictures far darker or brighter than the rest, or burnt out"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from medimg.api import CheckContext, Finding
from medimg.checks._outliers import Odd, odd_items, odd_ones
from medimg.checks.blank import filled_ones
from medimg.core.scan import ScanRecord

WHITE_BINS = 2  # of 64: grey levels from 248 on


def check(
    context: CheckContext, *, spreads: float = 4.0, factor: float = 2.5, white: float = 0.15
) -> list[Finding]:
    """Warnings, by the dataset's own brightness: a modality that is dark by nature is silent.

    Args:
        spreads: robust standard deviations from the median that are far.
        factor: how many times darker than the median a picture has to be, or nearer to white.
        white: by how much its share of white pixels has to exceed the median's, of 1.
    """
    far = partial(odd_ones, context, context.once(filled_ones), spreads=spreads)
    dark = [o for o in far(light, least=factor, log=True) if o.low]
    bright = [o for o in far(shade, least=factor, log=True) if o.low]
    burnt = [o for o in far(white_share, least=white) if not o.low]
    return [
        *told(context, dark, "far darker than the rest", "mean", mean),
        *told(context, bright, "far brighter than the rest", "mean", mean),
        *told(context, burnt, "burnt out: white over a large part", "white", white_share),
    ]


def told(
    context: CheckContext,
    odd: list[Odd],
    what: str,
    name: str,
    measure: Callable[[ScanRecord], float],
) -> list[Finding]:
    """The finding about one way of being odd; none where no image is."""
    if not odd:
        return []
    subject = "1 image is" if len(odd) == 1 else f"{len(odd):,} images are"
    return [
        Finding(
            "brightness",
            "warning",
            f"{subject} {what}: {odd[0].sample.path}",
            len(odd),
            odd_items(context, odd, **{name: measure}),
            "Wrongly exposed, windowed or inverted? Look at them: "
            "medimg verify DATASET --only brightness --html",
        )
    ]


def mean(record: ScanRecord) -> float:
    """Grey level, 0 to 255."""
    return record.mean or 0.0


def light(record: ScanRecord) -> float:
    """Mean grey level from black; ratios of it are what an eye calls darker."""
    return mean(record) + 1


def shade(record: ScanRecord) -> float:
    """Mean grey level from white."""
    return 256 - mean(record)


def white_share(record: ScanRecord) -> float:
    """Of the pixels, 0 to 1."""
    if record.histogram is None:
        return 0.0
    return sum(record.histogram[-WHITE_BINS:].tolist()) / 65535
