"""Files whose content is another format than their name says"""

from __future__ import annotations

from collections import Counter

from medimg.api import CheckContext, Finding, Sample
from medimg.core.checking import MOST_ITEMS, item

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".pgm": "PNM",
    ".ppm": "PNM",
    ".pbm": "PNM",
    ".pnm": "PNM",
    ".dcm": "DICOM",
}


def check(context: CheckContext) -> list[Finding]:
    """A warning: programs that trust the name will refuse such a file or leave it out."""
    wrong = [s for s in context.readable() if contradicts(context, s)]
    if not wrong:
        return []
    kinds = Counter((suffix(s.path), context.record(s).format) for s in wrong)
    told = ", ".join(f"{n:,} {end} are {kind}" for (end, kind), n in kinds.most_common())
    subject = "1 file is" if len(wrong) == 1 else f"{len(wrong):,} files are"
    return [
        Finding(
            "wrong-extension",
            "warning",
            f"{subject} of another format than the name says ({told}), the first {wrong[0].path}",
            len(wrong),
            tuple(item(s, format=context.record(s).format) for s in wrong[:MOST_ITEMS]),
            "medimg goes by the content; other programs may not. Rename them.",
        )
    ]


def suffix(path: str) -> str:
    """The file's ending in lower case with its dot, empty where it has none."""
    base = path.rpartition("/")[2]
    return "." + base.rpartition(".")[2].lower() if "." in base else ""


def contradicts(context: CheckContext, sample: Sample) -> bool:
    """Whether name and content name two formats; unknown endings name none."""
    said, found = FORMATS.get(suffix(sample.path)), context.record(sample).format
    return said is not None and found in FORMATS.values() and said != found
