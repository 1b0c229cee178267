"""Pages that hold all they show: one file, no script, nothing fetched, light or dark."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.core.as_typed import filled, words_for
from medimg.core.checking import NOT_RUN
from medimg.core.report import write_atomically
from medimg.core.results import RESULTS
from medimg.core.types import SPLITS, DatasetIndex, Sample
from medimg.reports.plots import PHANTOM_NOTE, is_phantom
from medimg.reports.thumbnails import MOST_PICTURES, Thumbnail, Thumbnails, drawing_uri

if TYPE_CHECKING:
    from jinja2 import Environment

SEVERITIES = {"error": "Errors", "warning": "Warnings", "info": "Information"}
# pictures of one group of copies, or of one patient, that stand side by side
MOST_SIDE_BY_SIDE = 6
IDENTICAL = {
    "bytes": "byte-identical",
    "pixels": "pixel-identical",
    "nearly": "nearly identical",
    "once moved": "nearly identical once moved by a few pixels",
    "no, alike": "look alike",
}
SAMPLE_KEYS = ("file", "files", "class", "classes", "split", "splits", "patient")
PLOTS = {
    "classes": "Images by class and part, as bars",
    "samples": "Pictures of each class, drawn at random",
    "intensities": "Share of pixels at each grey level, a curve a class",
    "sizes": "Width against height of the images, by class",
    "patients": "How many patients have how many images",
}
# options that take no value: the word after them is prose
FLAGS = r"--(?:html|json|list|no-cache|keep-duplicates-together)\b"
VALUE = r"(?:'[^']*'|[^\s'-]\S*)"
# a command in a hint: medimg, its name, then whatever reads as its arguments
COMMAND = re.compile(
    rf"medimg (?:{'|'.join(sorted(RESULTS, key=len, reverse=True))})\b(?![-\w])"
    rf"(?: (?:DATASET\b|{FLAGS}|--?[a-z][-a-z]* {VALUE}|'[^']*'|(?=[^\s-]*/)[^\s-]\S*))*"
)
SIZE_MARK = "<!--size-->"


@dataclass(frozen=True, slots=True)
class Card:
    """One file: its picture or why there is none, where it stands, what is said of it."""

    name: str
    place: str
    said: tuple[tuple[str, str], ...]
    picture: Thumbnail

    @property
    def alt(self) -> str:
        return f"{self.name}: {self.place}" if self.place else self.name

    @property
    def parts(self) -> list[str]:
        """The name, cut where a line may break."""
        return re.split(r"(?<=[/_])", self.name)


@dataclass(frozen=True, slots=True)
class Group:
    """Files that belong side by side; `more` stand only in the report."""

    title: str
    cards: tuple[Card, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Section:
    """A finding as the page shows it.

    Args:
        hint: pieces of the hint, and whether each is a command to copy.
        rest: items that stand only in the report.
    """

    anchor: str
    check: str
    severity: str
    message: str
    count: int
    hint: tuple[tuple[str, bool], ...]
    groups: tuple[Group, ...]
    cards: tuple[Card, ...]
    table: Table | None
    rest: int


# -- pages -------------------------------------------------------------------------------------


def verify_page(
    report: Mapping[str, Any],
    index: DatasetIndex,
    *,
    thumbnails_px: int = 160,
    most_items: int = 60,
    most_pictures: int = MOST_PICTURES,
    enough: Callable[[], bool] = lambda: False,
) -> str:
    """A finished verify report as a page, with thumbnails of what was found.

    A file that can't be read any more stands there with the reason instead of its picture.

    Args:
        report: what report.json holds.
        index: the dataset it is about; its source gives the pictures.
        thumbnails_px: their width and height.
        most_items: items shown of one finding.
        most_pictures: thumbnails on the page; worse findings come first.
        enough: whether somebody waits for the page: no picture is drawn any more then.
    """
    pictures = Thumbnails(index, thumbnails_px, most_pictures, enough)
    dataset = as_typed(report["invocation"]["settings"])
    ranked = sorted(report["findings"], key=lambda f: list(SEVERITIES).index(f["severity"]))
    sections = [
        section(number, finding, pictures, dataset, most_items)
        for number, finding in enumerate(ranked, 1)
    ]
    checks = report["result"]["checks"]
    found = {finding["check"] for finding in ranked}
    baseline = report["result"].get("baseline")
    aside = skipped(checks)
    not_run = aside.pop(NOT_RUN, [])
    return rendered(
        "verify.html.j2",
        report=report,
        index=index,
        verdict=verdict(report),
        worst=ranked[0]["severity"] if ranked else "ok",
        sections={s: [x for x in sections if x.severity == s] for s in SEVERITIES},
        severities=SEVERITIES,
        fine=[n for n, c in checks.items() if c["status"] == "ok" and n not in found],
        skipped=aside,
        not_run=not_run,
        interrupted=report["result"].get("interrupted"),
        partial=report["result"].get("partial"),
        known=sorted({f["check"] for f in baseline["findings"]}) if baseline else [],
        baseline=baseline,
        narrowed=narrowed(report["invocation"]["settings"]),
        pictures=pictures,
    )


def inspect_page(report: Mapping[str, Any], index: DatasetIndex, plots: Sequence[Path]) -> str:
    """An inspect report as a page: what it prints, its tables and its plots.

    Args:
        report: what report.json holds.
        plots: the PNG files it drew; one that can't be read is left out by name.
    """
    dataset = as_typed(report["invocation"]["settings"])
    result = report["result"]
    remarks = [f for f in report["findings"] if f["severity"] != "info"]
    return rendered(
        "inspect.html.j2",
        report=report,
        index=index,
        sizes=size_table(result["sizes"]),
        commonest=commonest_table(result["sizes"]),
        storage=storage_table(result),
        intensity=intensity_table(result["intensity"]),
        people=people_table(result["groups"]),
        remarks=[(f, pieces(f.get("hint", ""), dataset)) for f in remarks],
        plots=[plot(path) for path in plots],
        next_step=filled("medimg verify DATASET", dataset),
    )


def write_page(path: Path, html: str) -> int:
    """Writes the page and returns its size in bytes: the old page or the new one, never half.

    Raises:
        InputError: it can't be written.
    """
    # a file name that is no UTF-8 holds characters that can't be encoded
    data = html.encode("utf-8", "replace")
    write_atomically(path, data)
    return len(data)


def rendered(template: str, *, index: DatasetIndex, **more: Any) -> str:
    """A template filled in; everything from outside is escaped. It says its own size at the end."""
    page = (
        environment()
        .get_template(template)
        .render(
            index=index,
            phantom=PHANTOM_NOTE if is_phantom(index) else "",
            classes=class_table(index),
            **more,
        )
    )
    return page.replace(SIZE_MARK, size_in_words(len(page.encode("utf-8", "replace"))))


@cache
def environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["command_line"] = command_line
    made.globals["size_mark"] = SIZE_MARK
    return made


# -- words -------------------------------------------------------------------------------------


def verdict(report: Mapping[str, Any]) -> str:
    """One line on whether the dataset can be trained on, as far as was looked.

    >>> verdict({"findings": [], "result": {"checks": {}}})
    'No errors, no warnings: none of the checks that ran found anything to mend.'
    """
    errors, warnings = (
        sum(f["severity"] == severity for f in report["findings"])
        for severity in ("error", "warning")
    )
    new = "new " if report["result"].get("baseline") else ""
    counts = f"{number_of(errors, f'{new}error')}, {number_of(warnings, f'{new}warning')}"
    counts = counts[0].upper() + counts[1:]
    if errors:
        return f"{counts}: not fit for training as it stands."
    if report["result"].get("partial"):
        return f"{counts} so far: the files were not all read, so that nothing is decided."
    if report["result"].get("interrupted"):
        return f"{counts} so far: the checks were not all run, so that nothing is decided."
    if warnings:
        return f"{counts}: nothing that forbids training; see to the warnings first."
    return f"{counts}: none of the checks that ran found anything to mend."


def number_of(count: int, word: str) -> str:
    return f"{count:,} {word}{'s' * (count != 1)}" if count else f"no {word}s"


def narrowed(settings: Mapping[str, Any]) -> str:
    """Which checks were asked for, where it was not all of them."""
    words = []
    if settings.get("only"):
        words.append(f"Only {', '.join(settings['only'])} was asked for.")
    if settings.get("skip"):
        words.append(f"Left out on request: {', '.join(settings['skip'])}.")
    return " ".join(words)


def skipped(checks: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Reason to the checks that had nothing to look at."""
    aside: dict[str, list[str]] = {}
    for name, check in checks.items():
        if check["status"] == "skipped":
            aside.setdefault(check.get("reason") or "no reason given", []).append(name)
    return aside


