"""Pictures that show nothing"""

from __future__ import annotations

import numpy as np

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import MOST_ITEMS, item
from medimg.core.scan import ScanRecord

# a dataset whose grey levels lie close together by nature is not blank
OF_THE_USUAL = 0.1


def check(context: CheckContext, *, spread: float = 2.0, share: float = 0.995) -> list[Finding]:
    """A warning: nearly all pixels have one grey level.

    The spread is taken from the dataset itself where that is lower: a tenth of its median.

    Args:
        spread: the largest standard deviation of a blank picture, in grey levels of 0 to 255.
        share: of pixels within four neighbouring grey levels, from which on a picture is blank.
    """
    blank = blank_ones(context, spread, share)
    if not blank:
        return []
    blank.sort(key=lambda s: (deviation(context.record(s)), s.path))
    subject = "1 image shows" if len(blank) == 1 else f"{len(blank):,} images show"
    return [
        Finding(
            "blank",
            "warning",
            f"{subject} nothing: nearly all pixels are alike, as in {blank[0].path}",
            len(blank),
            tuple(row(s, context.record(s)) for s in blank[:MOST_ITEMS]),
            "A label on an empty picture teaches nothing: fetch them again, or leave them out.",
        )
    ]


def row(sample: Sample, record: ScanRecord) -> dict[str, object]:
    return item(sample, std=round(deviation(record), 2), mean=round(record.mean or 0.0, 1))


def deviation(record: ScanRecord) -> float:
    return record.std or 0.0


def blank_ones(context: CheckContext, spread: float = 2.0, share: float = 0.995) -> list[Sample]:
    """The samples that show nothing, in their order."""
    samples = context.readable()
    if not samples:
        return []
    records = [context.record(s) for s in samples]
    deviations = np.array([deviation(r) for r in records])
    fullest = np.zeros(len(records))
    counted = [n for n, r in enumerate(records) if r.histogram is not None]
    if counted:
        bins = np.stack([np.asarray(records[n].histogram) for n in counted])
        fullest[counted] = bins.max(axis=1) / 65535
    limit = min(spread, OF_THE_USUAL * float(np.median(deviations)))
    blank = (deviations <= limit) | (fullest >= share)
    return [samples[n] for n in np.flatnonzero(blank)]


def filled_ones(context: CheckContext) -> list[Sample]:
    """The readable samples that show something; the others have a check of their own."""
    blank = {s.path for s in context.once(blank_ones)}
    return [s for s in context.readable() if s.path not in blank]
