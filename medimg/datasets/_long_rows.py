"""Rows with more cells than the header: read where a way of reading them fits the table, else left
out and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medimg.api import Finding, InputError, counted, is_image_name
from medimg.core.index import MOST_ITEMS

Line = tuple[int, list[str]]
# a column whose values stand twice each on average, in so many rows, knows which ones it has
FEWEST_ROWS, MOST_DISTINCT = 4, 0.5
MOST_NAMED = 5
# where more of the rows than this can't be read, the table is not understood
MOST_LEFT_OUT = 0.05


def settled(
    path: Path, columns: int, body: Sequence[Line], delimiter: str
) -> tuple[list[Line], list[Finding]]:
    """The rows, none of them longer than the header, and warnings where one was.

    A row is too long because something stands behind its end, or because a cell that holds the
    delimiter has no quotes. Which of these it is, columns tell whose values stand again and again:
    what all ways of reading that fit them agree on is read, the rest is blank. A row that no way
    fits is left out: a label of its cells would be a guess.

    Raises:
        InputError: more than a few rows fit no way of reading.
    """
    body = [(line, trimmed(cells, columns)) for line, cells in body]
    if not any(len(cells) > columns for _, cells in body):
        return body, []
    whole = [cells for _, cells in body if len(cells) == columns]
    fits = known_values(whole, columns)
    read: list[Line] = []
    left_out: dict[int, list[str]] = {}
    uncertain: dict[int, bool] = {}
    for line, cells in body:
        if len(cells) > columns:
            ways = [way for way in readings(cells, columns, delimiter) if fitting(way, fits)]
            if not ways or not any(fits):
                left_out[line] = cells
                continue
            cells = agreed(ways)
            uncertain[line] = "" in cells
        read.append((line, cells))
    findings = [remark(path, columns, [*uncertain], sum(uncertain.values()))] if uncertain else []
    if left_out:
        if not few(len(left_out), len(body), len(whole)):
            first = next(iter(left_out.values()))
            raise too_long(path, columns, len(first), [*left_out], len(body))
        findings.append(not_read(path, columns, [*left_out]))
    return read, findings


def few(left_out: int, rows: int, whole: int) -> bool:
    """Whether rows are so few that the others are understood without them."""
    return left_out <= max(1, MOST_LEFT_OUT * rows) and whole >= FEWEST_ROWS


def trimmed(cells: list[str], columns: int = 0) -> list[str]:
    """Without the blank cells that spreadsheets write behind the last of so many columns."""
    while len(cells) > columns and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def known_values(
    whole: Sequence[Sequence[str]], columns: int
) -> list[Callable[[str], bool] | None]:
    """For each column whether a cell may stand in it, as the other rows have it; None where they
    do not tell."""
    if len(whole) < FEWEST_ROWS:
        return [None] * columns
    return [known_in([row[column].strip() for row in whole]) for column in range(columns)]


def known_in(cells: Sequence[str]) -> Callable[[str], bool] | None:
    counts = Counter(cell for cell in cells if cell)
    if counts and all(map(is_image_name, counts)):
        return lambda cell: is_image_name(cell.strip())
    if 0 < len(counts) <= MOST_DISTINCT * counts.total():
        values = set(cells)
        return lambda cell: cell.strip() in values
    return None


def readings(cells: Sequence[str], columns: int, delimiter: str) -> Iterator[list[str]]:
    """The ways of reading a long row: its end left out, or neighbours joined to one cell."""
    yield list(cells[:columns])
    more = len(cells) - columns + 1
    for place in range(columns):
        joined = delimiter.join(cells[place : place + more])
        yield [*cells[:place], joined, *cells[place + more :]]


def fitting(row: Sequence[str], fits: Sequence[Callable[[str], bool] | None]) -> bool:
    return all(fit is None or fit(cell) for cell, fit in zip(row, fits, strict=True))


def agreed(ways: Sequence[Sequence[str]]) -> list[str]:
    """What all ways of reading a row say, blank where they differ."""
    return [cells[0] if len(set(cells)) == 1 else "" for cells in zip(*ways, strict=True)]


def remark(path: Path, columns: int, lines: Sequence[int], uncertain: int) -> Finding:
    """The warning about rows that were read all the same."""
    rows = "1 row has" if len(lines) == 1 else f"{len(lines):,} rows have"
    blank = f"; in {counted(uncertain, 'row')} a cell is read as blank" if uncertain else ""
    return Finding(
        "csv-encoding",
        "warning",
        f"{rows} more cells than the header of {path.name} has columns ({columns}), the first in "
        f"line {lines[0]}: read as the other rows have it{blank}",
        len(lines),
        tuple({"file": path.name, "line": line} for line in lines[:MOST_ITEMS]),
        "A cell that holds the delimiter needs quotes round it; what stands behind the last column "
        "is not read.",
    )


def not_read(path: Path, columns: int, lines: Sequence[int]) -> Finding:
    """The warning about rows that were left out."""
    rows = "1 row has" if len(lines) == 1 else f"{len(lines):,} rows have"
    return Finding(
        "csv-encoding",
        "warning",
        f"{rows} more cells than the header of {path.name} has columns ({columns}), the first in "
        f"line {lines[0]}, and what is meant can't be told: left out",
        len(lines),
        tuple({"file": path.name, "line": line} for line in lines[:MOST_ITEMS]),
        "A cell that holds the delimiter needs quotes round it; until then the images of such rows "
        "have no label.",
    )


def too_long(path: Path, columns: int, cells: int, lines: Sequence[int], rows: int) -> InputError:
    """The error that rows can't be read for certain."""
    if columns == 1:
        return InputError(
            f"{path.name} line {lines[0]} has {cells} cells and the header 1",
            "The first line may be a title or a remark: the first line is to be the header.",
        )
    if len(lines) == rows:
        return InputError(
            f"{path.name}: every row has more cells ({cells}) than the header has columns "
            f"({columns})",
            "Give each column a name in the first line; row numbers need one too.",
        )
    named = ", ".join(map(str, lines[:MOST_NAMED]))
    more = f" and {len(lines) - MOST_NAMED:,} more" if len(lines) > MOST_NAMED else ""
    return InputError(
        f"{path.name}: {counted(len(lines), 'row has', 'rows have')} more cells than the header "
        f"has columns ({columns}), and what is meant can't be told: "
        f"line{'s' * (len(lines) > 1)} {named}{more}",
        "A cell that holds the delimiter needs quotes round it.",
    )
