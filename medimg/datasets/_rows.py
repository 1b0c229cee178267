"""The rows of a table turned into samples."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medimg.api import (
    DatasetIndex,
    FileSource,
    Finding,
    InputError,
    Sample,
    UsageError,
    canonical_split,
)
from medimg.core.index import INDEX_HEADER, MEMBER, dataset_name
from medimg.datasets import _remarks as remarks
from medimg.datasets._beside import images_beside
from medimg.datasets._columns import Columns
from medimg.datasets._labels import read_labels
from medimg.datasets._masks import photograph_extension, suffix
from medimg.datasets._other_labels import other_labels
from medimg.datasets._pictures import Match, Pictures, stem
from medimg.datasets._table import Row, Table, is_blank

# what lies beside a table of labels: other tables, descriptions, licences, scripts that made it
DOCUMENTS = frozenset(
    {".csv", ".tsv", ".xlsx", ".xls", ".ods", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".txt"}
    | {".md", ".rst", ".pdf", ".docx", ".doc", ".odt", ".rtf", ".html", ".bib", ".py", ".ipynb"}
)
TEXT_NAMES = frozenset({"README", "LICENSE", "LICENCE", "CITATION", "CHANGELOG", "NOTICE"})


@dataclass
class Reading:
    """A table being turned into an index.

    Args:
        path: DATASET as given.
        base: the folder that the index's paths are relative to.
        own: whether medimg wrote the table; its cells are then taken as they stand.
    """

    path: Path
    base: Path
    table: Table
    columns: Columns
    pictures: Pictures
    own: bool
    findings: list[Finding] = field(default_factory=list)
    masks: set[str] = field(default_factory=set)

    def index(self) -> DatasetIndex:
        """The index."""
        self.findings += [*self.table.findings, *self.columns.findings]
        rows, paths = self._present()
        labels = self._labels(rows)
        self.findings += self._broken_cells(rows, labels)
        if not self.own:
            self.findings += other_labels(self.table, self.columns, rows, paths, labels)
        kept = self._one_row_an_image(rows, paths, labels)
        made = [self._sample(rows[i], paths[i], labels[i]) for i in kept]
        unlabelled = tuple(s for s in made if s.label is None)
        if unlabelled:
            self.findings.append(remarks.blank_labels(self.columns.labels, unlabelled))
        unlisted = self._unlisted(paths)
        if unlisted:
            self.findings.append(remarks.unlisted_files(self.table, unlisted, self.own))
        # of several label columns each is a class, with images or without
        classes = set(self.columns.labels) if len(self.columns.labels) > 1 else set()
        samples = tuple(sorted((s for s in made if s.label is not None), key=lambda s: s.path))
        return DatasetIndex(
            name=dataset_name(self.path),
            root=Path(os.path.abspath(self.path)),
            layout="csv",
            source=FileSource(self.base),
            samples=samples,
            classes=tuple(sorted(classes | {s.label for s in samples if s.label is not None})),
            reason=self.columns.reason,
            patients=f"column {self.columns.group!r}" if self.columns.group else None,
            unlabelled=unlabelled,
            strays=tuple(self._strays()),
            findings=tuple(self.findings),
        )

    # -- images --------------------------------------------------------------------------------

    def _present(self) -> tuple[list[Row], list[str]]:
        """The rows whose image is there, with its path."""
        matches = [self._find(row) for row in self.table.rows]
        extension = self._photographs(matches)
        rows, paths, missing = [], [], []
        for row, match in zip(self.table.rows, matches, strict=True):
            path = self._one(row, match, extension) if match else None
            if path is None:
                missing.append(row)
            else:
                rows.append(row)
                paths.append(path)
        if not rows:
            raise self._none_present()
        if not self.own:
            # told as what an open quotation mark swallows
            missing = [row for row in missing if "\n" not in self._image_cell(row).strip()]
        if missing:
            self.findings.append(remarks.missing_files(self.table, self.columns.image, missing))
        if self.masks and extension:
            self.findings.append(remarks.masks_left_out(sorted(self.masks), extension))
        return rows, paths

    def _image_cell(self, row: Row) -> str:
        return row.cells.get(self.columns.image, "")

    def _find(self, row: Row) -> Match | None:
        cell = self._image_cell(row)
        if not self.own:
            return self.pictures.find(cell, row.split)
        file = cell.rpartition(MEMBER)[0] if MEMBER in cell else cell
        there = file and os.path.isfile(os.path.join(self.base, file))
        return Match((cell,), "path") if there else None

    def _photographs(self, matches: Sequence[Match | None]) -> str | None:
        """The extension of the photographs, where masks may share their names."""
        several = [m.paths for m in matches if m and len(m.paths) > 1]
        pairs = [paths for paths in several if len({stem_path(p) for p in paths}) == 1]
        return photograph_extension(self.base, pairs) if pairs else None

    def _one(self, row: Row, match: Match, extension: str | None) -> str | None:
        """The one image that a row names; None where it names a mask alone.

        Raises:
            InputError: it names images in several folders.
        """
        if len(match.paths) > 1 and len({stem_path(path) for path in match.paths}) > 1:
            raise InputError(
                f"{row.place()}: {row.cells[self.columns.image]!r} names "
                f"{len(match.paths)} images: {', '.join(match.paths[:3])}",
                "Say in which folder they lie: -o images=FOLDER",
            )
        if extension is None or match.kind in ("path", "name"):
            return match.paths[0]
        self.masks |= {path for path in match.paths if suffix(path) != extension}
        return next((path for path in match.paths if suffix(path) == extension), None)

    def _none_present(self) -> InputError:
        first = self.table.values(self.columns.image)[:1] or ["blank"]
        return InputError(
            f"no image of {self.table.name} exists under {self.pictures.folder} "
            f"({len(self.table.rows):,} rows; the first names {first[0]})",
            "Say where the images are: -o images=FOLDER, and which column names them: "
            "-o image=COLUMN",
        )

    def _listed_folder(self) -> bool:
        """Whether the folder was given or had to be listed: a lone CSV may lie in any folder."""
        return not self.own and (self.path.is_dir() or "tree" in vars(self.pictures))

    def _unlisted(self, paths: Sequence[str]) -> list[str]:
        """The images without a row."""
        if self.own:
            return images_beside(self.base, paths)
        if not self._listed_folder():
            return []
        listed = self.masks.union(paths)
        return [path for path in self.pictures.paths if path not in listed]

    def _strays(self) -> Iterator[str]:
        """The files that are neither images nor the table, nor what usually lies beside one."""
        if not self._listed_folder():
            return
        tables = {os.path.abspath(file) for file in self.table.files}
        beside = {os.path.dirname(table) for table in tables}
        tree = self.pictures.tree
        for stray in (*tree.strays, *tree.dicom):
            file = os.path.abspath(self.pictures.folder / stray)
            document = os.path.dirname(file) in beside and is_document(stray)
            if file not in tables and not document:
                yield self.pictures.prefix + stray

    # -- rows ----------------------------------------------------------------------------------

    def _labels(self, rows: Sequence[Row]) -> list[str | None]:
        if self.own:
            return [row.cells.get("label", "") or None for row in rows]
        return read_labels(rows, self.columns.labels)

    def _broken_cells(self, rows: Sequence[Row], labels: Sequence[str | None]) -> Iterator[Finding]:
        """What an open quotation mark or a guessed encoding did to images and labels."""
        columns = (self.columns.image, *self.columns.labels)
        # a file whose name has two lines, in an index that medimg wrote
        whole = {id(row) for row in rows} if self.own else set()
        torn = [
            row
            for row in self.table.rows
            if any("\n" in row.cells.get(c, "") for c in columns[id(row) in whole :])
        ]
        if torn:
            lines = sum(r.cells.get(c, "").strip().count("\n") for r in torn for c in columns)
            yield remarks.swallowed(torn, lines)
        guessed = any(
            (f.check, f.severity) == ("csv-encoding", "info") for f in self.table.findings
        )
        strange = sorted({label for label in labels if label and not label.isascii()})
        if guessed and strange:
            yield remarks.garbled_classes(self.table, strange)

    def _one_row_an_image(
        self, rows: Sequence[Row], paths: Sequence[str], labels: Sequence[str | None]
    ) -> list[int]:
        """The rows to keep: the first of each image, none where they contradict."""
        by_path: dict[str, list[int]] = defaultdict(list)
        for i, path in enumerate(paths):
            by_path[path].append(i)
        copies: dict[str, int] = {}
        against: dict[str, list[str]] = {}
        torn: list[str] = []
        kept = []
        for path, at in by_path.items():
            if len(at) == 1:
                kept += at
                continue
            named = sorted({label for i in at if (label := labels[i]) is not None})
            if len(named) > 1:
                against[path] = named
            elif len({(self._group(rows[i]), self._split(rows[i])) for i in at}) > 1:
                torn.append(path)
            else:
                kept.append(next((i for i in at if labels[i] is not None), at[0]))
                copies[path] = len(at)
        if copies:
            self.findings.append(remarks.duplicate_rows(self.table, copies))
        if against:
            self.findings.append(remarks.two_labels(self.table, against))
        if torn:
            self.findings.append(remarks.two_patients(self.table, sorted(torn)))
        return kept

    def _sample(self, row: Row, path: str, label: str | None) -> Sample:
        used = {self.columns.image, *self.columns.labels, self.columns.group, self.columns.split}
        if self.own:
            used |= set(INDEX_HEADER)
        further = {c: cell for c, cell in row.cells.items() if c not in used and cell != ""}
        return Sample(path, label, self._group(row), self._split(row), further)

    def _group(self, row: Row) -> str | None:
        if self.columns.group is None:
            return None
        cell = row.cells.get(self.columns.group, "")
        if self.own:
            return cell or None
        return None if is_blank(cell) else cell.strip()

    def _split(self, row: Row) -> str | None:
        if self.columns.split is None:
            return row.split
        cell = row.cells.get(self.columns.split, "")
        split = canonical_split(cell)
        if split is None and not is_blank(cell):
            raise UsageError(
                f"{row.place()}: {cell!r} in column {self.columns.split!r} is no split",
                "Splits are train, val and test; for none: -o split=none",
            )
        return split


def is_document(name: str) -> bool:
    """Whether a file is a table or a text by its name, as people put them beside a table.

    >>> is_document("README"), is_document("other.XLSX"), is_document("Thumbs.db")
    (True, True, False)
    """
    base = os.path.basename(name)
    kept = base.upper() in TEXT_NAMES or os.path.splitext(base)[1].lower() in DOCUMENTS
    return kept and not base.startswith((".", "~"))


def stem_path(path: str) -> str:
    """A path without its extension."""
    return f"{path.rpartition('/')[0]}/{stem(path)}"
