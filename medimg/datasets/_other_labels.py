"""Columns beside the label's that look like labels too, and whether they say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from medimg.api import Finding, counted
from medimg.core.index import MOST_ITEMS
from medimg.datasets._columns import (
    LABEL_NAMES,
    Columns,
    few_values,
    one_hot_block,
    plain,
    quoted,
)
from medimg.datasets._labels import parts
from medimg.datasets._table import Row, Table

Says = Callable[[Row], frozenset[str]]


class Told(NamedTuple):
    """A row with its image and label, and what another column says of it."""

    row: Row
    path: str
    label: str
    said: frozenset[str]


def other_labels(
    table: Table,
    columns: Columns,
    rows: Sequence[Row],
    paths: Sequence[str],
    labels: Sequence[str | None],
) -> list[Finding]:
    """A finding for each column (or block of 0/1 columns) that could be the label as well.

    Information; a warning where it has the same classes and gives other ones to some images.
    Columns that say the same in other words (`dx`, `dx_id`) are no news.
    """
    taken = {columns.image, *columns.labels, columns.group or "", columns.split or ""}
    free = [c for c in table.columns if c not in taken and table.values(c)]
    classes = {label for label in labels if label is not None}
    block = one_hot_block(table, free)
    readings: list[tuple[list[str], Says]] = [(block, marked_in(block))] if block else []
    readings += [
        ([c], named_in(c)) for c in free if c not in block and could_be_label(table, c, classes)
    ]
    labelled = [
        (row, path, label)
        for row, path, label in zip(rows, paths, labels, strict=True)
        if label is not None
    ]
    found = []
    for names, says in readings:
        told = [Told(*one, said) for one in labelled if (said := says(one[0]))]
        if not same_in_other_words(told):
            found.append(finding(table, columns, names, told, classes))
    return found


def could_be_label(table: Table, column: str, classes: set[str]) -> bool:
    """Whether a column is called like a label, or holds classes and hardly anything else.

    A second reader may know a class more: at least two values are classes, and half of them all.
    """
    if plain(table.heading(column)) in LABEL_NAMES:
        return few_values(table, column)
    values = {part for cell in table.values(column) for part in parts(cell)}
    # 0 and 1 are anybody's
    known = values & classes - {"0", "1"}
    return len(known) >= 2 and 2 * len(known) > len(values)


def named_in(column: str) -> Says:
    def says(row: Row) -> frozenset[str]:
        found = parts(row.cells.get(column, ""))
        # `[1, 0, 0]` is one value, not two labels
        return frozenset([str(found)] if len(found) > 1 and {*found} <= {"0", "1"} else found)

    return says


def marked_in(columns: Sequence[str]) -> Says:
    return lambda row: frozenset(
        c for c in columns if row.cells.get(c, "").strip().removesuffix(".0") == "1"
    )


def same_in_other_words(told: Sequence[Told]) -> bool:
    """Whether each class has one value there, and each value one class."""
    pairs = {(one.label, one.said) for one in told}
    return len(pairs) == len({p[0] for p in pairs}) == len({p[1] for p in pairs})


def finding(
    table: Table,
    columns: Columns,
    names: list[str],
    told: Sequence[Told],
    classes: set[str],
) -> Finding:
    """What is said of one reading; the rows that say otherwise where the classes are the same."""
    vocabulary = set(names) if len(names) > 1 else {v for one in told for v in one.said}
    same_classes = classes <= vocabulary
    against = [one for one in told if same_classes and one.label not in one.said]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    text = (
        f"labels come from {', '.join(map(repr, columns.labels[:6]))} of {table.name}; "
        f"{', '.join(map(repr, names[:6]))}{more} could be labels too"
    )
    rows: list[Mapping[str, object]] = [{"column": name} for name in names]
    if against:
        first = against[0]
        text += (
            f" and say otherwise for {counted(len(against), 'image')} "
            f"({first.row.place()}: {first.label}, there {' and '.join(sorted(first.said))})"
        )
        rows = [
            {"file": one.path, "class": one.label, "says": sorted(one.said)}
            for one in against[:MOST_ITEMS]
        ]
    return Finding(
        "several-label-columns",
        "warning" if against else "info",
        text,
        len(against) or len(names),
        tuple(rows),
        hint_of(names, told),
    )


def hint_of(names: Sequence[str], told: Sequence[Told]) -> str:
    """How to read the other columns, where each image has one class in them."""
    several = next((one for one in told if len(one.said) > 1), None)
    if several is None:
        return f"If these are meant: -o label={quoted(','.join(names))}"
    return (
        f"They give some images several labels ({several.row.place()}: "
        f"{' and '.join(sorted(several.said))}), which medimg does not train on: make one column "
        "of them first, if they are meant."
    )
