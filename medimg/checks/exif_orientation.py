"""Pictures stored lying down, with a note to turn them"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import MOST_ITEMS, item

TURNED = {
    2: "mirrored",
    3: "upside down",
    4: "mirrored upside down",
    5: "mirrored on its left side",
    6: "on its left side",
    7: "mirrored on its right side",
    8: "on its right side",
}


def check(context: CheckContext) -> list[Finding]:
    """A warning: medimg heeds the EXIF orientation, other programs may show them lying down."""
    turned = [s for s in context.readable() if context.record(s).orientation != 1]
    if not turned:
        return []
    subject = "1 image is" if len(turned) == 1 else f"{len(turned):,} images are"
    first = context.record(turned[0]).orientation
    return [
        Finding(
            "exif-orientation",
            "warning",
            f"{subject} stored turned or mirrored, with an EXIF note that says so: "
            f"{turned[0].path} is stored {TURNED.get(first, 'turned')}",
            len(turned),
            tuple(item(s, orientation=context.record(s).orientation) for s in turned[:MOST_ITEMS]),
            "medimg turns them upright, other programs may not: write the pixels upright "
            "(exiftran -ai, or mogrify -auto-orient) before results are compared.",
        )
    ]
