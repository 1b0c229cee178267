"""Splits by patient: made, read from a file, completed, written, and told apart by a hash."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.core.errors import InputError, UsageError, near_misses
from medimg.core.types import SPLITS, DatasetIndex, Finding, Sample

if TYPE_CHECKING:
    import numpy as np

DEFAULT_RATIOS = (70.0, 15.0, 15.0)
# of a training part that has no validation part beside it
VALIDATION_PERCENT = 15.0
SPLIT_FIELDS = ("path", "label", "group", "split")
RATIOS_HINT = "Give percentages for train/val/test or train/test: 70/15/15 or 80/20."
# whole numbers that add up to no more are shares (7/2/1); percentages are never so few
MOST_SHARES = 20
# a split is searched for from so many starts, with so many patients (or single images) in all
MOST_STARTS, STARTED_UNITS = 12, 3000
# a class that can't be in every part is needed to learn, then to judge, then to steer
IMPORTANCE = ("train", "test", "val")


@dataclass(frozen=True, slots=True)
class Gap:
    """A class that a part does not hold, and why."""

    split: str
    label: str
    reason: str


@dataclass(frozen=True)
class Assignment:
    """A split.

    Args:
        ratios: the share asked for each part, adding up to 1, in the order of the parts.
        split_of: path to part.
        counts: part to class to images.
        groups: part to patients (images without a patient count as one each).
        class_groups: class to patients that have an image of it.
        distance: the largest difference of a part's share of the images from its ratio, 0..1.
        gaps: classes that are missing in a part, and why.
        unit: what is kept on one side: `patient`, `image`, or `patient or image` where only
            some images have a patient.
    """

    ratios: Mapping[str, float]
    split_of: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, int]
    class_groups: Mapping[str, int]
    distance: float
    gaps: tuple[Gap, ...]
    unit: str

    def apply(self, index: DatasetIndex) -> DatasetIndex:
        """The index with this split in place of its own."""
        rows = (replace(s, split=self.split_of[s.path]) for s in index.samples)
        return index.with_samples(rows, declared=without_parts(index))

    def findings(self) -> tuple[Finding, ...]:
        """A warning where a class is missing in a part."""
        if not self.gaps:
            return ()
        listed = "; ".join(f"{g.label} in {g.split} ({g.reason})" for g in self.gaps[:3])
        more = f"; and {len(self.gaps) - 3} more" if len(self.gaps) > 3 else ""
        return (
            Finding(
                "class-missing-in-split",
                "warning",
                f"not every class could be put in every part: {listed}{more}",
                len(self.gaps),
                tuple({"class": g.label, "split": g.split, "reason": g.reason} for g in self.gaps),
                "Leave such classes out (-o classes=…), join them, or add images.",
            ),
        )


def parse_ratios(text: str) -> tuple[float, ...]:
    """Percentages of train/val/test, or of train/test where there are two.

    Raises:
        UsageError: not two or three positive numbers that add up to 100 (or to 1), nor small whole
            numbers (7/2/1).

    >>> parse_ratios("70/15/15")
    (70.0, 15.0, 15.0)
    >>> parse_ratios("0.8/0.2"), parse_ratios("4/1")
    ((80.0, 20.0), (80.0, 20.0))
    """
    try:
        numbers = [float(part) for part in text.replace(":", "/").split("/")]
    except ValueError:
        raise UsageError(
            f"--split-ratios {text!r} is not numbers with / between them", RATIOS_HINT
        ) from None
    if len(numbers) not in (2, 3):
        raise UsageError(f"--split-ratios {text!r} has {len(numbers)} parts", RATIOS_HINT)
    if not all(0 < number < float("inf") for number in numbers):
        raise UsageError(f"--split-ratios {text!r}: every part must be above 0", RATIOS_HINT)
    total = sum(numbers)
    if abs(total - 1) < 1e-6:
        return tuple(round(100 * number, 10) for number in numbers)
    if total <= MOST_SHARES and all(number.is_integer() for number in numbers):
        return tuple(round(100 * number / total, 10) for number in numbers)
    if abs(total - 100) > 0.11:  # 33.3/33.3/33.3 is meant as thirds
        raise UsageError(f"--split-ratios {text!r} adds up to {total:g}, not to 100", RATIOS_HINT)
    return tuple(numbers)


def part_names(parts: int) -> tuple[str, ...]:
    """Two parts are train and test: a validation part is cut from train when one is needed."""
    return SPLITS if parts == 3 else ("train", "test")


def make_split(
    samples: Sequence[Sample],
    ratios: Sequence[float] = DEFAULT_RATIOS,
    seed: int = 0,
    keep_together: Mapping[str, str | None] | None = None,
    parts: Sequence[str] | None = None,
) -> Assignment:
    """A split stratified by class in which no patient is on two sides.

    It depends on the seed, the patients and the labels alone, not on the order of listing or
    where the files lie. An image without a patient is on its own. Where nothing keeps images
    together, each class is dealt by largest remainders. A class is in every part wherever any
    split by patient can do that; where none can, it goes to train first, then test.

    Args:
        samples: the images to split.
        ratios: two or three positive numbers (see `part_names`), in any unit.
        keep_together: path to a key; images of one key (copies of one picture), and with them
            their patients, stay on one side. None or a missing path: no key.
        parts: names of the parts; default by the number of ratios.
    Raises:
        UsageError: not two or three ratios, or one is not above 0.
    """
    if len(ratios) not in (2, 3) or min(ratios) <= 0:
        raise UsageError(
            f"a split needs two or three ratios above 0, not {tuple(ratios)}", RATIOS_HINT
        )
    names = tuple(parts) if parts is not None else part_names(len(ratios))
    return deal(samples, dict(zip(names, ratios, strict=True)), seed, keep_together)


def deal(
    samples: Sequence[Sample],
    ratios: Mapping[str, float],
    seed: int,
    keep_together: Mapping[str, str | None] | None = None,
    kind: str = "parts",
    starts: int | None = None,
) -> Assignment:
    """The images dealt to any number of parts; what `make_split` promises.

    Args:
        ratios: part to its share, in any unit.
        kind: what the parts are called where a class can't be in all of them.
        starts: the best of so many searches is taken; default the more, the fewer patients there
            are: then each of them matters, and a search is quick.
    """
    import numpy as np

    from medimg.core.stratify import few_ways, gap

    shares = np.array(list(ratios.values()), dtype=np.float64) / sum(ratios.values())
    labels = sorted({str(s.label) for s in samples})
    place = {label: number for number, label in enumerate(labels)}
    label_of = np.array([place[str(s.label)] for s in samples], dtype=np.int64)
    told = dict(zip(ratios, shares.tolist(), strict=True))
    best: tuple[int, float] | None = None
    start, searches = 0, starts or 1
    while start < searches and best != (0, 0.0):
        draw = f"{seed}.{start}" if start else f"{seed}"
        unit_of = _units(samples, draw, keep_together or {})
        units = 1 + int(unit_of.max(initial=0))
        if few_ways(units, len(shares)):
            searches = 1
        elif not starts:
            searches = min(MOST_STARTS, STARTED_UNITS // units)
        part_of_unit = _deal(unit_of, label_of, len(labels), shares, list(ratios))
        table = _table(unit_of, label_of, part_of_unit, (len(ratios), len(labels)))
        distance = gap(table, shares)
        start += 1
        if best is None or distance < best:
            best = distance
            dealt = _told(samples, labels, label_of, unit_of, part_of_unit, table, told, kind)
    return dealt


def _units(
    samples: Sequence[Sample], seed: str, keep_together: Mapping[str, str | None]
) -> np.ndarray:
    """Int[N]: number of the unit that each image belongs to, units in an order drawn by seed."""
    import numpy as np

    keys = [f"p{s.path}" if s.group is None else f"g{s.group}" for s in samples]
    root = _united(keys, [keep_together.get(s.path) for s in samples]) if keep_together else {}
    names = [root.get(key, key) for key in keys]
    drawn = sorted(set(names), key=lambda name: (_draw(seed, name), name))
    number = {name: position for position, name in enumerate(drawn)}
    return np.array([number[name] for name in names], dtype=np.int64)


def _draw(seed: str, name: str) -> bytes:
    """Each unit's own draw: it does not change when other units come or go."""
    text = f"{seed}\0{name}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=8).digest()


