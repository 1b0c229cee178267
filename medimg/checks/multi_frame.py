"""Files with several pictures: animations and multi-page files"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import MOST_ITEMS, item


def check(context: CheckContext) -> list[Finding]:
    """A warning: only the first picture of an animation or of a multi-page TIFF is read."""
    several = [s for s in context.readable() if context.record(s).frames > 1]
    if not several:
        return []
    several.sort(key=lambda s: (-context.record(s).frames, s.path))
    most = context.record(several[0]).frames
    unread = sum(context.record(s).frames - 1 for s in several)
    subject = "1 file holds" if len(several) == 1 else f"{len(several):,} files hold"
    return [
        Finding(
            "multi-frame",
            "warning",
            f"{subject} several pictures, of which only the first is read ({unread:,} are not): "
            f"{several[0].path} has {most}",
            len(several),
            tuple(item(s, frames=context.record(s).frames) for s in several[:MOST_ITEMS]),
            "Is the first the one the label speaks of? Write the pictures wanted to files of "
            "their own, one patient's with one patient number.",
        )
    ]
