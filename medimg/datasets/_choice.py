"""Which tables in a folder to read: the only one, one a split, or the one that fits best."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from medimg.api import (
    Finding,
    InputError,
    MedimgError,
    UsageError,
    canonical_split,
    counted,
)
from medimg.core.index import files, listed
from medimg.datasets._columns import Columns, choose_image
from medimg.datasets._pictures import Pictures
from medimg.datasets._table import Row, Table, joined, read_table

TABLE_SUFFIXES = (".csv", ".tsv")
# where medimg itself writes tables that name images
OWN_FOLDERS = {"runs", "medimg-demo"}
MOST_TABLES = 20


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder; where it holds none, those one level down."""
    here, inner = listing(folder)
    if here:
        return here
    return [table for one in inner if one.name not in OWN_FOLDERS for table in listing(one)[0]]


def listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """(tables, folders) in a folder, hidden ones left out; nothing where it can't be listed."""
    tables, inner = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "__")):
                    continue
                if entry.name.lower().endswith(TABLE_SUFFIXES) and entry.is_file():
                    tables.append(folder / entry.name)
                elif entry.is_dir():
                    inner.append(folder / entry.name)
    except OSError:
        return [], []
    return sorted(tables), sorted(inner)


def tables_named(path: Path, base: Path, options: Mapping[str, str]) -> list[Path]:
    """The tables to read: those named by `labels`, the file given, or what lies in the folder."""
    if "labels" in options:
        wanted = options["labels"]
        single = at(base, wanted)
        return [single] if single else [table_named(base, name) for name in listed(wanted)]
    if path.is_file():
        return [path]
    found = tables_in(path)
    if not found:
        raise InputError(f"no CSV file in {path}", "Name it: -o labels=FILE.csv")
    return found


def at(base: Path, name: str) -> Path | None:
    """A file or folder as seen from the dataset, else from here."""
    return next((p for p in (base / name, Path(name)) if p.exists()), None)


def table_named(base: Path, name: str) -> Path:
    """A table by name."""
    found = at(base, name)
    if found is None:
        near = ", ".join(f.name for f in tables_in(base)) or "none"
        raise InputError(
            f"the table {name} does not exist (in {base}: {near})",
            "Name one that does: -o labels=FILE.csv",
        )
    return found


def images_folder(base: Path, options: Mapping[str, str]) -> Path:
    """The folder to look for images in."""
    if "images" not in options:
        return base
    found = at(base, options["images"])
    if found is None or not found.is_dir():
        raise InputError(
            f"the images folder {options['images']} does not exist",
            "Give -o images=FOLDER relative to the dataset, or an absolute path.",
        )
    return found


def choose_tables(found: Sequence[Path], pictures: Pictures, options: Mapping[str, str]) -> Table:
    """The table to read: the only one, one a split put together, or the one that fits best.

    Raises:
        UsageError: several could be it.
    """
    if len(found) > MOST_TABLES:
        raise UsageError(f"{len(found)} CSV files in {pictures.base}", "Say which: -o labels=FILE")
    if len(found) == 1:
        return read_table(found[0])
    splits = {file: split_of(file) for file in found}
    by_split = [file for file, split in splits.items() if split]
    if len(by_split) >= 2 and len({splits[f] for f in by_split}) == len(by_split):
        return one_a_split(by_split, splits, [f for f in found if f not in by_split])
    if "labels" in options:
        return joined([read_table(file) for file in found])
    return best_table([read_table(file) for file in found], pictures, options)


def split_of(file: Path) -> str | None:
    """The split that a file's name tells.

    >>> split_of(Path("RFMiD_Training_Labels.csv")), split_of(Path("labels.csv"))
    ('train', None)
    """
    words = {canonical_split(word) for word in re.split(r"[^A-Za-z]+", file.stem) if word}
    words.discard(None)
    return words.pop() if len(words) == 1 else None


def one_a_split(
    by_split: Sequence[Path], splits: Mapping[Path, str | None], others: Sequence[Path]
) -> Table:
    """Tables called train, val and test put together, each row with its split."""
    tables = [read_table(file) for file in by_split]
    for table in tables:
        for row in table.rows:
            row.split = splits[row.file]
    table = joined(tables)
    if others:
        names = ", ".join(file.name for file in others)
        were = "was" if len(others) == 1 else "were"
        message = f"{names} {were} not read: {table.name} hold the splits"
        items = files(f.name for f in others)
        table.findings.append(Finding("stray-files", "info", message, len(others), items))
    return table


def best_table(tables: Sequence[Table], pictures: Pictures, options: Mapping[str, str]) -> Table:
    """Of several tables, the only one that names images; or, where their rows about the images
    that are there agree, the one with the fewest rows without an image."""
    seen: list[tuple[Table, dict[str, Row], int]] = []
    for table in tables:
        try:
            image, _ = choose_image(table, pictures, options)
        except MedimgError:
            continue
        rows = {
            m.paths[0]: row
            for row in table.rows
            if (m := pictures.find(row.cells.get(image, ""), row.split))
        }
        if rows:
            seen.append((table, rows, len(table.rows) - len(rows)))
    if not seen:
        choose_image(tables[0], pictures, options)  # says what is missing
        raise InputError(f"no table in {pictures.base} names an image", "Name it: -o labels=FILE")
    most = max(len(rows) for _, rows, _ in seen)
    table, rows, without = min((s for s in seen if len(s[1]) == most), key=lambda s: s[2])
    for other, theirs, _ in seen:
        if other is not table and not agree(rows, theirs):
            names = ", ".join(t.name for t, _, _ in seen)
            raise UsageError(
                f"several CSV files in {pictures.base} name images: {names}",
                f"Say which: -o labels={table.name}",
            )
    if len(seen) > 1:
        others = ", ".join(f"{t.name} ({missing:,})" for t, _, missing in seen if t is not table)
        table.findings.append(
            Finding(
                "stray-files",
                "info",
                f"{table.name} was read ({counted(without, 'row')} without an image) and not "
                f"{others}, which {'says' if len(seen) == 2 else 'say'} the same about the images "
                "that are here",
                len(seen) - 1,
                hint=f"To read another: -o labels={others.split(' (')[0]}",
            )
        )
    return table


def agree(rows: Mapping[str, Row], theirs: Mapping[str, Row]) -> bool:
    """Whether `theirs` says nothing else, and nothing more, about the images than `rows`."""
    return all(
        path in rows
        and all(rows[path].cells.get(k, v).strip() == v.strip() for k, v in row.cells.items())
        for path, row in theirs.items()
    )


def labels_are_folders(table: Table, columns: Columns, pictures: Pictures) -> bool:
    """Whether each image lies in a folder called like its label: the folders say it already."""
    for row in table.rows:
        match = pictures.find(row.cells.get(columns.image, ""), row.split)
        label = row.cells.get(columns.labels[0], "").strip()
        if match and label.lower() not in match.paths[0].lower().split("/")[:-1]:
            return False
    return True
