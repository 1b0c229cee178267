"""One or more CSV files that name images and their labels.

DATASET is the .csv or a folder that holds it beside the images. Columns are found by their names
and values where these are unmistakable, else asked for.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medimg.api import (
    DatasetIndex,
    FileSource,
    Finding,
    Guess,
    InputError,
    MedimgError,
    Sample,
    UsageError,
    canonical_split,
    check_options,
    keep_classes,
)
from medimg.core.index import (
    INDEX_HEADER,
    MEMBER,
    MOST_ITEMS,
    dataset_name,
    files,
    listed,
    with_patient_options,
)
from medimg.datasets._columns import Columns, choose, choose_image
from medimg.datasets._labels import read_labels
from medimg.datasets._pictures import Match, Pictures, stem
from medimg.datasets._table import Row, Table, is_blank, joined, read_table

TABLE_SUFFIXES = {".csv", ".tsv"}
# where medimg itself writes tables that name images
OWN_FOLDERS = {"runs", "medimg-demo"}
MOST_TABLES = 20
# a mask has a few values, a photograph hundreds
MASK_VALUES = 8
MASK_PAIRS = 20


class Reader:
    """Reads tables."""

    options = ("classes", "extension", "group", "group_regex", "image", "images", "label",
               "labels", "split")  # fmt: skip

    def sniff(self, path: Path) -> Guess:
        """How sure it is that a table names the images at `path`; reads the table, no pixels."""
        if path.is_file():
            sure = path.suffix.lower() in TABLE_SUFFIXES
            return Guess(1.0, "a CSV file") if sure else Guess(0.0, "no CSV file")
        found = tables_in(path) if path.is_dir() else []
        if not found:
            return Guess(0.0, "no CSV file in it")
        try:
            return self._sniff_folder(path, found)
        except MedimgError as error:
            return Guess(0.35, f"a CSV file ({found[0].name}) that is not clear: {error.message}")

    def _sniff_folder(self, path: Path, found: list[Path]) -> Guess:
        pictures = Pictures(path, path)
        if not pictures.paths:
            return Guess(0.6, f"a CSV file ({found[0].name}) and no image")
        if all(is_own(read_table(file)) for file in found[:MOST_TABLES]):
            return Guess(0.35, f"{found[0].name}, an index that medimg wrote")
        table = choose_tables(found, pictures, {})
        image, reason = choose_image(table, pictures, {})
        named = {m.paths[0] for row in table.rows
                 if (m := pictures.find(row.cells.get(image, ""), row.split))}
        share = len(named) / len(pictures.paths)
        reason = f"{table.name}, whose column {image!r} names {share:.0%} of the images"
        if share < 0.3:
            return Guess(0.35, reason)
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
        return with_patient_options(index, {k: v for k, v in options.items() if k != "group"}
                                    if options.get("group", "").lower() != "none" else options)


# -- which tables ------------------------------------------------------------------------------


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder; where it holds none, those one level down."""
    here = [f for f in listing(folder) if f.suffix.lower() in TABLE_SUFFIXES and f.is_file()]
    if here:
        return here
    inner = [f for f in listing(folder) if f.is_dir() and f.name not in OWN_FOLDERS]
    return [f for one in inner for f in listing(one)
            if f.suffix.lower() in TABLE_SUFFIXES and f.is_file()]


def listing(folder: Path) -> list[Path]:
    """What lies in a folder, hidden things left out; nothing where it can't be listed."""
    try:
        return sorted(f for f in folder.iterdir() if not f.name.startswith((".", "__")))
    except OSError:
        return []


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
        raise InputError(f"the table {name} does not exist (in {base}: {near})",
                         "Name one that does: -o labels=FILE.csv")
    return found


def images_folder(base: Path, options: Mapping[str, str]) -> Path:
    """The folder to look for images in."""
    if "images" not in options:
        return base
    found = at(base, options["images"])
    if found is None or not found.is_dir():
        raise InputError(f"the images folder {options['images']} does not exist",
                         "Give -o images=FOLDER relative to the dataset, or an absolute path.")
    return found


