"""Labels from a CSV file that names DICOM files, or what their headers hold."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medimg.api import Finding, InputError, UsageError, canonical_split, counted, near_misses
from medimg_dicom.headers import Header

LABEL_NAMES = {"label", "labels", "class", "target", "diagnosis", "finding", "category", "dx"}
SPLIT_NAMES = {"split", "set", "subset"}
# from the most to the least telling
KINDS = ("path", "name", "stem", "instance", "series", "study", "patient")
WORDS = {
    "path": "paths", "name": "file names", "stem": "file names without suffix",
    "instance": "SOPInstanceUID", "series": "SeriesInstanceUID", "study": "StudyInstanceUID",
    "patient": "PatientID",
}  # fmt: skip
MOST_ITEMS = 200


@dataclass
class Labels:
    """Path to label (None where the cell is blank), split and patient, and what to say."""

    label: dict[str, str | None] = field(default_factory=dict)
    split: dict[str, str | None] = field(default_factory=dict)
    group: dict[str, str | None] = field(default_factory=dict)
    group_column: str | None = None
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)


def rows_of(file: Path) -> tuple[list[str], list[dict[str, str]]]:
    """(columns, rows) of a CSV file with , ; or tab between cells.

    Raises:
        InputError: it can't be read or has no row.
    """
    try:
        # file names that are no UTF-8 come back as the system gives them
        text = file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"the labels {file} can't be read: {error.strerror or error}") from error
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = columns
    rows = [{k: (v or "").strip() for k, v in row.items() if isinstance(k, str)} for row in reader]
    if not rows:
        raise InputError(f"{file} holds no rows", "It needs a line of headings, then a row a file.")
    return columns, rows


def read_labels(
    file: Path, headers: Mapping[str, Header], options: Mapping[str, str], prefix: str = ""
) -> Labels:
    """The labels that a table gives to files.

    Args:
        prefix: from the folder that paths are relative to, to the table's own.
    Raises:
        InputError: the table can't be read, or names none of the files.
        UsageError: a column that is not there, or that only the user can tell.
    """
    columns, rows = rows_of(file)
    image, kind, named = image_column(file, columns, rows, headers, options, prefix)
    label = label_column(file, columns, image, options)
    split = chosen(file, columns, options, "split", SPLIT_NAMES)
    group = chosen(file, columns, options, "group", set())
    result = Labels(group_column=group)
    result.reason = f"{file.name}: {WORDS[kind]} in {image!r}, labels in {label!r}"
    said: dict[str, set[str]] = defaultdict(set)
    missing: list[str] = []
    for row in rows:
        paths = named.get(row[image], [])
        if not paths:
            missing.append(row[image])
        for path in paths:
            said[path] |= {row[label]} - {""}
            result.label[path] = row[label] or result.label.get(path)
            if split:
                result.split[path] = split_of(file, row[split])
            if group:
                result.group[path] = row[group] or None
    leave_out_contradictions(file, result, said)
    remark(file, result, missing, sorted(set(headers) - set(said)), len(rows))
    return result


def split_of(file: Path, cell: str) -> str | None:
    split = canonical_split(cell) if cell else None
    if cell and split is None:
        raise UsageError(
            f"{file.name}: {cell!r} is no split", "They are train, val and test; for none: "
            "-o split=none",
        )  # fmt: skip
    return split


# -- columns -------------------------------------------------------------------------------------


def keys(headers: Mapping[str, Header], prefix: str) -> dict[str, dict[str, list[str]]]:
    """Kind of name to name to the files that have it."""
    found: dict[str, dict[str, list[str]]] = {kind: defaultdict(list) for kind in KINDS}
    for path, header in headers.items():
        name = path.rpartition("/")[2]
        found["path"][path.removeprefix(prefix)].append(path)
        found["name"][name].append(path)
        stem, dot, suffix = name.rpartition(".")
        if dot and suffix.isalpha():
            found["stem"][stem].append(path)
        for kind in KINDS[3:]:
            if getattr(header, kind):
                found[kind][getattr(header, kind)].append(path)
    return found


def image_column(
    file: Path,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    headers: Mapping[str, Header],
    options: Mapping[str, str],
    prefix: str,
) -> tuple[str, str, dict[str, list[str]]]:
    """(column, kind, name to files) whose cells name most files.

    Raises:
        InputError: no column names any.
    """
    among = [named(file, columns, options["image"], "image")] if "image" in options else columns
    known = keys(headers, prefix)
    best: tuple[int, int, str, str] | None = None
    for column in among:
        cells = {row[column].removeprefix("./") for row in rows if row.get(column)}
        for rank, kind in enumerate(KINDS):
            hits = len({path for cell in cells for path in known[kind].get(cell, ())})
            if hits and (best is None or (hits, -rank) > best[:2]):
                best = (hits, -rank, column, kind)
    if best is None:
        example = next(iter(headers))
        raise InputError(
            f"no column of {file.name} names a DICOM file ({', '.join(columns[:12])})",
            f"Cells must hold a path such as {example}, a file name, or a SOPInstanceUID, "
            "SeriesInstanceUID or PatientID of the headers; say which column: -o image=COLUMN",
        )
    column, kind = best[2], best[3]
    cells = {row[column] for row in rows if row.get(column)}
    return column, kind, {c: known[kind].get(c.removeprefix("./"), []) for c in cells}


def label_column(file: Path, columns: Sequence[str], image: str, options: Mapping[str, str]) -> str:
    """The column of labels: the one named, or the only one that can be it.

    Raises:
        UsageError: the user has to say which.
    """
    if "label" in options:
        return named(file, columns, options["label"], "label")
    others = [c for c in columns if c != image]
    telling = [c for c in others if c.lower() in LABEL_NAMES] or (
        others if len(others) == 1 else []
    )
    if len(telling) == 1 or (telling and len(set(telling)) == 1):
        return named(file, columns, telling[0], "label")
    raise UsageError(
        f"which column of {file.name} holds the label is not clear ({', '.join(columns[:12])})",
        f"Say which: -o label={(telling or others or ['COLUMN'])[0]}",
    )


def chosen(
    file: Path, columns: Sequence[str], options: Mapping[str, str], role: str, names: set[str]
) -> str | None:
    """A column that need not be there."""
    wanted = options.get(role, "")
    if wanted.lower() == "none":
        return None
    if wanted:
        return named(file, columns, wanted, role)
    found = [c for c in columns if c.lower() in names]
    return named(file, columns, found[0], role) if len(set(found)) == 1 else None


def named(file: Path, columns: Sequence[str], wanted: str, role: str) -> str:
    """The column that the user named.

    Raises:
        UsageError: there is none of that name, or several.
    """
    if columns.count(wanted) > 1:
        raise UsageError(
            f"{columns.count(wanted)} columns of {file.name} are called {wanted!r}",
            f"Give them different headings; the {role} is read from one.",
        )
    if wanted not in columns:
        raise UsageError(
            f"{file.name} has no column {wanted!r} for the {role}",
            near_misses(wanted, list(columns)),
        )
    return wanted


# -- remarks -------------------------------------------------------------------------------------


def leave_out_contradictions(file: Path, result: Labels, said: Mapping[str, set[str]]) -> None:
    """Takes away the files that rows give two labels."""
    against = {path: sorted(labels) for path, labels in said.items() if len(labels) > 1}
    for path in against:
        del result.label[path]
    if against:
        path, labels = next(iter(against.items()))
        result.findings.append(
            Finding(
                "csv-contradictions",
                "error",
                f"{counted(len(against), 'file has', 'files have')} two labels in {file.name} and "
                f"{'was' if len(against) == 1 else 'were'} left out: "
                f"{path} is {' and '.join(labels)}",
                len(against),
                tuple({"file": p, "classes": c} for p, c in list(against.items())[:MOST_ITEMS]),
                "Settle which label is right, and keep one row a file.",
            )
        )


def remark(
    file: Path, result: Labels, missing: Sequence[str], unlisted: Sequence[str], rows: int
) -> None:
    """Rows without a file, files without a row, blank labels."""
    blank = [path for path, label in result.label.items() if label is None]
    if missing:
        result.findings.append(
            Finding(
                "csv-missing-files",
                "warning",
                f"{len(missing):,} of {counted(rows, 'row')} of {file.name} "
                f"{'names' if len(missing) == 1 else 'name'} no DICOM file that is there",
                len(missing),
            )
        )
    if unlisted:
        result.findings.append(
            Finding(
                "csv-unlisted-files",
                "info",
                f"{counted(len(unlisted), 'DICOM file has', 'DICOM files have')} no row in "
                f"{file.name}: {unlisted[0]}",
                len(unlisted),
                tuple({"file": path} for path in unlisted[:MOST_ITEMS]),
                "They have no label and are not read.",
            )
        )
    if blank:
        result.findings.append(
            Finding(
                "missing-labels",
                "warning",
                f"{counted(len(blank), 'DICOM file has', 'DICOM files have')} a blank label: "
                f"{blank[0]}",
                len(blank),
                tuple({"file": path} for path in blank[:MOST_ITEMS]),
                "They are never trained on; give them a label or leave them.",
            )
        )
