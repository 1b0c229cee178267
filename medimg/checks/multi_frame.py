"""Files with several pictures: animations and multi-page files"""

from __future__ import annotations

from medimg.api import CheckContext, Finding
from medimg.core.checking import MOST_ITEMS, item, unreadable_by_kind


def check(context: CheckContext) -> list[Finding]:
    """A warning: only the first picture of an animation or of a multi-page TIFF is read; an error
    where a plugin reads none of a file's frames."""
    none_read = unreadable_by_kind(
        context,
        "multi-frame",
        ("holds", "hold"),
        "several frames, of which none is read",
        "Write the frames that are meant to files of their own.",
    )
    several = [s for s in context.readable() if context.record(s).frames > 1]
    if not several:
        return none_read
    several.sort(key=lambda s: (-context.record(s).frames, s.path))
    most = context.record(several[0]).frames
    unread = sum(context.record(s).frames - 1 for s in several)
    subject = "1 file holds" if len(several) == 1 else f"{len(several):,} files hold"
    return [
        *none_read,
        Finding(
            "multi-frame",
            "warning",
            f"{subject} several pictures, of which only the first is read ({unread:,} are not): "
            f"{several[0].path} has {most}",
            len(several),
            tuple(item(s, frames=context.record(s).frames) for s in several[:MOST_ITEMS]),
            "Is the first the one the label speaks of? Write the pictures wanted to files of "
            "their own, one patient's with one patient number.",
        ),
    ]