def command_line(report: Mapping[str, Any]) -> str:
    """The command that made the report."""
    return shlex.join(["medimg", *report["invocation"]["arguments"]])


def as_typed(settings: Mapping[str, Any]) -> dict[str, str]:
    """DATASET and how it is read, as it was typed."""
    return words_for({**settings, "dataset": settings.get("dataset") or "DATASET"})


def pieces(hint: str, typed: Mapping[str, str]) -> tuple[tuple[str, bool], ...]:
    """A hint cut into prose and commands, DATASET replaced by what was typed.

    >>> typed = {"DATASET": "./scans"}
    >>> pieces("Look: medimg verify DATASET --only blur --html, or wait.", typed)
    (('Look: ', False), ('medimg verify ./scans --only blur --html', True), (', or wait.', False))
    """
    cut, place = [], 0
    for match in COMMAND.finditer(hint):
        words = match[0].rstrip(".,;:)")
        if " " not in words.removeprefix("medimg "):
            continue  # a command's bare name is prose
        end = match.start() + len(words)
        cut += [(hint[place : match.start()], False), (filled(words, typed), True)]
        place = end
    return tuple(piece for piece in (*cut, (hint[place:], False)) if piece[0])


def size_in_words(size: int) -> str:
    """Bytes as one reads them.

    >>> size_in_words(340), size_in_words(52_000), size_in_words(1_840_000)
    ('1 KB', '52 KB', '1.8 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} KB"


def in_words(value: Any) -> str:
    """A value of an item, as one reads it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        # a line of a table or a year is no quantity that needs a comma
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(in_words(v) for v in value)
    return str(value)


