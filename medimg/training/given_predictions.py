"""Predictions made elsewhere, by any model: a table of probabilities beside a dataset."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import Any

import numpy as np

from medimg.core.errors import InputError, UsageError
from medimg.core.runs import Predictions, predictions_of
from medimg.core.types import DatasetIndex, Finding, Sample
from medimg.datasets._table import delimiter_of

NAMES = ("path", "file", "filename", "file_name", "image", "image_path", "image_id", "id", "name")
ONE_PROBABILITY = ("probability", "prob", "score", "p", "y_prob", "y_score", "y_pred")
PREFIX = "prob_"
# what rounding to three places may do to a sum
TOLERANCE = 2e-3
COLUMNS = "Columns: path, and prob_<class> for each class (or, for two classes, probability)."


@dataclass(frozen=True)
class Row:
    """One line of a table of predictions.

    Args:
        file, line: where it stands, the heading being line 1.
        name: of the image, as it stands there.
        values: Float[K], not yet looked at.
        sha256, split, label, group: where the table has such columns.
        how: the image was found: by `path`, `content`, or `end` of the path; empty before.
    """

    file: Path
    line: int
    name: str
    values: tuple[float, ...]
    sha256: str = ""
    split: str = ""
    label: str = ""
    group: str = ""
    how: str = ""

    @property
    def where(self) -> str:
        return f"{self.file.name} line {self.line} ({self.name})"


@dataclass(frozen=True)
class Given:
    """Rows of one or several tables with the same classes.

    Args:
        classes: K names in the order of `Row.values`; None where one column holds the
            probability of the positive class.
    """

    classes: tuple[str, ...] | None
    rows: tuple[Row, ...]


def read_given(files: Sequence[Path]) -> Given:
    """The rows of some tables.

    Raises:
        InputError: a table that can't be read, that has no image or no probability column, or
            whose classes are not those of the first.
    """
    parts = [read_table(file) for file in files]
    for file, part in zip(files[1:], parts[1:], strict=True):
        if part.classes != parts[0].classes:
            raise InputError(
                f"{file.name} has the classes {told(part.classes)}, {files[0].name} has "
                f"{told(parts[0].classes)}",
                "Predictions of one evaluation come from one model.",
            )
    return Given(parts[0].classes, tuple(row for part in parts for row in part.rows))


def told(classes: tuple[str, ...] | None) -> str:
    return "one probability" if classes is None else ", ".join(classes)


def read_table(file: Path) -> Given:
    try:
        text = text_of(file.read_bytes())
        delimiter = delimiter_of(text)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        heading = [str(c) for c in reader.fieldnames or ()]
        lines = [(reader.line_num, cells) for cells in reader]
    except (OSError, csv.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{file} can't be read: {why}", COLUMNS) from error
    if not lines:
        raise InputError(f"{file} holds no rows", COLUMNS)
    names = {c.strip().lower(): c for c in heading}
    image = next((names[n] for n in NAMES if n in names), None)
    if image is None:
        raise InputError(
            f"{file} has no column that names the images (found: {', '.join(heading[:12])})",
            COLUMNS,
        )
    classes, columns = probability_columns(file, heading, names)
    if delimiter == ";":
        lines = [(line, cells | with_points(cells, columns)) for line, cells in lines]
    rows = [row_of(file, line, cells, image, columns) for line, cells in lines]
    return Given(classes, tuple(rows))


def text_of(data: bytes) -> str:
    """UTF-8 or UTF-16; bytes of file names that are neither stay as they are."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "surrogateescape")


