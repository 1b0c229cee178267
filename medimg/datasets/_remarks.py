"""What there is to say about a table: rows without an image, two labels for one, blanks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from medimg.api import Finding, Sample, counted
from medimg.core.index import MOST_ITEMS, files
from medimg.datasets._masks import MASK_VALUES, suffix
from medimg.datasets._table import Row, Table


def missing_files(table: Table, column: str, missing: Sequence[Row]) -> Finding:
    """Rows that name no image that is there."""
    cells = [row.cells.get(column, "").strip().split("\n")[0] for row in missing]
    places = zip(cells, missing, strict=True)
    return Finding(
        "csv-missing-files",
        "warning",
        f"{len(missing):,} of {counted(len(table.rows), 'row')} of {table.name} "
        f"{'names' if len(missing) == 1 else 'name'} no image that is there "
        f"({missing[0].place()}: {cells[0] or 'blank'})",
        len(missing),
        tuple({"file": cell, "line": row.line} for cell, row in islice(places, MOST_ITEMS)),
        "If they lie elsewhere: -o images=FOLDER",
    )


def masks_left_out(masks: Sequence[str], extension: str) -> Finding:
    """Files that share an image's name and were taken for its mask."""
    kinds = sorted({suffix(path) for path in masks})
    files_of = f"{' and '.join(kinds)} file"
    return Finding(
        "stray-files",
        "info",
        f"{counted(len(masks), f'{files_of} is', f'{files_of}s are')} called like an image "
        f"{extension}: taken for masks (at most {MASK_VALUES} values) and left out",
        len(masks),
        files(masks),
        f"If they are the images: -o extension={kinds[0]}",
    )


def duplicate_rows(table: Table, copies: Mapping[str, int]) -> Finding:
    """Images with more rows than one that say the same."""
    more = sum(copies.values()) - len(copies)
    return Finding(
        "csv-duplicate-rows",
        "warning",
        f"{counted(len(copies), 'image stands', 'images stand')} in more than one row of "
        f"{table.name} ({counted(more, 'row')} too many): {next(iter(copies))}",
        more,
        tuple({"file": path, "copies": n} for path, n in islice(copies.items(), MOST_ITEMS)),
    )


def two_labels(table: Table, labels: Mapping[str, Sequence[str]]) -> Finding:
    """Images that two rows give two labels."""
    path, found = next(iter(labels.items()))
    return Finding(
        "csv-contradictions",
        "error",
        f"{counted(len(labels), 'image has', 'images have')} two labels in {table.name} and "
        f"{'was' if len(labels) == 1 else 'were'} left out: "
        f"{path} is {' and '.join(found)}",
        len(labels),
        tuple({"file": p, "classes": list(f)} for p, f in islice(labels.items(), MOST_ITEMS)),
        "Settle which label is right, and keep one row an image.",
    )


def two_patients(table: Table, paths: Sequence[str]) -> Finding:
    """Images that two rows give to two patients or splits."""
    return Finding(
        "csv-contradictions",
        "error",
        f"{counted(len(paths), 'image has', 'images have')} two patients or splits in "
        f"{table.name} and {'was' if len(paths) == 1 else 'were'} left out: "
        f"{paths[0]}",
        len(paths),
        files(paths),
        "Settle which is right, and keep one row an image.",
    )


def blank_labels(columns: Sequence[str], unlabelled: Sequence[Sample]) -> Finding:
    """Images whose label is blank."""
    return Finding(
        "missing-labels",
        "warning",
        f"{counted(len(unlabelled), 'image has', 'images have')} a blank in "
        f"{' and '.join(map(repr, columns[:3]))} and "
        f"{'is' if len(unlabelled) == 1 else 'are'} left unlabelled: {unlabelled[0].path}",
        len(unlabelled),
        files(sample.path for sample in unlabelled),
        "They are never trained on; give them a label or leave them.",
    )


def unlisted_files(table: Table, paths: Sequence[str], own: bool) -> Finding:
    """Images without a row.

    Args:
        own: whether medimg wrote the table, which leaves out what is in error.
    """
    lie = "lies" if len(paths) == 1 else "lie"
    beside = f" that {lie} beside those of the index" if own else ""
    return Finding(
        "csv-unlisted-files",
        "info",
        f"{counted(len(paths), 'image')}{beside} {'has' if len(paths) == 1 else 'have'} no row in "
        f"{table.name}: {paths[0]}",
        len(paths),
        files(paths),
        "The index leaves them out: they are not read, and nothing is said about them."
        if own
        else "They have no label and are not read.",
    )


def swallowed(rows: Sequence[Row], lines: int) -> Finding:
    """A quotation mark that is not closed: the rows up to the next one are one cell."""
    return Finding(
        "csv-encoding",
        "error",
        f"a quotation mark is not closed: {counted(lines, 'line')} "
        f"{'is' if lines == 1 else 'are'} swallowed by one cell ({rows[0].place()})",
        len(rows),
        tuple({"file": row.file.name, "line": row.line} for row in rows[:MOST_ITEMS]),
        "Close it, or take it away; a mark inside a cell is written twice.",
    )


def garbled_classes(table: Table, names: Sequence[str]) -> Finding:
    """Classes whose names hang on a guessed encoding."""
    return Finding(
        "csv-encoding",
        "warning",
        f"{counted(len(names), 'class has a name', 'classes have names')} with letters that hang "
        f"on the encoding, which was guessed: {', '.join(names[:6])}",
        len(names),
        tuple({"file": table.name, "class": name} for name in names[:MOST_ITEMS]),
        "If these look wrong, save the table as UTF-8.",
    )
