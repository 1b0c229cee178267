"""Pictures whose names don't say so: told by their first bytes, and that they are not read."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from medimg.api import Finding
from medimg.core.index import MOST_ITEMS
from medimg.datasets._tree import JUNK_FOLDERS, Tree

# first bytes to format and the extension that says so
SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", "PNG", ".png"),
    (b"II*\0", "TIFF", ".tif"),
    (b"MM\0*", "TIFF", ".tif"),
    (b"GIF8", "GIF", ".gif"),
)
# what is put behind a name that was whole; other words of letters say what a file is
SAID_OF_ANY_FILE = {".bak", ".bin", ".download", ".file", ".old", ".orig", ".part", ".tmp"}


def tell_nameless_pictures(root: Path, tree: Tree) -> None:
    """Takes pictures without an image's extension from the strays, and adds the warning of them."""
    formats = {path: kind for path in tree.strays if (kind := format_of(root, path))}
    if not formats:
        return
    tree.strays = [path for path in tree.strays if path not in formats]
    tree.findings.append(nameless_finding(formats))


def format_of(root: Path, path: str) -> str | None:
    """The format of a picture whose name does not say that it is one; None for other files."""
    parts = path.split("/")
    left_by_programs = any(p.startswith((".", "~$")) or p in JUNK_FOLDERS for p in parts)
    if left_by_programs or says_what_it_is(parts[-1]):
        return None
    try:
        # a pipe or a device would be waited for without end
        if not (root / path).is_file():
            return None
        with (root / path).open("rb") as stream:
            begin = stream.read(8)
    except OSError:
        return None
    return next((kind for first, kind, _ in SIGNATURES if begin.startswith(first)), None)


def says_what_it_is(name: str) -> bool:
    """Whether a name ends in a word for a kind of file.

    >>> [says_what_it_is(n) for n in ("notes.txt", "IM0001", "1.2.840.113", "a.jpg.bak")]
    [True, False, False, False]
    """
    suffix = os.path.splitext(name)[1].lower()
    return suffix[1:].isalpha() and suffix not in SAID_OF_ANY_FILE


def nameless_finding(formats: dict[str, str]) -> Finding:
    """The warning about pictures that no program takes for one."""
    kinds = Counter(formats.values()).most_common()
    one = len(formats) == 1
    told = ", ".join(f"{n:,} {kind}" for kind, n in kinds)
    ends = {kind: end for _, kind, end in SIGNATURES}
    return Finding(
        "wrong-extension",
        "warning",
        f"{len(formats):,} file{'s' * (not one)} without an image's extension "
        f"{'is a picture' if one else 'are pictures'} all the same ({told}) and "
        f"{'is' if one else 'are'} not read, the first {next(iter(formats))}",
        len(formats),
        tuple({"file": path, "format": kind} for path, kind in list(formats.items())[:MOST_ITEMS]),
        f"Let their names end in {' or '.join(sorted({ends[kind] for kind, _ in kinds}))} if they "
        "belong to the dataset.",
    )