def with_points(cells: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    """Numbers as they are written where the decimal sign is a comma, with a point instead."""
    return {column: (cells.get(column) or "").replace(",", ".") for column in columns}


def probability_columns(
    file: Path, heading: Sequence[str], names: Mapping[str, str]
) -> tuple[tuple[str, ...] | None, list[str]]:
    prefixed = [c for c in heading if c.startswith(PREFIX) and c != PREFIX]
    if len(prefixed) == 1:
        raise InputError(
            f"{file} has one class column, {prefixed[0]}",
            "Give a column for each class, or call it probability: of the positive class.",
        )
    if prefixed:
        twice = [c for c, n in Counter(prefixed).items() if n > 1]
        if twice:
            raise InputError(f"{file} has the column {twice[0]} twice", COLUMNS)
        return tuple(c.removeprefix(PREFIX) for c in prefixed), prefixed
    single = next((names[n] for n in ONE_PROBABILITY if n in names), None)
    if single is None:
        raise InputError(
            f"{file} has no column of probabilities (found: {', '.join(heading[:12])})", COLUMNS
        )
    return None, [single]


def row_of(
    file: Path, line: int, cells: Mapping[str, Any], image: str, columns: Sequence[str]
) -> Row:
    name = (cells.get(image) or "").strip()
    values = []
    for column in columns:
        text = (cells.get(column) or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            shown = f"is {text!r}" if text else "is empty"
            raise InputError(
                f"{file.name} line {line} ({name}): {column} {shown}, no probability",
                "Give every image a number for every class, or leave the image out of the dataset.",
            )
        values.append(value)
    more = {k: (cells.get(k) or "").strip() for k in ("sha256", "split", "label", "group")}
    return Row(file, line, name, tuple(values), **more)


def class_order(given: Given, index: DatasetIndex, positive: str | None) -> tuple[str, ...]:
    """The classes that the columns stand for.

    Raises:
        InputError: the dataset holds a class that has no column, or one column stands for more
            than two classes.
    """
    if given.classes is None:
        if len(index.classes) != 2 or positive is None:
            raise InputError(
                f"one probability an image is for two classes of which one is positive; "
                f"{index.name} has {', '.join(index.classes)}",
                "Say which is positive: --positive CLASS"
                if len(index.classes) == 2
                else "Give a column prob_<class> for each class.",
            )
        return tuple(index.classes)
    lacking = [c for c in index.classes if c not in given.classes]
    if lacking:
        raise InputError(
            f"the predictions are for the classes {', '.join(given.classes)}, {index.name} has "
            f"{', '.join(index.classes)}",
            hint_for_classes(lacking, given.classes),
        )
    return given.classes


def hint_for_classes(lacking: Sequence[str], known: Sequence[str]) -> str:
    """The --map that would join them where only case differs, else how to say it."""
    plain = {k.casefold().replace("_", " ").strip(): k for k in known}
    pairs = [(c, plain.get(c.casefold().replace("_", " ").strip())) for c in lacking]
    maps = " ".join(f"--map {quote(a)}={quote(b or 'CLASS')}" for a, b in pairs)
    if all(b for _, b in pairs):
        return f"Say that they are the same: {maps}"
    odd = next(a for a, b in pairs if b is None)
    return (
        f"Say which is which, CLASS being one of {', '.join(known)}: {maps}\n"
        f"To leave its images out: --map {quote(odd)}="
    )


# -- which row is which image ----------------------------------------------------------------


def matched(
    given: Given, index: DatasetIndex, sha256: Mapping[str, str]
) -> tuple[dict[str, Row], list[Row]]:
    """Path of a sample to its row, and the rows that name no image of the dataset.

    A row is found by path, by content where the table has hashes, else by the end of the path,
    the file name, or the name without its suffix, as long as only one image is called so.

    Raises:
        InputError: two rows for one image, or a row that several images answer to.
    """
    # rows for images without a label are fine, and of no use here
    find = finder((*index.samples, *index.unlabelled), sha256)
    rows: dict[str, Row] = {}
    strangers = []
    for row in given.rows:
        paths, how = find(row)
        if not paths:
            strangers.append(row)
            continue
        if len(paths) > 1:
            raise InputError(
                f"{row.where} could be {len(paths)} images of {index.name}, among them "
                f"{paths[0]} and {paths[1]}",
                "Give paths relative to the dataset.",
            )
        if paths[0] in rows:
            raise InputError(
                f"{paths[0]} has two rows: {rows[paths[0]].where} and {row.where}",
                "Leave one row an image (of several predictions an image, their mean).",
            )
        rows[paths[0]] = replace(row, how=how)
    return rows, strangers


def finder(
    samples: Sequence[Sample], sha256: Mapping[str, str]
) -> Callable[[Row], tuple[tuple[str, ...], str]]:
    """Row to the paths that it may mean, and how they were found."""
    exact = {s.path for s in samples}
    by_end: dict[str, list[str]] = {}
    by_content: dict[str, list[str]] = {}
    for s in samples:
        for end in ends(s.path):
            by_end.setdefault(end, []).append(s.path)
        by_content.setdefault(sha256.get(s.path, ""), []).append(s.path)

    def find(row: Row) -> tuple[tuple[str, ...], str]:
        name = row.name.replace("\\", "/").removeprefix("./")
        if name in exact:
            return (name,), "path"
        if row.sha256 and len(by_content.get(row.sha256, [])) == 1:
            return tuple(by_content[row.sha256]), "content"
        for end in ends(name):
            if end in by_end:
                return tuple(by_end[end]), "end"
        return (), ""

    return find


def ends(path: str) -> Iterator[str]:
    """A path's ends from the longest to the shortest, then its name without the suffix.

    >>> list(ends("a/b/c.png"))
    ['a/b/c.png', 'b/c.png', 'c.png', 'c']
    """
    parts = PurePosixPath(path.replace("::", "/")).parts
    for start in range(len(parts)):
        yield "/".join(parts[start:])
    if parts and "." in parts[-1]:
        yield PurePosixPath(parts[-1]).stem


# -- one part ---------------------------------------------------------------------------------


def given_part(
    rows: Mapping[str, Row],
    index: DatasetIndex,
    split: str,
    classes: Sequence[str],
    positive: str | None,
    sha256: Mapping[str, str],
    *,
    one_probability: bool,
    called: Mapping[str, str],
) -> Predictions:
    """The predictions of one part, in the dataset's order.

    Args:
        called: the labels that a table may give to a class beside its own name (of --map).
    Raises:
        InputError: an image without a row, a row that is no set of probabilities, or a label that
            is not the dataset's.
    """
    samples = index.part(split)
    missing = [s.path for s in samples if s.path not in rows]
    if missing:
        raise InputError(
            f"{len(missing):,} of the {len(samples):,} {split} images of {index.name} have no "
            f"prediction, the first {missing[0]}",
            "Every image counts: leaving out the hard ones flatters a model. Predict these too, "
            "or leave them out of the dataset.",
        )
    table = [rows[s.path] for s in samples]
    check_labels(table, samples, index, called)
    values = probabilities(table, classes, positive, one_probability)
    return predictions_of(
        samples, values, classes, (sha256.get(s.path, "") for s in samples), split
    )


def check_labels(
    table: Sequence[Row], samples: Sequence[Sample], index: DatasetIndex, called: Mapping[str, str]
) -> None:
    apart = [
        (row, s)
        for row, s in zip(table, samples, strict=True)
        if row.label and called.get(row.label, row.label) != s.label
    ]
    if apart:
        row, sample = apart[0]
        raise InputError(
            f"rows whose label is not that of {index.name}: {len(apart):,}, the first {row.where}: "
            f"{row.label}, not {sample.label}",
            "The rows may have slipped against the images. If the dataset is right, remove the "
            "column label.",
        )


def what_they_look_like(values: np.ndarray, outside: np.ndarray) -> str:
    """The hint for numbers outside 0 to 1: what they may be instead.

    Args:
        values: Float[N, K], K one where only the positive class has a column.
        outside: Bool[N], the rows that hold such numbers.
    """
    hundreds = abs(values.sum(axis=1) - 100) <= 1
    alone = values.shape[1] == 1 and values.max() > 10
    if values.min() >= 0 and values.max() <= 100 and (alone or hundreds.all()):
        return "These look like percentages: divide by 100."
    if 2 * int(outside.sum()) > len(outside):
        return "These look like logits: give probabilities (their softmax, or sigmoid)."
    return "A probability is from 0 to 1: look at where these rows come from."


def probabilities(
    table: Sequence[Row], classes: Sequence[str], positive: str | None, one_probability: bool
) -> np.ndarray:
    """Float64[N, K], rows summing to 1.

    Raises:
        InputError: a value outside 0..1, or a row that sums to something else.
    """
    values = np.array([row.values for row in table], dtype=np.float64).reshape(len(table), -1)
    outside = np.any((values < 0) | (values > 1), axis=1)
    if outside.any():
        row = table[int(np.argmax(outside))]
        raise InputError(
            f"rows with numbers outside 0 to 1: {int(outside.sum()):,}, the first {row.where}: "
            f"{shown(row.values)}",
            what_they_look_like(values, np.asarray(outside)),
        )
    if one_probability:
        values = np.hstack([1 - values, values])
        return values if classes.index(str(positive)) == 1 else values[:, ::-1].copy()
    totals = values.sum(axis=1)
    wrong = abs(totals - 1) > TOLERANCE
    if wrong.any():
        row = table[int(np.argmax(wrong))]
        raise InputError(
            f"rows whose probabilities do not sum to 1: {int(wrong.sum()):,}, the first "
            f"{row.where}: {shown(row.values)} sum to {totals[wrong][0]:.4g}",
            "Give probabilities of classes that exclude one another (a softmax).",
        )
    # what is right to the last places stays as it was written
    rounded = abs(totals - 1) > 1e-6
    return values / np.where(rounded, totals, 1.0)[:, None]


def shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:8])


