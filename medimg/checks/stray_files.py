"""Files beside the images that are no images"""

from __future__ import annotations

from medimg.api import CheckContext, Finding


def check(context: CheckContext) -> list[Finding]:
    """Information: `.DS_Store`, `Thumbs.db`, `__MACOSX`, notes. They are never read as images."""
    strays = context.index.strays
    if not strays:
        return []
    return [
        Finding(
            "stray-files",
            "info",
            f"{len(strays)} file{'s' * (len(strays) != 1)} beside the images "
            f"{'is' if len(strays) == 1 else 'are'} no image, the first {strays[0]}",
            len(strays),
            tuple({"file": path} for path in strays[:1000]),
        )
    ]