def choose_tables(
    found: Sequence[Path], pictures: Pictures, options: Mapping[str, str]
) -> Table:
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
        table.findings.append(Finding("stray-files", "info", f"{names} was not read: {table.name} "
                                      "hold the splits", len(others), files(f.name for f in others)))
    return table


def best_table(
    tables: Sequence[Table], pictures: Pictures, options: Mapping[str, str]
) -> Table:
    """Of several tables, the only one that names images; or, where their rows about the images
    that are there agree, the one with the fewest rows without an image."""
    seen: list[tuple[Table, dict[str, Row], int]] = []
    for table in tables:
        try:
            image, _ = choose_image(table, pictures, options)
        except MedimgError:
            continue
        rows = {m.paths[0]: row for row in table.rows
                if (m := pictures.find(row.cells.get(image, ""), row.split))}
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
            raise UsageError(f"several CSV files in {pictures.base} name images: {names}",
                             f"Say which: -o labels={table.name}")
    if len(seen) > 1:
        others = ", ".join(f"{t.name} ({missing:,})" for t, _, missing in seen if t is not table)
        table.findings.append(Finding(
            "stray-files", "info",
            f"{table.name} was read ({without:,} rows without an image) and not {others}, which "
            f"says the same about the images that are here",
            len(seen) - 1,
            hint=f"To read another: -o labels={others.split(' (')[0]}"))
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


# -- an index that medimg wrote ------------------------------------------------------------------


def is_own(table: Table) -> bool:
    """Whether medimg wrote the table: its cells are then taken as they stand."""
    return table.columns[:4] == INDEX_HEADER


def own_columns(table: Table, options: Mapping[str, str]) -> Columns:
    """The columns of an index that medimg wrote."""
    image, label, group, split = INDEX_HEADER
    wanted = options.get("group", group)
    given = wanted if wanted in table.columns and any(table.cells(wanted)) else None
    has_split = any(table.cells(split))
    reason = f"{table.name}: an index with the columns image, label, group, split"
    return Columns(image, (label,), given, split if has_split else None, reason)


# -- rows to samples -----------------------------------------------------------------------------