def strangers_refused(strangers: Sequence[Row], matched_rows: int, index: DatasetIndex) -> None:
    """Raises InputError where rows name images that the dataset does not hold."""
    if strangers and not matched_rows:
        raise InputError(
            f"no row of {strangers[0].file.name} names an image of {index.name}, the first "
            f"{strangers[0].name} (the dataset's first: {index.samples[0].path})",
            "Are these predictions for another dataset?",
        )
    if strangers:
        raise InputError(
            f"rows that name no image of {index.name}: {len(strangers):,}, the first "
            f"{strangers[0].where}",
            "Remove these rows, or give the dataset that they are of.",
        )


def splits_of(rows: Mapping[str, Row], index: DatasetIndex) -> DatasetIndex | None:
    """The dataset with the parts that the tables name; None where they name none.

    Raises:
        UsageError: a part that is none.
    """
    from medimg.core.types import SPLITS

    named = {path: row.split for path, row in rows.items() if row.split}
    if not named:
        return None
    odd = next((row for row in rows.values() if row.split and row.split not in SPLITS), None)
    if odd is not None:
        raise UsageError(
            f"{odd.where}: the split {odd.split!r} is none", f"Known: {', '.join(SPLITS)}"
        )
    return index.with_samples([replace(s, split=named.get(s.path)) for s in index.samples])