# -- findings ----------------------------------------------------------------------------------


def section(
    number: int,
    finding: Mapping[str, Any],
    pictures: Thumbnails,
    typed: Mapping[str, str],
    most_items: int,
) -> Section:
    """One finding: groups side by side, single files as cards, whatever has no file as a table."""
    items = finding.get("items") or ()
    groups, cards, rows = [], [], []
    for row in items[:most_items]:
        files = files_of(row, pictures)
        if files:
            groups.append(group(row, files, pictures))
        elif pictures.expected(row.get("file")):
            cards.append(card(row["file"], row, pictures))
        else:
            rows.append(row)
    return Section(
        anchor=f"finding-{number}",
        check=finding["check"],
        severity=finding["severity"],
        message=finding["message"],
        count=finding.get("count") or len(items),
        hint=pieces(finding.get("hint") or "", typed),
        groups=tuple(groups),
        cards=tuple(cards),
        table=table_of(rows) if rows else None,
        rest=max(0, len(items) - most_items),
    )


def files_of(row: Mapping[str, Any], pictures: Thumbnails) -> list[str]:
    """The files that a row shows side by side: its own, or a patient's on several sides."""
    files = row.get("files")
    if isinstance(files, (list, tuple)):
        return [str(f) for f in files]
    if "patient" not in row or "file" in row or not row.keys() & {"classes", "splits"}:
        return []
    return pictures.of_patient(row["patient"])


def group(row: Mapping[str, Any], files: Sequence[str], pictures: Thumbnails) -> Group:
    """Files side by side, each side of the matter among them."""
    chosen = one_of_each(files, pictures)
    title = []
    for key in ("classes", "splits"):
        sides = [str(side) for side in row.get(key) or ()]
        sides.sort(key=lambda side: SPLITS.index(side) if side in SPLITS else 0)
        if len(sides) > 1:
            title.append(f"{'in classes' if key == 'classes' else 'in'} {' and '.join(sides)}")
    if "patient" in row:
        title.insert(0, f"patient {row['patient']}")
    if "identical" in row:
        title.insert(0, IDENTICAL.get(row["identical"], str(row["identical"])))
    title += [f"{name} {value}" for name, value in said_of(row) if name != "identical"]
    cards = tuple(card(file, {}, pictures) for file in chosen)
    return Group(", ".join(title), cards, len(files) - len(chosen))


def one_of_each(files: Sequence[str], pictures: Thumbnails) -> list[str]:
    """As many as stand side by side: first one of each class and part, then the rest."""

    def side(file: str) -> tuple[Any, Any]:
        sample = pictures.sample(file)
        return (sample.label, sample.split) if sample else (None, None)

    seen: dict[tuple[Any, Any], int] = {}
    turns = []
    for file in files:
        turns.append(seen.get(side(file), 0))
        seen[side(file)] = turns[-1] + 1
    places = sorted(range(len(files)), key=lambda n: turns[n])[:MOST_SIDE_BY_SIDE]
    return [files[n] for n in sorted(places)]


def card(file: str, row: Mapping[str, Any], pictures: Thumbnails) -> Card:
    """A file's card; the check's own reason says more than the decoder's."""
    picture = pictures.of(file)
    reason = row.get("reason")
    if picture.uri is None and reason:
        picture = Thumbnail(None, str(reason))
    return Card(pictures.name(file), place_of(row, pictures.sample(file)), said_of(row), picture)


def place_of(row: Mapping[str, Any], sample: Sample | None) -> str:
    """Class, part and patient in words; the row's own words before the index's."""
    label = row.get("class", sample.label if sample else None)
    split = row.get("split", sample.split if sample else None)
    patient = row.get("patient", sample.group if sample else None)
    words = [str(label) if label is not None else "", str(split) if split else ""]
    words.append(f"patient {patient}" if patient is not None else "")
    return " · ".join(word for word in words if word)