def _united(keys: Sequence[str], ties: Sequence[str | None]) -> dict[str, str]:
    """Unit key to the first key of the units that ties join it with (union-find)."""
    parent: dict[str, str] = {}

    def find(key: str) -> str:
        while (above := parent.setdefault(key, key)) != key:
            parent[key] = parent[above]
            key = above
        return key

    first: dict[str, str] = {}
    for key, tie in zip(keys, ties, strict=True):
        if tie is None:
            continue
        a, b = find(key), find(first.setdefault(tie, key))
        # the smaller name is the root, whatever order they are met in
        parent[max(a, b)] = min(a, b)
    return {key: find(key) for key in parent}


def _deal(
    unit_of: np.ndarray,
    label_of: np.ndarray,
    classes: int,
    shares: np.ndarray,
    names: Sequence[str],
) -> np.ndarray:
    """Int[units]: the part of each.

    Units of several images are searched over; where a class has enough single images to reach
    every part, these are dealt last and by number alone, which is exact and takes no search.
    """
    import numpy as np

    from medimg.core.stratify import deal_singles, deal_units

    if not len(unit_of):
        return np.zeros(0, dtype=np.int64)
    sizes = np.bincount(unit_of)
    single = sizes[unit_of] == 1
    secure = np.bincount(label_of[single], minlength=classes) >= len(shares)
    last = single & secure[label_of]
    targets = shares[:, None] * np.bincount(label_of, minlength=classes)[None, :]

    searched = np.unique(unit_of[~last])
    counts = np.zeros((len(searched), classes), dtype=np.int32)
    np.add.at(counts, (np.searchsorted(searched, unit_of[~last]), label_of[~last]), 1)
    # folds are alike
    priority = [names.index(name) for name in IMPORTANCE if name in names] or None
    parts = np.full(len(sizes), -1, dtype=np.int64)
    parts[searched] = deal_units(counts, targets, priority, secure)

    held = np.zeros_like(targets)
    np.add.at(held, parts[searched], counts)
    for label in np.argsort(-targets.sum(axis=0), kind="stable"):
        units = np.sort(unit_of[last & (label_of == label)])
        if not len(units):
            continue
        wanted = targets[:, label] - held[:, label]
        shortfall = (targets - held).sum(axis=1)
        dealt = deal_singles(len(units), wanted, held[:, label] == 0, shortfall)
        parts[units] = np.repeat(np.arange(len(shares)), dealt)
        held[:, label] += dealt
    return parts


