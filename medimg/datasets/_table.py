"""Tables as people save them: any usual encoding, delimiter and line end, with a header or not."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from medimg.api import Finding, InputError, is_image_name
from medimg.core.index import INDEX_HEADER, MOST_ITEMS
from medimg.datasets._above_header import lines_above, remarks_above
from medimg.datasets._long_rows import settled

DELIMITERS = ",;\t|"
# Latin-1 with the printable characters that Windows put in its gaps
FALLBACK_ENCODING = "cp1252"
OWN_HEADER = ",".join(INDEX_HEADER).encode()
LOST = "\N{REPLACEMENT CHARACTER}"
# how the first byte of a UTF-8 letter looks in Latin-1, and what follows it
TWICE = re.compile("[\\u00c2-\\u00f4][^\\x00-\\x7f]")
# lines that a message lists
MOST_LINES = 5
BLANK = {"", "nan", "null", "n/a", "na", "<na>", "#n/a"}


@dataclass
class Row:
    """One row: its cells by column, its file and the line where it begins."""

    cells: dict[str, str]
    file: Path
    line: int
    split: str | None = None

    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.file.name} line {self.line}"


@dataclass
class Table:
    """One CSV file, or several put together.

    Args:
        headings: what the header calls a column, where it calls several so (`dx.1`, `dx.2`).
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    rows: list[Row]
    findings: list[Finding] = field(default_factory=list)
    headings: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return ", ".join(file.name for file in self.files)

    def heading(self, column: str) -> str:
        """What the header calls a column."""
        return self.headings.get(column, column)

    def called(self, heading: str) -> list[str]:
        """The columns that the header calls so, where there are several."""
        return [column for column, name in self.headings.items() if name == heading]

    def cells(self, column: str) -> list[str]:
        """A column's cells, blank where a row has none."""
        return [row.cells.get(column, "") for row in self.rows]

    def values(self, column: str) -> list[str]:
        """A column's distinct values that are not blank, the commonest first."""
        return [value for value, _ in self._counted(column).most_common()]

    def filled(self, column: str) -> int:
        """How many of a column's cells are not blank."""
        return self._counted(column).total()

    def _counted(self, column: str) -> Counter[str]:
        if column not in self._counts:
            counts: Counter[str] = Counter()
            for cell, times in Counter(self.cells(column)).items():
                if not is_blank(cell):
                    counts[cell.strip()] += times
            self._counts[column] = counts
        return self._counts[column]


def is_blank(cell: str) -> bool:
    """Whether a cell says nothing: empty, or what programs write for a missing value."""
    return cell.strip().lower() in BLANK


def read_table(path: Path) -> Table:
    """The table in a CSV file.

    Raises:
        InputError: it can't be read, is no text, has no rows, or more than a few rows are longer
            than the header and can't be read for certain.
    """
    text, findings = decoded(path)
    above = lines_above(text, delimiter_of)
    delimiter = delimiter_of("".join(islice(io.StringIO(text, newline=""), above, above + 50)))
    rows = parsed(path, text, delimiter, above)
    findings += remarks_above(path, text, above)
    if not rows:
        raise InputError(f"{path} is empty", "A table needs a header and a row an image.")
    header, *body = rows
    headings: dict[str, str] = {}
    if any(is_image_name(cell.strip()) for cell in header[1]):
        names = [f"column{i + 1}" for i in range(len(header[1]))]
        body = rows
    else:
        names, headings = distinct([cell.strip() for cell in header[1]])
    if not body:
        raise InputError(f"{path} has a header and no rows", "A table needs a row an image.")
    findings += short_rows(path, len(names), body)
    body, too_long = settled(path, len(names), body, delimiter)
    findings += too_long
    made = [Row(dict(zip(names, cells, strict=False)), path, line) for line, cells in body]
    table = Table((path,), tuple(names), made, findings)
    for heading in dict.fromkeys(headings.values()):
        join_equal(table, [c for c, name in headings.items() if name == heading], heading)
    table.findings += garbled(path, text, table.rows)
    return table