def said_of(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the check says of an item beyond where it stands."""
    return tuple(
        (spoken(key), in_words(value))
        for key, value in row.items()
        if key not in (*SAMPLE_KEYS, "reason") and value is not None and value != []
    ) + ((("reason", str(row["reason"])),) if row.get("reason") else ())


def spoken(key: str) -> str:
    return key.replace("_", " ")


def table_of(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Items as rows, their keys as columns in the order they come."""
    rows = list(rows)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    numbers = frozenset(
        n
        for n, key in enumerate(keys)
        if all(isinstance(row.get(key, 0), (int, float)) for row in rows)
    )
    return Table(
        tuple(spoken(key) for key in keys),
        tuple(tuple(in_words(row[key]) if key in row else "" for key in keys) for row in rows),
        numbers,
    )


# -- tables of a dataset -----------------------------------------------------------------------


def class_table(index: DatasetIndex) -> Table:
    """A row a class: images by part, images, share, patients where they are known."""
    splits, total = index.split_counts(), max(1, len(index))
    people: dict[str | None, set[str]] = {}
    for s in index.samples:
        if s.group is not None:
            people.setdefault(s.label, set()).add(s.group)
    rows = []
    for name, count in index.class_counts().items():
        row = [name, *(f"{counts[name]:,}" for counts in splits.values())]
        row += [f"{count:,}", f"{count / total:.1%}"]
        if people:
            row.append(f"{len(people.get(name, ())):,}")
        rows.append(tuple(row))
    columns = ("class", *splits, "images", "share", *(["patients"] if people else []))
    everyone = [f"{len(index.groups()):,}"] if people else []
    sums = [f"{sum(counts.values()):,}" for counts in splits.values()]
    rows.append(("all", *sums, f"{len(index):,}", "100.0%" if len(index) else "–", *everyone))
    return Table(columns, tuple(rows), frozenset(range(1, len(columns))))


def size_table(sizes: Mapping[str, Any]) -> Table | None:
    """Least, median and most of width and height; None where no image could be read."""
    if not sizes["width"]:
        return None
    columns = ("pixels", "least", "median", "most")
    rows = tuple(
        (side, *(in_words(sizes[side][key]) for key in ("min", "median", "max")))
        for side in ("width", "height")
    )
    return Table(columns, rows, frozenset({1, 2, 3}))


def commonest_table(sizes: Mapping[str, Any]) -> Table | None:
    rows = tuple(
        (f"{row['width']}×{row['height']}", f"{row['images']:,}") for row in sizes["commonest"]
    )
    return Table(("commonest sizes", "images"), rows, frozenset({1})) if rows else None


def storage_table(result: Mapping[str, Any]) -> Table:
    """Colour modes and file formats."""
    rows = [
        (kind, name, f"{count:,}")
        for kind, key in (("mode", "modes"), ("format", "formats"))
        for name, count in result[key].items()
    ]
    return Table(("stored as", "", "images"), tuple(rows), frozenset({2}))


def intensity_table(intensity: Mapping[str, Any]) -> Table:
    """Grey levels by class: mean, standard deviation, percentiles."""
    levels = {**intensity["by_class"], "all": intensity["all"]}
    at = next((list(v["percentiles"]) for v in levels.values() if v["percentiles"]), [])
    rows = []
    for name, level in levels.items():
        numbers = [level["mean"], level["std"]]
        numbers += [(level["percentiles"] or {}).get(p) for p in at]
        rows.append((name, *("–" if n is None else f"{n:.0f}" for n in numbers)))
    columns = ("class", "mean", "SD", *(f"{p} %" for p in at))
    return Table(columns, tuple(rows), frozenset(range(1, len(columns))))


def people_table(groups: Mapping[str, Any] | None) -> Table | None:
    """Patients in numbers; None where they are unknown."""
    if not groups:
        return None
    each = groups["images_per_patient"]
    rows = (
        ("patients", f"{groups['patients']:,}"),
        ("images a patient", f"{each['min']} to {each['max']}, median {each['median']}"),
        ("patients with several classes", f"{groups['with_several_classes']:,}"),
        ("images without a patient", f"{groups['images_without_patient']:,}"),
        ("told by", str(groups["source"])),
    )
    return Table(("", ""), rows)


def plot(path: Path) -> dict[str, str]:
    """A plot's caption and data URI, or why it is not there."""
    caption = PLOTS.get(path.stem, path.stem)
    try:
        return {"caption": caption, "uri": drawing_uri(path.read_bytes()), "why": ""}
    except OSError as error:
        why = f"{path.name} can't be read: {error.strerror or error}"
        return {"caption": caption, "uri": "", "why": why}