def _table(
    unit_of: np.ndarray, label_of: np.ndarray, part_of_unit: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Int[P, K]: images of each class in each part."""
    import numpy as np

    table = np.zeros(shape, dtype=np.int64)
    if len(unit_of):
        np.add.at(table, (part_of_unit[unit_of], label_of), 1)
    return table


def _told(
    samples: Sequence[Sample],
    labels: list[str],
    label_of: np.ndarray,
    unit_of: np.ndarray,
    part_of_unit: np.ndarray,
    table: np.ndarray,
    ratios: Mapping[str, float],
    kind: str,
) -> Assignment:
    import numpy as np

    names = list(ratios)
    part_of = part_of_unit[unit_of] if len(unit_of) else unit_of
    shares = table.sum(axis=1) / max(1, len(samples))
    units = np.bincount(part_of_unit, minlength=len(names))
    known = sum(s.group is not None for s in samples)
    unit = "image" if not known else "patient" if known == len(samples) else "patient or image"
    per_class = [len(np.unique(unit_of[label_of == k])) for k in range(len(labels))]
    return Assignment(
        ratios=dict(ratios),
        split_of={s.path: names[p] for s, p in zip(samples, part_of.tolist(), strict=True)},
        counts={
            name: dict(zip(labels, row, strict=True))
            for name, row in zip(names, table.tolist(), strict=True)
        },
        groups=dict(zip(names, units.tolist(), strict=True)),
        class_groups=dict(zip(labels, per_class, strict=True)),
        distance=max(
            (abs(s - r) for s, r in zip(shares.tolist(), ratios.values(), strict=True)), default=0.0
        )
        if samples
        else 0.0,
        gaps=tuple(_gaps(names, labels, table, per_class, unit, kind)),
        unit=unit,
    )


def _gaps(
    names: list[str],
    labels: list[str],
    table: np.ndarray,
    per_class: list[int],
    unit: str,
    kind: str,
) -> Iterable[Gap]:
    for k, label in enumerate(labels):
        for p, name in enumerate(names):
            if table[p, k]:
                continue
            have = counted(per_class[k], unit)
            few = per_class[k] < len(names)
            why = (
                f"{have} for {len(names)} {kind}"
                if few
                else (f"{have}, which other classes need elsewhere")
            )
            yield Gap(name, label, why)


def counted(number: int, unit: str) -> str:
    """`1 patient`, `3 patients`.

    >>> counted(1, "image"), counted(2, "patient or image")
    ('1 image', '2 patients or images')
    """
    if number == 1:
        return f"1 {unit}"
    return f"{number:,} " + " or ".join(f"{word}s" for word in unit.split(" or "))


# -- files ---------------------------------------------------------------------------------------


def write_splits(path: Path, samples: Iterable[Sample]) -> None:
    """`path,label,group,split`, a row an image, sorted by path.

    Raises:
        InputError: the file can't be written.
    """
    from medimg.core.report import write_atomically

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SPLIT_FIELDS)
    for s in sorted(samples, key=lambda s: s.path):
        writer.writerow([s.path, s.label or "", s.group or "", s.split or ""])
    write_atomically(path, text.getvalue())


def split_hash(samples: Iterable[Sample]) -> str:
    """`sha256:…` of which image, with which label and patient, is in which part.

    Paths are relative to the dataset's root: a dataset that was moved keeps its hash.
    """
    rows = sorted("\0".join((s.path, s.label or "", s.group or "", s.split or "")) for s in samples)
    text = "\n".join(rows).encode("utf-8", "surrogateescape")
    return "sha256:" + hashlib.sha256(text).hexdigest()


def apply_splits_file(index: DatasetIndex, path: str | Path) -> DatasetIndex:
    """The index with the split that a file gives; patients too, where the index knows none.

    Args:
        path: CSV with the columns path and split, and perhaps label and group; further columns
            are ignored. An empty split keeps an image out.

    Raises:
        InputError: the file can't be read, or does not fit the dataset: images without a row,
            rows without an image, another label, two answers for one image, an unknown split.
    """
    rows = _rows(Path(path))
    _compare_paths(index, rows, path)
    samples = []
    for s in index.samples:
        row = rows[s.path]
        if row.get("label") and row["label"] != s.label:
            raise InputError(
                f"{path} calls {s.path} {row['label']!r}, the dataset calls it {s.label!r}",
                "It was made for other labels; make a new one: medimg split DATASET",
            )
        # an empty word says that there are no patients (-o group=none)
        known = s.group is not None or index.patients == ""
        group = s.group if known else row.get("group") or None
        samples.append(replace(s, split=row["split"] or None, group=group))
    named = index.patients
    if named is None and any(s.group is not None for s in samples):
        named = f"column group of {Path(path).name}"
    return index.with_samples(samples, patients=named, declared=without_parts(index))


def without_parts(index: DatasetIndex) -> tuple[tuple[None, str], ...]:
    """What the layout declares, where its own parts are set aside."""
    return tuple((None, label) for label in index.classes)


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """Image path to its row; splits by their canonical names."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            columns = [c for c in reader.fieldnames or []]
            found = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"the splits file {path} can't be read: {why}", "Make one: medimg split DATASET"
        ) from error
    missing = [c for c in ("path", "split") if c not in columns]
    if missing:
        raise InputError(
            f"{path} has no column {' and no column '.join(map(repr, missing))} "
            f"(found: {', '.join(columns) or 'nothing'})",
            "A splits file has the columns path,split; medimg split DATASET makes one.",
        )
    rows: dict[str, dict[str, str]] = {}
    for number, row in enumerate(found, start=2):
        text = {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
        text["path"] = row["path"] or ""
        text["split"] = _canonical(text["split"], path, number)
        if rows.setdefault(text["path"], text)["split"] != text["split"]:
            raise InputError(
                f"{path} puts {text['path']} in {rows[text['path']]['split']!r} "
                f"and, in line {number}, in {text['split']!r}"
            )
    return rows


def _canonical(name: str, path: Path, line: int) -> str:
    """`train`, `val`, `test` or empty, from what stands in a splits file."""
    from medimg.core.index import canonical_split

    found = canonical_split(name) if name else ""
    if found is None:
        raise InputError(
            f"{path} line {line}: {name!r} is no split", near_misses(name, list(SPLITS))
        )
    return found


def _compare_paths(index: DatasetIndex, rows: Mapping[str, object], path: str | Path) -> None:
    paths = {s.path for s in index.samples}
    without_row = sorted(paths - rows.keys())
    without_image = sorted(rows.keys() - paths)
    if not without_row and not without_image:
        return
    parts = []
    if without_row:
        parts.append(
            f"{counted(len(without_row), 'image')} of {index.name} not in it "
            f"(such as {without_row[0]})"
        )
    if without_image:
        parts.append(
            f"{counted(len(without_image), 'row')} without an image (such as {without_image[0]})"
        )
    raise InputError(
        f"{path} does not fit the dataset: {' and '.join(parts)}",
        "Paths are relative to the dataset; give the one it was made for, or make a new split: "
        "medimg split DATASET",
    )


# -- the split that a command works with ---------------------------------------------------------


def ensure_splits(
    index: DatasetIndex,
    splits_file: str | Path | None = None,
    ratios: str | Sequence[float] | None = None,
    seed: int = 0,
    keep_together: Mapping[str, str | None] | None = None,
) -> tuple[DatasetIndex, str]:
    """The dataset with a training and a validation part, and how they came about in words.

    A file or ratios win over the dataset's own splits. A missing validation part is cut from
    train by patient, never from test. Images without a split beside others that have one stay
    out.

    Raises:
        UsageError: a file and ratios at once, or ratios that are none.
        InputError: a file that does not fit, no training part, or too few patients to cut a
            validation part from.
    """
    if splits_file is not None and ratios is not None:
        raise UsageError("--splits and --split-ratios exclude each other", "Give one of them.")
    if splits_file is not None:
        given, words = apply_splits_file(index, splits_file), [f"splits from {splits_file}"]
    elif ratios is not None or not index.splits():
        given, words = _fresh(index, ratios, seed, keep_together)
    else:
        given, words = index, ["the dataset's own splits"]
    given, cut = _with_validation(given, seed, keep_together)
    return given, "; ".join([*words, *cut, *_remarks(given)])


def _fresh(
    index: DatasetIndex,
    ratios: str | Sequence[float] | None,
    seed: int,
    keep_together: Mapping[str, str | None] | None,
) -> tuple[DatasetIndex, list[str]]:
    numbers = parse_ratios(ratios) if isinstance(ratios, str) else ratios or DEFAULT_RATIOS
    assignment = make_split(index.samples, numbers, seed, keep_together)
    words = describe(assignment, seed)
    if ratios is None:
        words = f"the dataset has no splits: {words}"
    return assignment.apply(index), [
        words,
        *(f"{g.label} is missing in {g.split} ({g.reason})" for g in assignment.gaps),
    ]


def describe(assignment: Assignment, seed: int) -> str:
    """How a split was made, in words."""
    asked = "/".join(f"{100 * share:g}" for share in assignment.ratios.values())
    parts = "/".join(assignment.ratios)
    by = {"patient": "by patient", "image": "image by image (patients are unknown)"}.get(
        assignment.unit, "by patient where one is known"
    )
    return f"a new split {parts} {asked}, {by}, stratified by class, seed {seed}"


def _with_validation(
    index: DatasetIndex, seed: int, keep_together: Mapping[str, str | None] | None
) -> tuple[DatasetIndex, list[str]]:
    present = index.splits()
    if "train" not in present:
        raise InputError(
            f"{index.name} has no training part (only {', '.join(present) or 'none'})",
            "Make a split over all images: --split-ratios 70/15/15, or give one: --splits FILE",
        )
    if "val" in present:
        return index, []
    train = index.part("train")
    ratios = (100 - VALIDATION_PERCENT, VALIDATION_PERCENT)
    cut = make_split(train, ratios, seed, keep_together, parts=("train", "val"))
    if not all(cut.groups.values()):
        raise InputError(
            f"no validation part can be cut from train: it holds "
            f"{counted(sum(cut.groups.values()), cut.unit)} ({counted(len(train), 'image')})",
            "Give a split: --splits FILE; or -o group=none, if the images are independent.",
        )
    rows = (
        replace(s, split=cut.split_of[s.path]) if s.split == "train" else s for s in index.samples
    )
    size = sum(cut.counts["val"].values())
    words = f"validation cut from train: {size:,} of {counted(len(train), 'image')}, "
    words += "image by image" if cut.unit == "image" else counted(cut.groups["val"], cut.unit)
    words += f", seed {seed}"
    missing = [f"{g.label} is missing in {g.split} ({g.reason})" for g in cut.gaps]
    return index.with_samples(rows), [words, *missing]


def _remarks(index: DatasetIndex) -> list[str]:
    remarks = []
    if "test" not in index.splits():
        remarks.append("there is no test part")
    out = Counter(s.split for s in index.samples)[None]
    if out:
        remarks.append(f"{counted(out, 'image')} without a split stay{'s' * (out == 1)} out")
    return remarks
