"""Reading a folder of DICOM files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from medimg.api import (
    DatasetIndex,
    Finding,
    Guess,
    InputError,
    Sample,
    Source,
    UsageError,
    check_options,
    counted,
    dataset_name,
    is_image_name,
    keep_classes,
    listed,
    with_patient_options,
)
from medimg_dicom.headers import (
    DICOM_SUFFIXES,
    Header,
    NoDicom,
    is_dicom,
    list_files,
    read_header,
    sorted_out,
)
from medimg_dicom.labels import Labels, read_labels, rows_of
from medimg_dicom.patients import groups_of, private_fields
from medimg_dicom.places import Place, are_patients, classes_inside, named_places, places

# files looked at to tell what a folder holds
LOOKED_AT = 400
MOST_ITEMS = 200
OWN_COLUMNS = ("image", "label", "group", "split")
LABELS_HINT = (
    "Put each class's files into a folder of its name, or give a table: -o labels=FILE.csv "
    "-o label=COLUMN"
)

if TYPE_CHECKING:
    from medimg_dicom.pixels import Window


class Reader:
    """Reads a folder of DICOM files, or an index that medimg wrote of one."""

    options = ("classes", "group", "group_regex", "image", "label", "labels", "split", "window")

    def sniff(self, path: Path) -> Guess:
        """How sure it is that `path` holds DICOM files, by the first bytes of some of them."""
        if path.is_file():
            return sniff_index(path)
        if not path.is_dir():
            return Guess(0.0, "no folder")
        try:
            looked = list(islice(list_files(path), LOOKED_AT))
        except OSError as error:
            return Guess(0.0, f"it can't be listed: {error.strerror or error}")
        dicom, others = sorted_out(path, looked)
        if not dicom:
            return Guess(0.0, "no DICOM file in it")
        share = len(dicom) / (len(dicom) + sum(is_image_name(other) for other in others))
        reason = f"{len(dicom):,} of the first {len(looked):,} files are DICOM"
        return Guess(0.98 if share > 0.9 else 0.8 if share >= 0.5 else 0.2, reason)

    def read(self, path: Path, options: Mapping[str, str]) -> DatasetIndex:
        """The index by class folders, or by a table of labels.

        Raises:
            InputError: no DICOM file, none with a single picture, or a table that can't be read.
            UsageError: an option it does not have, or a question: no class folders and no table.
        """
        check_options("dicom", options, self.options)
        window, own = window_of(options)
        if path.is_file():
            return read_index(path, options, window, own)
        folder = read_folder(path)
        index = labelled(path, folder, options)
        return replace(index, source=pixels_of(path, window, own))

    def pictures(self, path: Path, options: Mapping[str, str]) -> tuple[Source | None, list[str]]:
        """The DICOM files at `path`, labels or not; of the options only the window counts.

        Raises:
            InputError: the folder can't be listed.
            UsageError: a window that is none.
        """
        root = path if path.is_dir() else path.parent
        try:
            files = list_files(path) if path.is_dir() else [path.name]
            found, _ = sorted_out(root, files)
        except OSError as error:
            raise InputError(
                f"the folder {path} can't be read: {error.strerror or error}"
            ) from error
        return (pixels_of(root, *window_of(options)), found) if found else (None, [])


@dataclass(frozen=True)
class Folder:
    """The DICOM files with a picture, other files, and what was left out and why."""

    headers: dict[str, Header]
    others: list[str]
    findings: list[Finding]


def pixels_of(root: Path, window: Window | None = None, own_window: bool = True) -> Source:
    """Pixels of the files under a folder; pydicom is imported for folders that hold some alone."""
    from medimg_dicom.pixels import DicomSource

    return DicomSource(root, window, own_window)


def window_of(options: Mapping[str, str]) -> tuple[Window | None, bool]:
    """(the window for all pictures, whether each picture's own is used).

    Raises:
        UsageError: not CENTRE/WIDTH, `own` or `none`.
    """
    text = options.get("window", "own").strip().lower()
    if text in ("own", "none"):
        return None, text == "own"
    try:
        centre, width = (float(part) for part in text.split("/"))
    except ValueError:
        centre, width = 0.0, 0.0
    if not width >= 1:
        raise UsageError(
            f"window={options['window']!r} is no window",
            "Give centre and width in modality units, as -o window=-600/1500 (lung, in HU); "
            "none: what is stored; own: each picture's own.",
        )
    return (centre, width), False


# -- folders -------------------------------------------------------------------------------------


def read_folder(path: Path) -> Folder:
    """The headers of the DICOM files in a folder.

    Raises:
        InputError: it is no folder, can't be listed, or holds no DICOM file with one picture.
    """
    if not path.is_dir():
        raise InputError(f"{path} is no folder", "Give the folder that holds the DICOM files.")
    try:
        dicom, others = sorted_out(path, list_files(path))
    except OSError as error:
        raise InputError(f"the folder {path} can't be read: {error.strerror or error}") from error
    headers, damaged = read_headers(path, dicom)
    empty = [p for p, h in headers.items() if not h.frames]
    pictures = {p: h for p, h in headers.items() if h.frames}
    if not pictures:
        raise InputError(f"no DICOM picture in {path} ({len(others):,} other files)")
    if all(h.frames > 1 for h in pictures.values()):
        raise InputError(
            f"all {len(pictures):,} DICOM files in {path} hold several frames, such as "
            f"{next(iter(pictures))}; medimg reads single pictures",
            "Write the frames that are meant as files of their own.",
        )
    called = {p for p in others if os.path.splitext(p)[1].lower() in DICOM_SUFFIXES}
    nothing = sorted(p for p in called if is_empty(path / p))
    photographs = {p for p in others if is_image_name(p)} - called
    return Folder(
        pictures,
        [p for p in others if p not in called | photographs],
        [
            *empty_files(nothing),
            *left_out([*damaged, *(called - set(nothing))]),
            *not_read("DICOM files without a picture (reports, plans, presentation states)", empty),
            *not_read("images of other formats beside the DICOM files", sorted(photographs)),
        ],
    )


def read_headers(root: Path, paths: Sequence[str]) -> tuple[dict[str, Header], list[str]]:
    """(path to header, paths whose header can't be read)."""
    headers: dict[str, Header] = {}
    damaged: list[str] = []
    for path in paths:
        try:
            headers[path] = read_header(root, path)
        except NoDicom:
            damaged.append(path)
    return headers, damaged


def is_empty(file: Path) -> bool:
    """Whether a file has zero bytes."""
    try:
        return file.stat().st_size == 0
    except OSError:
        return False


def empty_files(paths: Sequence[str]) -> list[Finding]:
    """The error about files of zero bytes that are called DICOM."""
    if not paths:
        return []
    number = counted(len(paths), "DICOM file is", "DICOM files are")
    return [
        Finding(
            "empty-file",
            "error",
            f"{number} empty: {paths[0]}",
            len(paths),
            tuple({"file": path} for path in paths[:MOST_ITEMS]),
            f"A copy broke off: fetch {'it' if len(paths) == 1 else 'them'} again. "
            f"{'It is' if len(paths) == 1 else 'They are'} left out.",
        )
    ]


def left_out(found: Sequence[str]) -> list[Finding]:
    """The warning about files that say they are DICOM and can't be read as that."""
    paths = sorted(found)
    if not paths:
        return []
    return [
        Finding(
            "unreadable",
            "warning",
            f"called DICOM or beginning like it, and not to be read as that (damaged, or without "
            f"DICM at byte 128): {len(paths):,}, the first {paths[0]}",
            len(paths),
            tuple({"file": path} for path in paths[:MOST_ITEMS]),
            "They are left out. A bare data set can be mended: pydicom.dcmread(FILE, force=True), "
            "then save_as with its file meta information.",
        )
    ]


def not_read(what: str, paths: Sequence[str]) -> list[Finding]:
    """The note about files that this layout does not read."""
    if not paths:
        return []
    return [
        Finding(
            "stray-files",
            "info",
            f"{what}: {len(paths):,}, the first {paths[0]}",
            len(paths),
            tuple({"file": path} for path in paths[:MOST_ITEMS]),
            "They are not read.",
        )
    ]


# -- labels --------------------------------------------------------------------------------------


def labelled(path: Path, folder: Folder, options: Mapping[str, str]) -> DatasetIndex:
    """The index of a folder's files, without a source."""
    table = table_of(path, folder, options)
    if table is not None:
        found = read_labels(table, folder.headers, options)
        return by_table(path, folder, found, options, table)
    wanted = listed(options.get("classes", ""))
    by_folder = named_places(folder.headers, wanted) if wanted else places(folder.headers)
    if not any(place.label for place in by_folder.values()):
        raise UsageError(
            f"{counted(len(folder.headers), 'DICOM file')} in {path} "
            f"{'has' if len(folder.headers) == 1 else 'have'} no labels: there is no class folder",
            LABELS_HINT,
        )
    if not wanted and are_patients(folder.headers, by_folder):
        names = sorted({place.label for place in by_folder.values() if place.label})
        raise UsageError(
            f"the {len(names):,} folders in {path} are one patient each ({', '.join(names[:3])}, "
            "…), not classes, so the files have no labels",
            f"{LABELS_HINT}; class folders deeper down are named: -o classes=a,b",
        )
    inside = None if wanted else classes_inside(folder.headers, by_folder)
    if inside:
        outer, inner = (",".join(names) for names in inside)
        raise UsageError(
            f"which folders in {path} are the classes is not clear: {outer} each hold {inner}",
            f"Those inside: -o classes={quote(inner)}\nThose outside: -o classes={quote(outer)}",
        )
    return by_places(path, folder, by_folder, options)


def table_of(path: Path, folder: Folder, options: Mapping[str, str]) -> Path | None:
    """The table of labels: the one named, or the only CSV file where there are no folders.

    Raises:
        UsageError: options about columns without a table, or a table that is not there.
    """
    if "labels" in options:
        given = Path(options["labels"]).expanduser()
        found = next((p for p in (path / given, given) if p.is_file()), None)
        if found is None:
            raise UsageError(f"the table {given} is neither in {path} nor here")
        return found
    tables = [p for p in folder.others if p.lower().endswith((".csv", ".tsv"))]
    asked = {"image", "label"} & options.keys()
    flat = all("/" not in p for p in folder.headers)
    if len(tables) == 1 and (asked or flat):
        return path / tables[0]
    if asked:
        raise UsageError(
            f"{', '.join(sorted(asked))} name columns, and it is not clear of which table",
            "Say which: -o labels=FILE.csv",
        )
    return None


def by_places(
    path: Path, folder: Folder, found: Mapping[str, Place], options: Mapping[str, str]
) -> DatasetIndex:
    """The index by class folders."""
    rows = [Sample(p, place.label, split=place.split) for p, place in sorted(found.items())]
    outside = [s for s in rows if s.label is None]
    classes = tuple(sorted({s.label for s in rows if s.label is not None}))
    splits = sorted({s.split for s in rows if s.split})
    where = f" in {', '.join(splits)}" if splits else ""
    reason = f"{counted(len(rows), 'DICOM file')} in class folders {', '.join(classes[:6])}{where}"
    findings = [*folder.findings]
    if outside:
        findings.append(
            Finding(
                "missing-labels",
                "warning",
                f"{counted(len(outside), 'DICOM file lies', 'DICOM files lie')} in no class folder "
                f"and {'has' if len(outside) == 1 else 'have'} no label: {outside[0].path}",
                len(outside),
                tuple({"file": s.path} for s in outside[:MOST_ITEMS]),
                "Move them into a class folder, or leave them: they are never trained on.",
            )
        )
    return assembled(path, folder, rows, classes, reason, findings, options)


def by_table(
    path: Path, folder: Folder, found: Labels, options: Mapping[str, str], table: Path
) -> DatasetIndex:
    """The index by a table's rows; splits by the folders where the table gives none."""
    by_folder = places(found.label)
    rows = [
        Sample(p, label, group=found.group.get(p), split=found.split.get(p, by_folder[p].split))
        for p, label in sorted(found.label.items())
    ]
    if options.get("split", "").lower() == "none":
        rows = [replace(s, split=None) for s in rows]
    classes = tuple(sorted({s.label for s in rows if s.label is not None}))
    findings = [*folder.findings, *found.findings]
    others = [p for p in folder.others if (path / p).resolve() != table.resolve()]
    rest = replace(folder, others=others)
    index = assembled(
        path, rest, rows, classes, found.reason, findings, options, found.group_column
    )
    if "classes" in options:
        wanted = tuple(sorted(set(listed(options["classes"]))))
        index = replace(index, samples=keep_classes(index.samples, wanted), classes=wanted)
    return index


def assembled(
    path: Path,
    folder: Folder,
    rows: Sequence[Sample],
    classes: tuple[str, ...],
    reason: str,
    findings: Sequence[Finding],
    options: Mapping[str, str],
    group_column: str | None = None,
) -> DatasetIndex:
    """The index, with patients by the headers unless the user or the table says otherwise."""
    headers = [folder.headers[s.path] for s in rows]
    said: list[Finding] = []
    patients: str | None
    if group_column:
        patients = f"column {group_column!r}"
    elif options.get("group", "").lower() == "none" or "group_regex" in options:
        patients = None
    else:
        groups, patients, said = groups_of(headers)
        rows = [replace(s, group=groups[s.path]) for s in rows]
    if not any(s.group for s in rows if s.label is not None):
        patients = None
    root = Path(os.path.abspath(path))
    index = DatasetIndex(
        name=dataset_name(path),
        root=root,
        layout="dicom",
        source=pixels_of(root),
        samples=tuple(s for s in rows if s.label is not None),
        classes=classes,
        reason=reason,
        patients=patients,
        unlabelled=tuple(s for s in rows if s.label is None),
        strays=tuple(folder.others),
        findings=(*findings, *said, *private_fields(headers)),
    )
    return index if group_column else with_patient_options(index, options)


# -- an index that medimg wrote ------------------------------------------------------------------


def sniff_index(path: Path) -> Guess:
    """Whether a file is an index written by medimg whose images are DICOM files."""
    if path.suffix.lower() != ".csv":
        return Guess(0.0, "no folder of DICOM files")
    try:
        columns, rows = rows_of(path)
    except InputError:
        return Guess(0.0, "a CSV file without rows")
    if tuple(columns[:4]) == OWN_COLUMNS and is_dicom(path.parent / rows[0]["image"]):
        return Guess(1.0, "an index of DICOM files")
    return Guess(0.0, "no index of DICOM files")


def read_index(
    path: Path, options: Mapping[str, str], window: Window | None, own: bool
) -> DatasetIndex:
    """The index that a CSV file written by medimg gives; only the files it names are looked at.

    Raises:
        InputError: it is no such file, or names no DICOM file that is there.
    """
    columns, rows = rows_of(path)
    if tuple(columns[:4]) != OWN_COLUMNS:
        raise InputError(
            f"{path} is no index that medimg wrote (its columns: {', '.join(columns[:6])})",
            "Give the folder of DICOM files and the table: "
            f"medimg verify {quote(str(path.parent))} -o {quote(f'labels={path.name}')}",
        )
    named = list(dict.fromkeys(row["image"] for row in rows))
    there = [p for p in named if is_dicom(path.parent / p)]
    headers, damaged = read_headers(path.parent, there)
    if not headers:
        raise InputError(f"no DICOM file that {path} names is there", "Was it moved?")
    folder = Folder(headers, [], left_out(damaged))
    grouped = {"group": "group"} if any(row["group"] for row in rows) else {}
    found = read_labels(path, headers, {"image": "image", "label": "label", **grouped, **options})
    index = by_table(path, folder, found, options, path)
    return replace(index, source=pixels_of(path.parent, window, own))
