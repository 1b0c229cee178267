"""Labels as cells hold them: plain, as a list in text, or two at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from medimg.api import UsageError
from medimg.datasets._table import Row, is_blank

BRACKETED = re.compile(r"[\[({].*[\])}]", re.DOTALL)
# separators that also stand inside names: two labels only where both stand alone elsewhere
SOFT_SEPARATOR = re.compile(r"\s*(?:[;,/+&]|\band\b)\s*")


def parts(cell: str) -> list[str]:
    """The labels in a cell.

    >>> parts("['N']"), parts("N"), parts(" "), parts("['N', 'D']"), parts("a|b")
    (['N'], ['N'], [], ['N', 'D'], ['a', 'b'])
    """
    text = cell.strip()
    if is_blank(text):
        return []
    if BRACKETED.fullmatch(text) and text[0] in "[{":
        return in_brackets(text)
    pieces = [p.strip() for p in text.split("|")]
    return [p for p in pieces if p] if len(pieces) > 1 else [text]


def in_brackets(text: str) -> list[str]:
    """The items of a list written as text, quoted or not."""
    try:
        items = ast.literal_eval(text)
        return [str(item).strip() for item in items if str(item).strip()]
    except (ValueError, SyntaxError, TypeError):
        inner = [item.strip(" \t\"'") for item in text[1:-1].split(",")]
        return [item for item in inner if item]


def read_labels(rows: Sequence[Row], columns: Sequence[str]) -> list[str | None]:
    """A label a row, None where the cell is blank.

    Raises:
        UsageError: a row has two labels; a picture must have one.
    """
    if len(columns) > 1:
        return [marked(row, columns) for row in rows]
    column = columns[0]
    found = [parts(row.cells.get(column, "")) for row in rows]
    known = {labels[0] for labels in found if len(labels) == 1}
    found = [apart(labels, known) for labels in found]
    several = [pair for pair in zip(rows, found, strict=True) if len(pair[1]) > 1]
    if several:
        raise two_labels(several, column)
    return whole_numbers([labels[0] if labels else None for labels in found])


def apart(labels: list[str], known: set[str]) -> list[str]:
    """The labels, one of them cut at `;` and the like where its pieces are labels by themselves."""
    if len(labels) != 1:
        return labels
    pieces = SOFT_SEPARATOR.split(labels[0])
    if len(pieces) > 1 and (";" in labels[0] or all(piece in known for piece in pieces)):
        return [piece for piece in pieces if piece]
    return labels


def two_labels(several: Sequence[tuple[Row, list[str]]], column: str) -> UsageError:
    """The error that names the first row with two labels."""
    row, labels = several[0]
    if set(labels) <= {"0", "1"}:
        return UsageError(
            f"{row.place()}: column {column!r} holds a list of 0 and 1, which names no class",
            "Take the column that names the class: -o label=COLUMN, or a class a column: "
            "-o label=COLUMN,COLUMN,…",
        )
    return UsageError(
        f"{row.place()} has {len(labels)} labels in column {column!r}: {' and '.join(labels)} "
        f"({len(several):,} such rows); an image must have one",
        "Take a column with one label a row: -o label=COLUMN, or leave those rows out.",
    )


def marked(row: Row, columns: Sequence[str]) -> str | None:
    """The one column of several that is 1 in a row; None where the row is blank there.

    Raises:
        UsageError: none or several are 1, or a cell is neither 0 nor 1.
    """
    cells = {c: row.cells.get(c, "").strip().removesuffix(".0") for c in columns}
    if all(is_blank(cell) for cell in cells.values()):
        return None
    odd = next(((c, v) for c, v in cells.items() if v not in ("0", "1")), None)
    if odd:
        raise UsageError(
            f"{row.place()}: column {odd[0]!r} holds {odd[1]!r}, not 0 or 1",
            "Several label columns must hold 0 and 1, one 1 a row.",
        )
    ones = [c for c, cell in cells.items() if cell == "1"]
    if len(ones) != 1:
        said = (
            f"{len(ones)} of the label columns marked ({', '.join(ones)})"
            if ones
            else ("none of the label columns marked")
        )
        raise UsageError(
            f"{row.place()} has {said}; an image must have one label",
            "Name a column that has one label a row: -o label=COLUMN",
        )
    return ones[0]


def whole_numbers(labels: list[str | None]) -> list[str | None]:
    """`1.0` as `1` where all labels are whole numbers: what blanks make of numbers elsewhere."""
    if all(label is None or re.fullmatch(r"-?\d+(\.0+)?", label) for label in labels):
        return [label.split(".")[0] if label else label for label in labels]
    return labels
