"""Tables for a terminal whose columns are classes: turned on their side where they are too wide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDEST = 100
LONGEST_NAME = 40


def narrow_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], left: int = 0) -> str:
    """A table of rows that begin with their name; each column a row where it would be too wide.

    Args:
        left: how many of the first columns stand left.
    """
    from tabulate import tabulate

    sides = ["left"] * left + ["right"] * (len(headers) - left)
    text = tabulate(rows, headers=headers, disable_numparse=True, colalign=sides)
    if max(map(len, text.splitlines())) <= WIDEST:
        return text
    turned = [
        [shortened(name, LONGEST_NAME), *cells] for name, *cells in zip(headers, *rows, strict=True)
    ]
    first, *others = turned
    sides = ["left"] + ["right"] * (len(first) - 1)
    return tabulate(others, headers=list(map(str, first)), disable_numparse=True, colalign=sides)


def shortened(name: str, most: int = 20) -> str:
    """A name's beginning and end: long names often differ in their last letters.

    >>> shortened("squamous_cell_carcinoma_grade_2")
    'squamous_c…a_grade_2'
    """
    head = most // 2
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"
