"""One or more CSV files that name images and their labels.

DATASET is the .csv or a folder that holds it beside the images. Columns are found by their names
and values where these are unmistakable, else asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medimg.api import (
    DatasetIndex,
    Guess,
    MedimgError,
    UsageError,
    check_options,
    keep_classes,
)
from medimg.core.index import INDEX_HEADER, listed, with_patient_options
from medimg.datasets._choice import (
    MOST_TABLES,
    TABLE_SUFFIXES,
    choose_tables,
    images_folder,
    labels_are_folders,
    tables_in,
    tables_named,
)
from medimg.datasets._columns import Columns, choose, choose_image, named
from medimg.datasets._pictures import Pictures
from medimg.datasets._rows import Reading
from medimg.datasets._table import Table, read_table


class Reader:
    """Reads tables."""

    options = ("classes", "extension", "group", "group_regex", "image", "images", "label",
               "labels", "split")  # fmt: skip

    def sniff(self, path: Path) -> Guess:
        """How sure it is that a table names the images at `path`; reads the table, no pixels."""
        if path.is_file():
            sure = path.suffix.lower() in TABLE_SUFFIXES
            # a plugin may know better what an index points at
            return Guess(0.95, "a CSV file") if sure else Guess(0.0, "no CSV file")
        found = tables_in(path) if path.is_dir() else []
        if not found:
            return Guess(0.0, "no CSV file in it")
        try:
            return self._sniff_folder(path, found)
        except UsageError as error:  # a question to ask rather than a folder to misread
            return Guess(0.7, f"a CSV file, with a question: {error.message}")
        except MedimgError as error:
            return Guess(0.45, f"a CSV file ({found[0].name}): {error.message}")

    def _sniff_folder(self, path: Path, found: list[Path]) -> Guess:
        pictures = Pictures(path, path)
        if not pictures.paths:
            return Guess(0.6, f"a CSV file ({found[0].name}) and no image")
        if all(is_own(read_table(file)) for file in found[:MOST_TABLES]):
            return Guess(0.35, f"{found[0].name}, an index that medimg wrote")
        table = choose_tables(found, pictures, {})
        image, reason = choose_image(table, pictures, {})
        named = {
            m.paths[0]
            for row in table.rows
            if (m := pictures.find(row.cells.get(image, ""), row.split))
        }
        share = len(named) / len(pictures.paths)
        reason = f"{table.name}, whose column {image!r} names {share:.0%} of the images"
        if share < 0.3:
            return Guess(0.45, reason)
        try:
            columns = choose(table, pictures, {})
        except UsageError:
            return Guess(0.7, reason)
        if share >= 0.9:
            return Guess(0.97, reason)
        return Guess(0.6 if labels_are_folders(table, columns, pictures) else 0.9, reason)

    def read(self, path: Path, options: Mapping[str, str]) -> DatasetIndex:
        """The index of the table or tables at `path`.

        Raises:
            InputError: no table, no image that it names, or a row that can't be read.
            UsageError: an option it does not have, a column that is not there, or a question
                that only the user can answer.
        """
        check_options("csv", options, self.options)
        base = path if path.is_dir() else path.parent
        found = tables_named(path, base, options)
        pictures = Pictures(base, images_folder(base, options), options.get("extension", ""))
        table = choose_tables(found, pictures, options)
        own = is_own(table) and not {"image", "label", "split"} & options.keys()
        columns = own_columns(table, options) if own else choose(table, pictures, options)
        reading = Reading(path, base, table, columns, pictures, own)
        index = reading.index()
        if "classes" in options:
            index = narrowed(index, listed(options["classes"]))
        return with_patient_options(index, options)


def is_own(table: Table) -> bool:
    """Whether medimg wrote the table: its cells are then taken as they stand."""
    return table.columns[:4] == INDEX_HEADER


def own_columns(table: Table, options: Mapping[str, str]) -> Columns:
    """The columns of an index that medimg wrote."""
    image, label, group, split = INDEX_HEADER
    wanted = options.get("group", group)
    given = None if wanted.lower() == "none" else named(table, wanted, "group")
    if given and not any(table.cells(given)):
        given = None
    has_split = any(table.cells(split))
    reason = f"{table.name}: an index with the columns image, label, group, split"
    return Columns(image, (label,), given, split if has_split else None, reason)


def narrowed(index: DatasetIndex, classes: tuple[str, ...]) -> DatasetIndex:
    """The index with the classes named alone."""
    kept = keep_classes(index.samples, classes)
    return replace(
        index,
        samples=kept,
        classes=tuple(sorted(set(classes))),
        reason=f"{index.reason}; {len(index) - len(kept):,} images of other classes left out",
    )
