"""Metadata that may name a person: names, dates, numbers in EXIF, PNG, TIFF or DICOM fields"""

from __future__ import annotations

from collections import Counter

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import MOST_ITEMS, item


def check(context: CheckContext) -> list[Finding]:
    """A warning that names the fields; what stands in them is never copied into the report."""
    telling = [s for s in context.index.samples if context.record(s).private]
    if not telling:
        return []
    # the more an image says, the sooner it should be looked at
    telling.sort(key=lambda s: (-len(context.record(s).private), s.path))
    counts = Counter(name for s in telling for name in context.record(s).private)
    subject = "1 image carries" if len(telling) == 1 else f"{len(telling):,} images carry"
    return [
        Finding(
            "private-metadata",
            "warning",
            f"{subject} metadata that may identify a person: {listed(counts)}; "
            f"most in {telling[0].path}",
            len(telling),
            tuple(row(context, s) for s in telling[:MOST_ITEMS]),
            "Remove it from a copy before the files are passed on: exiftool -all= "
            "-tagsfromfile @ -orientation COPY (DICOM: a de-identification profile of PS3.15).",
        )
    ]


def listed(counts: Counter[str], most: int = 8) -> str:
    """`PatientName (12), Artist (3) and 2 more fields`."""
    shown = ", ".join(f"{name} ({n:,})" for name, n in counts.most_common(most))
    more = len(counts) - most
    return shown + (f" and {more} more field{'s' * (more > 1)}" if more > 0 else "")


def row(context: CheckContext, sample: Sample) -> dict[str, object]:
    return item(sample, fields=list(context.record(sample).private))