def short_rows(
    path: Path, columns: int, body: Sequence[tuple[int, Sequence[str]]]
) -> list[Finding]:
    """The warning that rows end before the last columns; what they lack is read as blank."""
    # a cell of several lines is a quotation mark that is not closed, which is told by itself
    lines = [
        line
        for line, cells in body
        if 1 < len(cells) < columns and not any("\n" in cell for cell in cells)
    ]
    # where all rows do so, the header has a column too many
    if not lines or len(lines) == len(body):
        return []
    rows = "1 row has" if len(lines) == 1 else f"{len(lines):,} rows have"
    return [
        Finding(
            "csv-encoding",
            "warning",
            f"{rows} fewer cells than the header of {path.name} has columns ({columns}), the first "
            f"in line {lines[0]}",
            len(lines),
            tuple({"file": path.name, "line": line} for line in lines[:MOST_ITEMS]),
            "What they lack is read as blank: see whether cells were lost.",
        )
    ]


def join_equal(table: Table, columns: Sequence[str], heading: str) -> None:
    """Makes columns with one heading one where all their cells are the same."""
    if len({tuple(table.cells(column)) for column in columns}) > 1:
        table.headings |= dict.fromkeys(columns, heading)
        return
    table.columns = tuple(
        heading if column == columns[0] else column
        for column in table.columns
        if column not in columns[1:]
    )
    for row in table.rows:
        found = [row.cells.pop(column) for column in columns if column in row.cells]
        row.cells |= dict.fromkeys([heading] * bool(found), found[0] if found else "")