@dataclass
class Reading:
    """A table being turned into an index."""

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
        rows, matches = self._present()
        paths = self._resolved(rows, matches)
        labels = self._labels(rows)
        kept = self._one_row_an_image(rows, paths, labels)
        made = [self._sample(rows[i], paths[i], labels[i]) for i in kept]
        unlabelled = tuple(s for s in made if s.label is None)
        self._note_unlabelled(unlabelled)
        self._note_unlisted(paths)
        samples = tuple(sorted((s for s in made if s.label is not None), key=lambda s: s.path))
        one_hot = set(self.columns.labels) if len(self.columns.labels) > 1 else set()
        return DatasetIndex(
            name=dataset_name(self.path),
            root=Path(os.path.abspath(self.path)),
            layout="csv",
            source=FileSource(self.base),
            samples=samples,
            classes=tuple(sorted({s.label for s in samples if s.label is not None} | one_hot)),
            reason=self.columns.reason,
            patients=f"column {self.columns.group!r}" if self.columns.group else None,
            unlabelled=unlabelled,
            strays=tuple(self._strays()),
            findings=tuple(self.findings),
        )

    def _present(self) -> tuple[list[Row], list[Match]]:
        """The rows whose image is there, with it."""
        rows, matches, missing = [], [], []
        for row in self.table.rows:
            match = self._find(row)
            if match is None:
                missing.append(row)
            else:
                rows.append(row)
                matches.append(match)
        if not rows:
            raise self._none_present()
        if missing:
            cells = [row.cells.get(self.columns.image, "") for row in missing]
            self.findings.append(Finding(
                "csv-missing-files", "warning",
                f"{len(missing):,} of {len(self.table.rows):,} rows of {self.table.name} name no "
                f"image that is there ({missing[0].place()}: {cells[0] or 'blank'})",
                len(missing),
                tuple({"file": cell, "line": row.line}
                      for cell, row in list(zip(cells, missing, strict=True))[:MOST_ITEMS]),
                "If they lie elsewhere: -o images=FOLDER",
            ))
        return rows, matches

    def _find(self, row: Row) -> Match | None:
        cell = row.cells.get(self.columns.image, "")
        if not self.own:
            return self.pictures.find(cell, row.split)
        file = cell.rpartition(MEMBER)[0] if MEMBER in cell else cell
        return Match((cell,), "path") if file and (self.base / file).is_file() else None

    def _none_present(self) -> InputError:
        first = self.table.values(self.columns.image)[:1] or ["blank"]
        return InputError(
            f"no image of {self.table.name} exists under {self.pictures.folder} "
            f"({len(self.table.rows):,} rows; the first names {first[0]})",
            "Say where the images are: -o images=FOLDER, and which column names them: "
            "-o image=COLUMN",
        )

    def _resolved(self, rows: Sequence[Row], matches: Sequence[Match]) -> list[str]:
        """One image a row."""
        for row, match in zip(rows, matches, strict=True):
            apart = {p.rsplit("/", 1)[0] + "/" + stem(p) for p in match.paths}
            if len(apart) > 1:
                raise InputError(
                    f"{row.place()}: {row.cells[self.columns.image]!r} names "
                    f"{len(match.paths)} images: {', '.join(match.paths[:3])}",
                    "Say in which folder they lie: -o images=FOLDER",
                )
        doubtful = [m.paths for m in matches if len(m.paths) > 1]
        extension = photograph_extension(self.base, doubtful) if doubtful else None
        paths = []
        for match in matches:
            chosen = [p for p in match.paths if suffix(p) == extension] or list(match.paths[:1])
            paths.append(chosen[0])
            self.masks |= set(match.paths) - set(chosen[:1])
        if self.masks:
            kinds = ", ".join(sorted({suffix(p) for p in self.masks}))
            self.findings.append(Finding(
                "stray-files", "info",
                f"{len(self.masks):,} {kinds} files share their name with an image {extension} and "
                f"hold at most {MASK_VALUES} values: taken for masks and left out",
                len(self.masks), files(sorted(self.masks)),
                f"If they are the images: -o extension={kinds}"))
        return paths

    def _labels(self, rows: Sequence[Row]) -> list[str | None]:
        if self.own:
            return [row.cells.get("label", "") or None for row in rows]
        return read_labels(rows, self.columns.labels)

    def _one_row_an_image(
        self, rows: Sequence[Row], paths: Sequence[str], labels: Sequence[str | None]
    ) -> list[int]:
        """The rows to keep: the first of each image, none where they contradict."""
        by_path: dict[str, list[int]] = defaultdict(list)
        for i, path in enumerate(paths):
            by_path[path].append(i)
        repeated = {p: at for p, at in by_path.items() if len(at) > 1}
        against = {p: found for p, at in repeated.items()
                   if len(found := sorted({labels[i] or "" for i in at} - {""})) > 1}
        torn = {p for p, at in repeated.items() if p not in against
                if len({self._group_and_split(rows[i]) for i in at}) > 1}
        self._note_repeated(repeated, against, torn)
        kept = []
        for path, found in by_path.items():
            if path not in against:
                kept.append(next((i for i in found if labels[i] is not None), found[0]))
        return kept

    def _group_and_split(self, row: Row) -> tuple[str | None, str | None]:
        return self._group(row), self._split(row)

    def _note_repeated(
        self,
        repeated: Mapping[str, list[int]],
        against: Mapping[str, list[str]],
        torn: set[str],
    ) -> None:
        same = {p: found for p, found in repeated.items() if p not in against and p not in torn}
        if same:
            more = sum(len(found) - 1 for found in same.values())
            self.findings.append(Finding(
                "csv-duplicate-rows", "warning",
                f"{len(same):,} images stand in more than one row of {self.table.name} "
                f"({more:,} rows too many): {next(iter(same))}",
                more, tuple({"file": p, "copies": len(f)} for p, f in head(same.items()))))
        if against:
            path, found = next(iter(against.items()))
            self.findings.append(Finding(
                "csv-contradictions", "error",
                f"{len(against):,} images have two labels in {self.table.name} and were left out: "
                f"{path} is {' and '.join(found)}",
                len(against), tuple({"file": p, "classes": f} for p, f in head(against.items())),
                "Settle which label is right, and keep one row an image."))
        if torn:
            self.findings.append(Finding(
                "csv-contradictions", "error",
                f"{len(torn):,} images have two patients or splits in {self.table.name}; their "
                f"first row was taken: {min(torn)}",
                len(torn), files(sorted(torn)), "Keep one row an image."))

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
        return cell or None if self.own else None if is_blank(cell) else cell.strip()

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

    def _note_unlabelled(self, unlabelled: Sequence[Sample]) -> None:
        if unlabelled:
            self.findings.append(Finding(
                "missing-labels", "warning",
                f"{len(unlabelled):,} images have a blank in "
                f"{' and '.join(map(repr, self.columns.labels[:3]))} and are left unlabelled: "
                f"{unlabelled[0].path}",
                len(unlabelled), files(s.path for s in unlabelled),
                "They are never trained on; give them a label or leave them."))

    def _note_unlisted(self, paths: Iterable[str]) -> None:
        listed_paths = set(paths) | self.masks
        if self.own or not self._listed_folder():
            return
        unlisted = [p for p in self.pictures.paths if p not in listed_paths]
        if unlisted:
            self.findings.append(Finding(
                "csv-unlisted-files", "info",
                f"{len(unlisted):,} images have no row in {self.table.name}: {unlisted[0]}",
                len(unlisted), files(unlisted), "They have no label and are not read."))

    def _listed_folder(self) -> bool:
        """Whether the folder was given or had to be listed: a lone CSV may lie in any folder."""
        return self.path.is_dir() or "tree" in vars(self.pictures)

    def _strays(self) -> Iterator[str]:
        if self.own or not self._listed_folder():
            return
        tables = {os.path.abspath(file) for file in self.table.files}
        for stray in self.pictures.tree.strays:
            if os.path.abspath(self.pictures.folder / stray) not in tables:
                yield self.pictures.prefix + stray


