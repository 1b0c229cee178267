"""Titles and remarks above the header of a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from medimg.api import Finding, counted, is_image_name
from medimg.datasets._long_rows import trimmed

MOST_LINES, MOST_READ = 20, 50
NUMBER = re.compile(r"[-+]?[\d.,]+%?$")


def lines_above(text: str, delimiter_of: Callable[[str], str]) -> int:
    """How many lines stand above the header, where that is beyond doubt: each is a remark (`#`) or
    has one cell alone, at its beginning, and a row of headings follows that rows fit.

    >>> lines_above("My study,,\\nimage,label,age\\na.png,yes,50\\n", lambda text: ",")
    1
    """
    lines = [line.rstrip("\r\n") for line in islice(io.StringIO(text, newline=""), MOST_READ)]
    for place in range(min(MOST_LINES, len(lines))):
        delimiter = delimiter_of("\n".join(lines[place:]))
        rows = list(csv.reader(lines[place:], delimiter=delimiter))
        # a remark may hold as many delimiters as the table
        below = [row for row in rows[1:] if any(cell.strip() for cell in row)]
        if is_header(rows) and not (lines[place].startswith("#") and is_header(below)):
            return place
        if not is_remark(lines[place], delimiter):
            return 0
    return 0


def is_remark(line: str, delimiter: str) -> bool:
    """Whether a line is blank, begins with a hash or holds one cell."""
    cells = next(csv.reader([line], delimiter=delimiter), [])
    return line.startswith("#") or not any(cell.strip() for cell in cells[1:])


def is_header(rows: list[list[str]]) -> bool:
    """Whether the first row holds the headings of the others: two names at least, no values, none
    that stands below it again, and most rows have as many cells."""
    header = [cell.strip() for cell in trimmed(rows[0])] if rows else []
    body = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    if len(header) < 2 or not all(header) or not body:
        return False
    if any(is_image_name(cell) or NUMBER.match(cell) for cell in header):
        return False
    fitting = [row for row in body if len(row) in (len(header), len(rows[0]))]
    again = any(
        cell.strip() == name for row in fitting for cell, name in zip(row, header, strict=False)
    )
    return 2 * len(fitting) > len(body) and not again


def remarks_above(path: Path, text: str, lines: int) -> list[Finding]:
    """The information that lines were left out, where they say something."""
    above = enumerate(islice(io.StringIO(text, newline=""), lines), 1)
    said = [(number, line.strip(" ,;\t|\r\n")) for number, line in above]
    said = [(number, line) for number, line in said if line]
    if not said:
        return []
    return [
        Finding(
            "csv-encoding",
            "info",
            f"{counted(len(said), 'line')} above the header of {path.name} "
            f"{'is' if len(said) == 1 else 'are'} no part of the table and left out: "
            f"{said[0][1][:60]}",
            len(said),
            tuple({"file": path.name, "line": number} for number, _ in said),
            "If that is the header, give each column a name there.",
        )
    ]
