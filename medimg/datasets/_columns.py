"""Which column of a table is the image, the label, the patient and the split.

What a name or the values make unmistakable is taken; anything else is a question that names the
candidates, never a guess.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medimg.api import Finding, UsageError, canonical_split, counted, near_misses
from medimg.core.index import listed
from medimg.datasets._pictures import Pictures
from medimg.datasets._table import Table

IMAGE_NAMES = {
    "file", "filename", "filepath", "image", "imagefile", "imageid", "imageindex", "imagename",
    "imagepath", "img", "imgname", "path",
}  # fmt: skip
LABEL_NAMES = {
    "befund", "clase", "classe", "diagnose", "diagnosi", "diagnostic", "diagnostico", "etiqueta",
    "etiquette", "klasse",
    "category", "class", "classid", "classlabel", "classname", "diagnosis", "disease", "dx",
    "finding", "findinglabels", "findings", "groundtruth", "gt", "label", "labels", "pathology",
    "target", "targets",
}  # fmt: skip
PATIENT_NAMES = (
    "patient", "patientid", "patientids", "patientidentifier", "patientnumber", "patientno",
    "subject", "subjectid", "group", "groupid", "paciente", "pacienteid", "idpaciente",
    "patientennummer", "paziente", "patnr", "patno", "patid", "patnum", "patientnr", "patientnum",
    "patientennr", "patientcode", "patientkey", "ptid", "subjectno", "subjectnr", "subjectnumber",
    "subjectcode", "subjid", "usubjid", "participant", "participantid",
)  # fmt: skip
# patients where their values come again: a picture's number may be called so too
NAMES_IF_REPEATED = ("pid", "mrn")
ID_NAME = re.compile(r".*(id|ids|case|person|participant|lesion|study|exam)", re.IGNORECASE)
# rows looked at to see which column names images
SAMPLED_ROWS = 500
MOST_CLASSES = 60
# so many values are a label's even where hardly one comes twice
FEW_CLASSES = 10


@dataclass(frozen=True)
class Columns:
    """The columns taken: `labels` is one, or several that each stand for a class (0/1)."""

    image: str
    labels: tuple[str, ...]
    group: str | None = None
    split: str | None = None
    reason: str = ""
    findings: tuple[Finding, ...] = ()


@dataclass
class Candidate:
    """How a column does as the image column."""

    column: str
    files: list[tuple[str, ...] | None] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    @property
    def hits(self) -> int:
        return sum(f is not None for f in self.files)

    @property
    def distinct(self) -> int:
        return len({f for f in self.files if f is not None})

    @property
    def by_number(self) -> bool:
        return self.kinds == {"number"}


def plain(name: str) -> str:
    """A heading without case, blanks, marks and accents.

    >>> plain("Class Label"), plain("patient_id"), plain("Diagnóstico")
    ('classlabel', 'patientid', 'diagnostico')
    """
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", name).lower())


def named(table: Table, wanted: str, role: str) -> str:
    """The column that the user named.

    Raises:
        UsageError: the table has none of that name.
    """
    if wanted in table.columns:
        return wanted
    close = [c for c in table.columns if c.strip().lower() == wanted.strip().lower()]
    if len(close) == 1:
        return close[0]
    twice = table.called(wanted)
    if twice:
        told = ", ".join(f"{c} ({values_shown(table.values(c))})" for c in twice)
        raise UsageError(
            f"{len(twice)} columns of {table.name} are called {wanted!r}: {told}",
            f"Say which: {' or '.join(f'-o {role}={quoted(c)}' for c in twice)}",
        )
    columns = list(table.columns)
    found = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
    none = f", or -o {role}=none when there is none" if role in ("group", "split") else ""
    guess = near_misses(wanted, columns)
    near, example = "", example_of(table, role)
    if guess.startswith("Did"):
        near, example = f"{guess} ", guess.split("'")[1]
    raise UsageError(
        f"{table.name} has no column {wanted!r} (found: {found})",
        f"{near}Say which column holds the {role}: -o {role}={quoted(example)}{none}",
    )


def example_of(table: Table, role: str) -> str:
    """A column that could have a role, for a hint; `COLUMN` where none looks like it."""
    headings = {c: plain(table.heading(c)) for c in table.columns}
    ids = {c for c, name in headings.items() if name in PATIENT_NAMES or ID_NAME.fullmatch(name)}
    images = {c for c, name in headings.items() if name in IMAGE_NAMES}
    if role == "label":
        free = [c for c in headings if c not in ids | images and table.values(c)]
        free = [c for c in free if few_values(table, c) and not names_splits(table, c)]
        likely = [c for c in free if headings[c] in LABEL_NAMES] + free
    elif role == "group":
        likely = [c for c in headings if headings[c] in PATIENT_NAMES]
        likely += [c for c in headings if c in ids - images]
    elif role == "image":
        likely = [c for c in headings if c in images] + [c for c in headings if c in ids]
    else:
        likely = [c for c in headings if names_splits(table, c)]
    return likely[0] if likely else "COLUMN"


def choose(table: Table, pictures: Pictures, options: Mapping[str, str]) -> Columns:
    """The columns to read.

    Raises:
        UsageError: a column named is not there, or the user has to say which it is.
    """
    image, image_reason = choose_image(table, pictures, options)
    refuse_headless(table, image, pictures)
    labels, label_reason = choose_labels(table, image, options)
    split = choose_split(table, {image, *labels}, options)
    taken = {image, *labels, split or ""}
    group, findings = choose_group(table, taken, options)
    reason = f"{table.name}: {image_reason}, {label_reason}"
    return Columns(image, labels, group, split, reason, findings)


# -- the image -----------------------------------------------------------------------------------


def choose_image(table: Table, pictures: Pictures, options: Mapping[str, str]) -> tuple[str, str]:
    """The image column and why."""
    if "image" in options:
        column = named(table, options["image"], "image")
        return column, f"images in {column!r}"
    candidates = [candidate(table, column, pictures) for column in table.columns]
    candidates = [c for c in candidates if c.hits]
    if not candidates:
        raise no_image_column(table, pictures)
    best = max(
        candidates,
        key=lambda c: (c.distinct, not c.by_number, plain(table.heading(c.column)) in IMAGE_NAMES),
    )
    rivals = [c for c in candidates if rivalling(c, best)]
    if rivals:
        names = [c.column for c in (best, *rivals)]
        raise question("image", "names the image", table, names)
    return best.column, f"images in {best.column!r}, whose values name files"


def refuse_headless(table: Table, image: str, pictures: Pictures) -> None:
    """Fails where the heading of the image column is an image itself: a row would be lost.

    Raises:
        UsageError: the table has no header.
    """
    if plain(table.heading(image)) not in IMAGE_NAMES and pictures.find(image) is not None:
        raise UsageError(
            f"{table.name} has no header: its first line names an image ({image})",
            "Put a line of headings first: image,label",
        )


def candidate(table: Table, column: str, pictures: Pictures) -> Candidate:
    """Tries a column on some of the rows."""
    step = max(1, len(table.rows) // SAMPLED_ROWS)
    result = Candidate(column)
    for row in table.rows[::step]:
        match = pictures.find(row.cells.get(column, ""), row.split)
        result.files.append(match.paths if match else None)
        if match:
            result.kinds.add(match.kind)
    return result


def rivalling(other: Candidate, best: Candidate) -> bool:
    """Whether `other` names other images about as well as `best` does."""
    if other is best or other.distinct < best.distinct / 2:
        return False
    if other.by_number and not best.by_number:
        return False
    both = [(a, b) for a, b in zip(other.files, best.files, strict=True) if a and b]
    if all(a == b for a, b in both):
        return False
    # a row is about what is different in every row: the eye's picture, not the patient's other one
    return not (best.distinct == best.hits and other.distinct < 0.99 * other.hits)


def no_image_column(table: Table, pictures: Pictures) -> Exception:
    """The error where no column names an image that is there."""
    from medimg.api import InputError

    first = {c: v[0] for c in table.columns if (v := table.values(c))}
    shown = ", ".join(f"{c}={v[:40]}" for c, v in list(first.items())[:4])
    if not pictures.paths:
        return InputError(
            f"no image of {table.name} exists under {pictures.folder} "
            f"({len(table.rows):,} rows, the first: {shown})",
            dicom_step(pictures) or "Say where the images are: -o images=FOLDER",
        )
    return InputError(
        f"no column of {table.name} names an image under {pictures.folder} "
        f"(a row: {shown}; an image: {pictures.paths[0]})",
        "Say which column and where: -o image=COLUMN -o images=FOLDER",
    )


def dicom_step(pictures: Pictures) -> str:
    """The next step where what lies there instead of images is DICOM."""
    hints = [f.hint for f in pictures.tree.findings if "DICOM" in f.hint]
    return hints[0] if hints else ""


# -- the label -----------------------------------------------------------------------------------


def choose_labels(
    table: Table, image: str, options: Mapping[str, str]
) -> tuple[tuple[str, ...], str]:
    """The label column, or the columns of which each is a class, and why."""
    if "label" in options:
        wanted = options["label"]
        if wanted not in table.columns and len(listed(wanted)) > 1:
            columns = tuple(named(table, name, "label") for name in listed(wanted))
            return columns, f"a class each in {', '.join(columns)}"
        column = named(table, wanted, "label")
        return (column,), f"labels in {column!r}"
    others = [c for c in table.columns if c != image and table.values(c)]
    others = [c for c in others if plain(table.heading(c)) not in PATIENT_NAMES]
    others = [c for c in others if not names_splits(table, c)]
    fitting = [c for c in others if few_values(table, c)]
    telling = one_of_equals(table, [c for c in fitting if plain(table.heading(c)) in LABEL_NAMES])
    block = one_hot_block(table, others)
    if len(telling) == 1 and not block:
        return (telling[0],), f"labels in {telling[0]!r}"
    if len(others) == 1 and fitting:
        return (others[0],), f"labels in {others[0]!r}, the only other column"
    raise question(
        "label", "is the label", table, telling + [c for c in fitting if c not in telling], block
    )


def few_values(table: Table, column: str) -> bool:
    """Whether a column's values repeat as those of a label do; in a few rows they need not."""
    values = {part for cell in table.values(column) for part in cell.split("|")}
    small = FEW_CLASSES if plain(table.heading(column)) in LABEL_NAMES else 3
    return len(values) <= min(MOST_CLASSES, max(small, table.filled(column) // 2))


def one_of_equals(table: Table, columns: list[str]) -> list[str]:
    """Of columns that say the same in other words (`dx`, `dx_id`), the one in words."""
    if len(columns) < 2:
        return columns
    pairs = [set(zip(table.cells(columns[0]), table.cells(c), strict=True)) for c in columns[1:]]
    first = len(set(table.cells(columns[0])))
    same = all(len(p) == first == len({b for _, b in p}) for p in pairs)
    if not same:
        return columns
    wordy = [c for c in columns if not any(re.match(r"[\[(]?\d", v) for v in table.values(c))]
    return (wordy or columns)[:1]


def one_hot_block(table: Table, columns: Sequence[str]) -> list[str]:
    """Columns of 0 and 1 of which nearly every row has one: a class each."""
    binary = [c for c in columns if {v.removesuffix(".0") for v in table.values(c)} <= {"0", "1"}]
    if len(binary) < 3:
        return []
    marked = sum(
        any(row.cells.get(c, "").strip().removesuffix(".0") == "1" for c in binary)
        for row in table.rows
    )
    return binary if marked >= 0.95 * len(table.rows) else []


def question(
    role: str, what: str, table: Table, columns: Sequence[str], block: Sequence[str] = ()
) -> UsageError:
    """The question which column it is, with the candidates and some of their values."""
    if not columns:
        return UsageError(
            f"no column of {table.name} looks like the one that {what} "
            f"(found: {', '.join(table.columns[:20])})",
            f"Say which it is: -o {role}=COLUMN",
        )
    shown = ", ".join(f"{c} ({values_shown(table.values(c))})" for c in columns[:12])
    more = f", and {len(columns) - 12} more" if len(columns) > 12 else ""
    ways = [f"-o {role}={quoted(columns[0])}"]
    if block and (fault := why_no_classes(table, block)):
        one = f"-o {role}={quoted(block[0])}"
        ways = [way for way in ways if way != one] + [
            f"{one} for a class against the rest ({fault})"
        ]
    elif block:
        ways.append(f"-o {role}={quoted(','.join(block))} where each column is a class")
        if columns[0] in block:
            ways.reverse()
    return UsageError(
        f"which column of {table.name} {what}? It could be {shown}{more}",
        f"Say which: {', or '.join(ways)}",
    )


def why_no_classes(table: Table, block: Sequence[str]) -> str:
    """What stands against reading columns of 0 and 1 as a class each; empty where nothing does."""
    rows = [[row.cells.get(c, "").strip().removesuffix(".0") for c in block] for row in table.rows]
    several = sum(row.count("1") > 1 for row in rows)
    none = sum("1" not in row and "0" in row for row in rows)
    names = ",".join(block)
    if several:
        return f"several of {names} are marked in {counted(several, 'row')}"
    return f"none of {names} is marked in {counted(none, 'row')}" if none else ""


def quoted(text: str) -> str:
    """A value as one word of a command line."""
    import shlex

    return shlex.quote(text)


def values_shown(values: Sequence[str]) -> str:
    """The first few values, cut short."""
    cut = [v if len(v) <= 24 else f"{v[:23]}…" for v in values[:4]]
    return ", ".join(cut) + (", …" if len(values) > 4 else "")


# -- split and patient ---------------------------------------------------------------------------


SPLIT_NAMES = {"split", "set", "subset", "partition", "part", "fold"}


def choose_split(table: Table, taken: set[str], options: Mapping[str, str]) -> str | None:
    """The column whose values are all names of splits."""
    if "split" in options:
        if options["split"].lower() == "none":
            return None
        return named(table, options["split"], "split")
    found = [c for c in table.columns if c not in taken and names_splits(table, c)]
    if len(found) > 1:
        exact = [c for c in found if plain(table.heading(c)) == "split"]
        if len(exact) != 1:
            raise question("split", "is the split", table, found)
        found = exact
    if not found:
        demand_no_half_split(table, taken)
    return found[0] if found else None


def demand_no_half_split(table: Table, taken: set[str]) -> None:
    """A column of splits with a value that is none would be lost, and leaks with it.

    Raises:
        UsageError: there is one.
    """
    for column in table.columns:
        values = [] if column in taken else table.values(column)
        known = {split for value in values if (split := canonical_split(value))}
        odd = [value for value in values if not canonical_split(value)]
        named_so = plain(table.heading(column)) in SPLIT_NAMES
        if "train" in known and len(known) > 1 and odd and (named_so or len(odd) < len(known)):
            raise UsageError(
                f"column {table.heading(column)!r} of {table.name} names the splits, but "
                f"{values_shown(odd)} is none",
                "Splits are train, val and test; leave the cell empty where an image is in none. "
                "Without the column: -o split=none",
            )


def names_splits(table: Table, column: str) -> bool:
    """Whether all of a column's values are names of splits."""
    values = table.values(column)
    return bool(values) and all(map(canonical_split, values))


def choose_group(
    table: Table, taken: set[str], options: Mapping[str, str]
) -> tuple[str | None, tuple[Finding, ...]]:
    """The patient column where its name is unmistakable; a remark where one looks like it."""
    if "group" in options:
        if options["group"].lower() == "none":
            return None, ()
        return named(table, options["group"], "group"), ()
    if "group_regex" in options:
        return None, ()
    free = [c for c in table.columns if c not in taken and table.values(c)]
    for name in (*PATIENT_NAMES, *NAMES_IF_REPEATED):
        known = [c for c in free if plain(table.heading(c)) == name]
        if name in NAMES_IF_REPEATED:
            known = [c for c in known if repeats(table, c)]
        if len(known) > 1 and any(c in table.headings for c in known):
            raise question("group", "names the patients", table, known)
        if known:
            return known[-1], ()
    likely = [c for c in free if ID_NAME.fullmatch(plain(table.heading(c))) and repeats(table, c)]
    return None, tuple(id_finding(table, c) for c in likely[:1])


def repeats(table: Table, column: str) -> bool:
    """Whether a column's values come again, and are more than a handful."""
    values = len(table.values(column))
    filled = table.filled(column)
    return max(10, filled / 50) <= values < filled


def id_finding(table: Table, column: str) -> Finding:
    """The remark that a column may name the patients."""
    return Finding(
        "patient-ids-unusable",
        "info",
        f"column {column!r} of {table.name} repeats over {len(table.values(column)):,} values "
        f"and may name the patients; it is not used as such",
        count=len(table.values(column)),
        hint=f"If it does: -o group={quoted(column)}",
    )