# -- what a table says beside the probabilities ------------------------------------------------


def check_contents(rows: Mapping[str, Row], sha256: Mapping[str, str], name: str) -> None:
    """Raises InputError where a table's hashes are those of other pictures."""
    other = [
        row
        for path, row in rows.items()
        if row.sha256 and sha256.get(path) and row.sha256 != sha256[path]
    ]
    if other:
        raise InputError(
            f"rows whose sha256 is not that of the image of {name}: {len(other):,} of "
            f"{len(rows):,}, the first {other[0].where}",
            "These are predictions for other pictures under the same names. If the pictures are "
            "right, remove the column sha256.",
        )


def other_parts(rows: Mapping[str, Row], index: DatasetIndex, asked: bool) -> list[Finding]:
    """What a table says of the parts where the dataset says otherwise.

    Args:
        asked: the parts are those of --splits, which the user chose over the table's.
    Returns:
        `csv-contradictions`, a warning, where they were asked for.
    Raises:
        InputError: they were not.
    """
    apart = [
        (rows[s.path], s.split)
        for s in index.samples
        if s.path in rows and rows[s.path].split and s.split and rows[s.path].split != s.split
    ]
    if not apart:
        return []
    row, split = apart[0]
    message = (
        f"rows whose split is not that of {index.name}: {len(apart):,} of {len(rows):,}, the "
        f"first {row.where}: {row.split}, not {split}"
    )
    if not asked:
        raise InputError(
            message,
            "The model may have been trained or tuned on what is test here. Say which parts are "
            "right: --splits FILE, or remove the column split.",
        )
    return [
        Finding(
            "csv-contradictions",
            "warning",
            message,
            len(apart),
            tuple({"file": r.name, "split": r.split} for r, _ in apart[:1000]),
            "The parts of --splits were taken.",
        )
    ]


def other_patients(rows: Mapping[str, Row], index: DatasetIndex) -> list[Finding]:
    """`csv-contradictions`, a warning, where a table names other patients than the dataset."""
    apart = [
        (rows[s.path], s.group)
        for s in index.samples
        if s.path in rows and rows[s.path].group and s.group and rows[s.path].group != s.group
    ]
    if not apart:
        return []
    row, group = apart[0]
    return [
        Finding(
            "csv-contradictions",
            "warning",
            f"rows whose patient is not that of {index.name}: {len(apart):,} of {len(rows):,}, "
            f"the first {row.where}: {row.group}, not {group}; the dataset's were taken",
            len(apart),
            tuple({"file": r.name, "patient": r.group} for r, _ in apart[:1000]),
            "If the table is right, say where the patients stand: -o group=COLUMN, or "
            "-o group_regex=REGEX",
        )
    ]


def told_matches(rows: Mapping[str, Row]) -> list[Finding]:
    """`matched-by-name`, information, where rows were found otherwise than by their path."""
    found = [(path, row) for path, row in rows.items() if row.how in ("content", "end")]
    if not found:
        return []
    path, row = found[0]
    by_content = sum(1 for _, r in found if r.how == "content")
    ways = [f"{by_content:,} by content (sha256)"] if by_content else []
    if len(found) > by_content:
        ways.append(f"{len(found) - by_content:,} by the end of the path or the file name")
    return [
        Finding(
            "matched-by-name",
            "info",
            f"{len(found):,} of the {len(rows):,} rows name no path of the dataset and were "
            f"matched otherwise ({', '.join(ways)}), the first {row.name} to {path}",
            len(found),
            hint="Are these the predictions of this dataset? Paths relative to it leave no doubt.",
        )
    ]