def head(items: Iterable[tuple[str, list]]) -> list[tuple[str, list]]:
    """The first of a report's items."""
    return list(items)[:MOST_ITEMS]


def suffix(path: str) -> str:
    """A path's extension, small."""
    return os.path.splitext(path)[1].lower()


def photograph_extension(base: Path, pairs: Sequence[tuple[str, ...]]) -> str:
    """Of images that share a name and differ in extension, the one whose pixels are no mask's.

    Raises:
        UsageError: pixels don't make it plain.
    """
    step = max(1, len(pairs) // MASK_PAIRS)
    masks: dict[str, list[bool]] = defaultdict(list)
    for paths in pairs[::step]:
        for path in paths:
            masks[suffix(path)].append(is_mask(base / path))
    photographs = [s for s, found in masks.items() if not any(found)]
    if len(photographs) == 1 and all(all(f) for s, f in masks.items() if s != photographs[0]):
        return photographs[0]
    counts = Counter(suffix(path) for paths in pairs for path in paths)
    kinds = sorted(counts)
    raise UsageError(
        f"images share their names and differ in extension: {', '.join(pairs[0])} "
        f"({len(pairs):,} such)",
        f"Say which are meant: -o extension={kinds[0]}",
    )


def is_mask(file: Path) -> bool:
    """Whether an image holds no more than a few values; False where it can't be read."""
    import numpy as np

    from medimg.api import decode

    try:
        pixels = decode(file.read_bytes())
    except (OSError, MedimgError, ValueError):
        return False
    return len(np.unique(pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3
                         else pixels.reshape(-1, 1), axis=0)) <= MASK_VALUES


def narrowed(index: DatasetIndex, classes: tuple[str, ...]) -> DatasetIndex:
    """The index with the classes named alone."""
    kept = keep_classes(index.samples, classes)
    return replace(index, samples=kept, classes=tuple(sorted(set(classes))),
                   reason=f"{index.reason}; {len(index) - len(kept):,} images of other classes "
                   "left out")