def decoded(path: Path) -> tuple[str, list[Finding]]:
    """A file's text, and a finding where it is no UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}") from error
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), []
    if b"\0" in data[:4096]:
        raise InputError(f"{path} is no text file", "Save the table as CSV (UTF-8).")
    if data.startswith(OWN_HEADER):
        # what is no UTF-8 in it are bytes of file names, as the system gives them
        return data.decode("utf-8", errors="surrogateescape"), []
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
    mixed = line_by_line(path, data)
    if mixed:
        return mixed
    message = f"{path.name} is no UTF-8 (line {line}); it was read as Latin-1"
    hint = "Look whether names with accents are right; saving the table as UTF-8 settles it."
    where = {"file": path.name, "line": line}
    finding = Finding("csv-encoding", "info", message, 1, (where,), hint)
    return data.decode(FALLBACK_ENCODING, errors="replace"), [finding]


def line_by_line(path: Path, data: bytes) -> tuple[str, list[Finding]] | None:
    """The text where a few lines of a UTF-8 file are Latin-1, and their warning; else None.

    Letters of Latin-1 hardly ever make a line of UTF-8, so that one such line tells: the others
    are left as they are meant.
    """
    made: list[str] = []
    others: list[int] = []
    for number, line in enumerate(data.removeprefix(codecs.BOM_UTF8).splitlines(True), 1):
        try:
            made.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            made.append(line.decode(FALLBACK_ENCODING, errors="replace"))
            others.append(number)
    letters = sum(not line.isascii() for line in made) - len(others)
    if len(others) > letters:
        return None
    one = len(others) == 1
    shown = ", ".join(map(str, others[:MOST_LINES]))
    more = f" and {len(others) - MOST_LINES:,} more" if len(others) > MOST_LINES else ""
    finding = Finding(
        "csv-encoding",
        "warning",
        f"{path.name} is UTF-8 but for {len(others):,} line{'s' * (not one)}, read as Latin-1 "
        f"(line{'s' * (not one)} {shown}{more})",
        len(others),
        tuple({"file": path.name, "line": number} for number in others[:MOST_ITEMS]),
        "See whether the names there are right: one class or patient may be written in two ways.",
    )
    return "".join(made), [finding]


def garbled(path: Path, text: str, rows: Sequence[Row]) -> list[Finding]:
    """The warnings that letters were lost, or that UTF-8 was taken for Latin-1 on the way."""
    findings = []
    if LOST in text:
        line = next((r.line for r in rows if any(LOST in c for c in r.cells.values())), 1)
        message = f"{path.name} has letters that were lost when it was saved ({LOST}, line {line})"
        hint = "Export it again as UTF-8 from where it comes from."
        where = {"file": path.name, "line": line}
        findings.append(Finding("csv-encoding", "warning", message, 1, (where,), hint))
    if TWICE.search(text) is None:
        return findings
    for row in rows:
        broken = next(((c, whole) for c in row.cells.values() if (whole := mended(c))), None)
        if broken:
            message = (
                f"{path.name} was saved as UTF-8 twice "
                f"(line {row.line}: {broken[0]} is {broken[1]})"
            )
            hint = (
                "Export it again as UTF-8 from where it comes from: one class may have two names."
            )
            where = {"file": path.name, "line": row.line}
            findings.append(Finding("csv-encoding", "warning", message, 1, (where,), hint))
            break
    return findings


def mended(cell: str) -> str | None:
    """A cell whose UTF-8 bytes were read as Latin-1, as it was meant; None where it was not.

    >>> mended("neumonÃ­a"), mended("neumonía")
    ('neumonía', None)
    """
    if TWICE.search(cell) is None:
        return None
    for encoding in (FALLBACK_ENCODING, "latin-1"):
        try:
            return cell.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
    return None


def parsed(path: Path, text: str, delimiter: str, above: int = 0) -> list[tuple[int, list[str]]]:
    """(line, cells) of every row that is not empty; the line is where it begins.

    Args:
        above: lines to leave out before the header.
    """
    csv.field_size_limit(2**27)
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=delimiter)
    rows = []
    try:
        begins = 1
        for row in reader:
            if begins > above and any(cell.strip() for cell in row):
                rows.append((begins, row))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path.name} line {reader.line_num} is no CSV: {error}") from error
    return rows


def delimiter_of(text: str) -> str:
    """The character between cells: the one that cuts the first rows into equally many.

    >>> delimiter_of("id;age;text\\n1;3,5;a, b, c\\n")
    ';'
    """
    head = "\n".join(text.splitlines()[:50])

    def evenness(delimiter: str) -> tuple[float, int]:
        rows = [r for r in csv.reader(io.StringIO(head), delimiter=delimiter) if r]
        widths = Counter(len(row) for row in rows)
        header = len(rows[0]) if rows else 0
        return (widths[header] / len(rows) if header > 1 else 0.0), header

    return max(DELIMITERS, key=lambda d: (*evenness(d), -DELIMITERS.index(d)))


def distinct(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Headings made different, and what those were called that stood several times.

    >>> distinct(["x", "", "x"])
    (['x.1', 'column2', 'x.2'], {'x.1': 'x', 'x.2': 'x'})
    """
    whole = [name or f"column{i + 1}" for i, name in enumerate(names)]
    times = Counter(whole)
    taken = {name for name in whole if times[name] == 1}
    result: list[str] = []
    headings: dict[str, str] = {}
    for name in whole:
        made, number = name, 0
        while times[name] > 1 and (made == name or made in taken):
            number += 1
            made = f"{name}.{number}"
        taken.add(made)
        result.append(made)
        if made != name:
            headings[made] = name
    return result, headings


def joined(tables: Sequence[Table]) -> Table:
    """Several tables put together: a column that one of them lacks is blank there."""
    if len(tables) == 1:
        return tables[0]
    return Table(
        tuple(file for t in tables for file in t.files),
        tuple(dict.fromkeys(name for t in tables for name in t.columns)),
        [row for t in tables for row in t.rows],
        [finding for t in tables for finding in t.findings],
        {column: name for t in tables for column, name in t.headings.items()},
    )
