"""Can the label be told without looking at anatomy?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from medimg.api import CheckContext, Finding, Sample, UsageError
from medimg.checks._modes import kinds
from medimg.core.checking import grouped
from medimg.core.scan import FEATURE_NAMES, SMALL_HEIGHT, SMALL_WIDTH, ScanRecord

NAME = "shortcut"
FILE, BORDER, GREY, COLUMNS, BOTH = "file", "border", "grey level", "columns", "file and columns"
FRAME, EDGES = "frame", "edges"
IN_WORDS = {
    FILE: "the file alone",
    BORDER: "corners and border",
    FRAME: "a frame around the picture",
    EDGES: "marks along the edges",
    COLUMNS: "other columns of the table",
    BOTH: "the file and other columns together",
}
BORDER_FEATURES = tuple(n for n in FEATURE_NAMES if n not in ("mean", "spread"))
TREES, DRAWS = 60, 200
# a column with more values than these is text, or an id
MOST_VALUES = 20
# whole numbers of which more differ are ids; a column is of one kind where so many cells are
MOST_DISTINCT, MOSTLY = 0.9, 0.95
# dates as they are written, "" for all ways of ISO 8601; texts are cut between letters,
# digits and marks
DATES = ("", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y")
WORDS = re.compile(r"[^\W_]+")
PARTS = re.compile(r"[^\W\d_]+|\d+|[\W_]+")
# a size, a format or a quality that so few images do not share is an exception among alike files
ALIKE = 0.95
# columns that are the label, a finer one, or a verdict on it
LABEL_WORDS = (
    "category", "class", "diagnos", "disease", "dx", "finding", "grade", "groundtruth", "label",
    "lesion", "pathology", "severity", "stage", "subtype", "target", "tumo",
)  # fmt: skip
BLANK = {"", "nan", "null", "n/a", "na", "none"}


@dataclass(frozen=True)
class Feature:
    """Something that is known of every image beside its anatomy.

    Args:
        of: the set it belongs to.
        values: Float32[N, k]; a category is k columns of 0 and 1.
    """

    name: str
    of: str
    values: np.ndarray


@dataclass(frozen=True)
class Area:
    """An AUROC out of fold and its 95 % interval, patients resampled."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"


NOT_BY_PATIENT = (
    "; patients are unknown, so that it may be patients who were recognised: name them "
    "(-o group_regex=…) to be sure"
)


@dataclass(frozen=True)
class Trial:
    """Labels, and the folds in which a patient (and copies of a picture) stays on one side.

    Args:
        labels: Int[N], 0..K-1.
        groups: Int[N].
        cv: (train, test) indices a fold.
        draws: Int[D, N], how often each image is drawn when its group is resampled.
    """

    labels: np.ndarray
    groups: np.ndarray
    cv: list[tuple[np.ndarray, np.ndarray]]
    draws: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, labels: np.ndarray, groups: np.ndarray, folds: int) -> Trial:
        from sklearn.model_selection import StratifiedGroupKFold

        cutter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
        cv = list(cutter.split(np.zeros((len(labels), 1)), labels, groups))
        count = int(groups.max()) + 1
        drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
        return cls(labels, groups, cv, drawn[:, groups])

    def area(self, features: Sequence[Feature], model: object | None = None) -> Area:
        """How well a small forest on these features tells the classes, one against the rest."""
        probabilities = self.predicted(model or forest(), features)
        areas = mean_auroc(self.labels, probabilities, self.draws)
        value = mean_auroc(self.labels, probabilities, np.ones((1, len(self.labels))))[0]
        low, high = np.nanquantile(areas, [0.025, 0.975])
        return Area(float(value), float(low), float(high))

    def alone(self, feature: Feature) -> float:
        """The AUROC of one feature, by a tree of a few leaves."""
        probabilities = self.predicted(tree(), [feature])
        return float(mean_auroc(self.labels, probabilities, np.ones((1, len(self.labels))))[0])

    def predicted(self, model: object, features: Sequence[Feature]) -> np.ndarray:
        """Float[N, K] out of fold."""
        from sklearn.model_selection import cross_val_predict

        table = np.hstack([f.values for f in features])
        return cross_val_predict(model, table, self.labels, cv=self.cv, method="predict_proba")


def check(
    context: CheckContext,
    *,
    folds: int = 5,
    auroc: float = 0.75,
    fewest: int = 20,
    images: int = 3000,
) -> list[Finding]:
    """A warning where file, borders or other columns alone tell the classes apart.

    A small forest is cross-validated for each set of features, in folds that keep a patient (and
    copies of a picture) on one side. Corners and border count for what they say beyond the whole
    picture's brightness and contrast, since tissue may reach the border; a frame and marks along
    the edges (letters, rulers) are looked for beside them. The file's size counts
    where files differ in pixels, format or quality: among alike ones it is the picture's texture.
    Mean grey level alone is information: it is what a network must beat.

    Args:
        folds: of the cross-validation.
        auroc: where the lower end of the 95 % interval must lie for a finding (0.5 to 1).
        fewest: images that a class must have to be looked at.
        images: how many are looked at; of more, so many are drawn.
    """
    if not 2 <= folds <= 50 or not 0.5 <= auroc <= 1:
        raise UsageError(
            f"shortcut.folds is 2 to 50 and shortcut.auroc 0.5 to 1, not {folds} and {auroc}"
        )
    samples = usable(context, folds, fewest)
    if samples is None:
        context.not_applicable(f"it takes two classes of {fewest} images and {folds} patients")
    samples = drawn(samples, images)
    labels = np.unique([str(s.label) for s in samples], return_inverse=True)[1]
    groups = np.unique([unit(context, s) for s in samples], return_inverse=True)[1]
    trial = Trial.of(labels, groups, folds)
    sets = grouped_features(features_of(context, samples))
    grey = sets.pop(GREY, [])
    findings = telling(trial, sets, auroc, NOT_BY_PATIENT if unknown_patients(samples) else "")
    if grey and (area := trial.area(grey, tree())).low >= auroc:
        findings.append(grey_finding(area))
    return findings


def usable(context: CheckContext, folds: int, fewest: int) -> list[Sample] | None:
    """Readable samples of the classes that have enough; None where two don't."""
    classes = grouped(context.readable(), lambda s: s.label)
    enough = [
        own
        for own in classes.values()
        if len(own) >= fewest and len({unit(context, s) for s in own}) >= folds
    ]
    return [s for own in enough for s in own] if len(enough) > 1 else None


def unit(context: CheckContext, sample: Sample) -> str:
    """What must stay in one fold: the patient, or a picture and its copies."""
    return sample.group if sample.group is not None else context.pixels(sample)


def drawn(samples: list[Sample], most: int) -> list[Sample]:
    """So many of the samples, each class by its share and none by fewer than it takes."""
    if len(samples) <= most:
        return samples
    random = np.random.default_rng(0)
    kept = []
    for own in grouped(samples, lambda s: s.label).values():
        count = min(len(own), max(most // 10, round(most * len(own) / len(samples))))
        kept += [own[i] for i in sorted(random.choice(len(own), count, replace=False))]
    return kept


# -- findings --------------------------------------------------------------------------------------


def unknown_patients(samples: Sequence[Sample]) -> bool:
    return any(s.group is None for s in samples)


def telling(
    trial: Trial, sets: dict[str, list[Feature]], auroc: float, caution: str
) -> list[Finding]:
    """The finding of the sets that tell the classes by themselves, or file and columns together."""
    areas = {name: trial.area(own) for name, own in sets.items()}
    worrying = {name: area for name, area in areas.items() if area.low >= auroc}
    if not worrying and FILE in sets and COLUMNS in sets:
        # borders stay apart: added to the rest they see how large a cell is in its crop
        sets[BOTH] = sets[FILE] + sets[COLUMNS]
        area = trial.area(sets[BOTH])
        worrying = {BOTH: area} if area.low >= auroc else {}
    if not worrying:
        return []
    rows = [
        row(feature.name, trial.alone(feature), name, area)
        for name, area in worrying.items()
        for feature in sets[name]
    ]
    rows.sort(key=lambda row: (-row["auroc"], row["feature"]))
    told = [
        f"with AUROC {area} from {IN_WORDS[name]} ({carriers(rows, name)})"
        for name, area in sorted(worrying.items(), key=lambda one: -one[1].value)
    ]
    return [
        Finding(
            NAME,
            "warning",
            f"the class can be told without looking at anatomy: {'; '.join(told)}{caution}",
            len(rows),
            tuple(rows),
            hint(worrying),
        )
    ]


def row(feature: str, alone: float, of: str, area: Area) -> dict[str, Any]:
    """A feature as an item: its own AUROC, and its set's with the interval."""
    return {
        "feature": feature,
        "auroc": round(alone, 3),
        "of": of,
        "of_auroc": round(area.value, 3),
        "of_low": round(area.low, 3),
        "of_high": round(area.high, 3),
    }


def carriers(rows: Sequence[dict[str, Any]], of: str) -> str:
    """The three features of a set that tell most by themselves."""
    own = [row for row in rows if row["of"] == of][:3]
    return ", ".join(f"{row['feature']} {row['auroc']:.2f}" for row in own)


def hint(worrying: dict[str, Area]) -> str:
    """Where to look."""
    steps = []
    if worrying.keys() & {BORDER, FRAME, EDGES}:
        steps.append(
            "Look at the borders and corners of both classes (medimg inspect DATASET): markers, "
            "scanners, crops."
        )
    if worrying.keys() & {FILE, BOTH}:
        steps.append("Look whether the classes come from different sources or were saved unlike.")
    if worrying.keys() & {COLUMNS, BOTH}:
        steps.append("Look whether the columns are sources, or the label in other words.")
    return f"{' '.join(steps)} A network will use what tells the class at no cost."


def grey_finding(area: Area) -> Finding:
    return Finding(
        NAME,
        "info",
        f"mean grey level alone tells the class with AUROC {area}: a network has to beat it",
        1,
        (row("mean", area.value, GREY, area),),
        "Exposure, staining or anatomy: look at both classes (medimg inspect DATASET).",
    )


# -- features --------------------------------------------------------------------------------------


def grouped_features(features: Sequence[Feature]) -> dict[str, list[Feature]]:
    """Features by set; those that are the same for every image are left out."""
    sets: dict[str, list[Feature]] = {}
    for feature in features:
        if np.ptp(feature.values, axis=0).any():
            sets.setdefault(feature.of, []).append(feature)
    return sets


def features_of(context: CheckContext, samples: Sequence[Sample]) -> list[Feature]:
    """All features of N images."""
    records = [context.record(s) for s in samples]
    return [
        *file_features(records, kinds(context, samples)),
        *pixel_features(records),
        *edge_features(records),
        *column_features(samples),
    ]


def file_features(records: Sequence[ScanRecord], modes: Sequence[str]) -> list[Feature]:
    """What is known of the files before anatomy is looked at.

    Args:
        modes: what each is stored as, grey told from colour.
    """
    qualities = [-1 if r.quality is None else r.quality for r in records]
    alike = Counter(
        (r.width, r.height, r.mode, r.format, q) for r, q in zip(records, qualities, strict=True)
    )
    features = [
        Feature("width", FILE, numbers([r.width for r in records])),
        Feature("height", FILE, numbers([r.height for r in records])),
        Feature("aspect ratio", FILE, numbers([r.width / r.height for r in records])),
        Feature("colour mode", FILE, categories(modes)),
        Feature("format", FILE, categories([r.format for r in records])),
        Feature("JPEG quality", FILE, numbers(qualities)),
        Feature("EXIF orientation", FILE, categories([str(r.orientation) for r in records])),
    ]
    if max(alike.values()) < ALIKE * len(records):
        features.append(Feature("file size", FILE, numbers([r.size_bytes for r in records])))
    return features


def pixel_features(records: Sequence[ScanRecord]) -> list[Feature]:
    """Corners and border beyond brightness and contrast; the mean grey level by itself."""
    empty = np.zeros(len(FEATURE_NAMES), np.float32)
    table = np.stack([empty if r.features is None else r.features for r in records])
    whole = table[:, [FEATURE_NAMES.index("mean"), FEATURE_NAMES.index("spread")]]
    border = table[:, [FEATURE_NAMES.index(n) for n in BORDER_FEATURES]]
    levels = np.array([n.endswith("mean") for n in BORDER_FEATURES])
    # a darker or flatter picture has a darker and flatter border; + 1 grey level for blank ones
    relative = (border - levels * whole[:, :1]) / (whole[:, 1:] + 1)
    beyond = residuals(relative, whole)
    return [
        *(Feature(n, BORDER, beyond[:, [i]]) for i, n in enumerate(BORDER_FEATURES)),
        Feature("mean", GREY, whole[:, :1]),
    ]


def edge_features(records: Sequence[ScanRecord]) -> list[Feature]:
    """What stands in the outermost sixteenth of a picture: a frame, letters along a side.

    Corners and border as a whole are too large for both. Of a frame all four sides are darker or
    brighter than what is next to them. A mark is the largest jump of a side to what lies further
    in, in the outermost cells and in those behind them.
    """
    empty = np.zeros((SMALL_HEIGHT // 2, SMALL_WIDTH // 2), np.uint8)
    cells = np.stack([empty if r.thumbnail is None else r.thumbnail for r in records])
    turned = cells.astype(np.float32).transpose(0, 2, 1)
    whole = np.stack([(r.mean or 0.0, r.std or 0.0) for r in records]).astype(np.float32)
    sides = {"top": turned, "bottom": turned[:, :, ::-1]}
    upright = turned.transpose(0, 2, 1)
    sides |= {"left": upright, "right": upright[:, :, ::-1]}
    # Float[N, 2, length]: how much brighter the two outer lines are than the next
    jumps = {k: (v[..., :2] - v[..., 1:3]).transpose(0, 2, 1) for k, v in sides.items()}
    steps = np.column_stack([jump[:, 0].mean(axis=1) for jump in jumps.values()])
    frame = np.sort(steps, axis=1)
    marks = residuals(np.column_stack([jump.max(axis=2) for jump in jumps.values()]), whole)
    return [
        Feature("step between the edge and what is next to it", FRAME, np.round(frame, 5)),
        *(
            Feature(f"mark at the {side} edge", EDGES, marks[:, 2 * i : 2 * i + 2])
            for i, side in enumerate(sides)
        ),
    ]


def residuals(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Float32[N, F] less what a quadratic of `given` (Float[N, 2]) says of them."""
    scaled = (given - given.mean(axis=0)) / np.maximum(given.std(axis=0), 1e-6)
    a, b = scaled.astype(np.float64).T
    basis = np.column_stack([np.ones_like(a), a, b, a * a, b * b, a * b])
    weights = np.linalg.lstsq(basis, values.astype(np.float64), rcond=None)[0]
    # what is left of a constant is rounding
    return np.round(values - basis @ weights, 5).astype(np.float32)


def column_features(samples: Sequence[Sample]) -> list[Feature]:
    """Further columns of a table: values, whether there is one, how they begin; no ids or label."""
    names = dict.fromkeys(name for s in samples for name in s.columns)
    labels = [str(s.label) for s in samples]
    features = []
    for name in names:
        cells = [s.columns.get(name, "").strip() for s in samples]
        if is_label(name, cells, labels):
            continue
        if (values := as_values(cells)) is not None:
            features.append(Feature(f"column {name}", COLUMNS, values))
        elif (start := beginnings(cells)) and not is_label(name, last_words(start), labels):
            features.append(Feature(f"column {name}, how it begins", COLUMNS, categories(start)))
        filled = [float(cell.lower() not in BLANK) for cell in cells]
        # as a value of its own it stands among the categories
        if 0 < sum(filled) < len(filled) and not (values is not None and values.shape[1] > 1):
            features.append(Feature(f"column {name}, filled or not", COLUMNS, numbers(filled)))
    return features


def is_label(name: str, cells: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a column is the label, a finer one, or marks a class with 1."""
    plain = "".join(c for c in name.lower() if c.isalnum())
    classes = {label.lower() for label in labels}
    if any(word in plain for word in LABEL_WORDS) or name.strip().lower() in classes:
        return True
    values = {cell.lower() for cell in cells} - BLANK
    if values <= classes:
        return True
    marked = {label for cell, label in zip(cells, labels, strict=True) if cell in ("1", "1.0")}
    return values <= {"0", "1", "0.0", "1.0"} and len(marked) <= 1


def as_values(cells: Sequence[str]) -> np.ndarray | None:
    """Float32[N, k] of a column; None where it is mostly blank, constant, text or ids."""
    filled = [cell for cell in cells if cell.lower() not in BLANK]
    distinct = set(filled)
    if len(filled) < len(cells) / 2 or len(distinct) < 2:
        return None
    if len(distinct) <= min(MOST_VALUES, len(filled) / 2):
        return categories([cell if cell.lower() not in BLANK else "" for cell in cells])
    days = as_dates(filled)
    given = days if days is not None else [as_number(cell) for cell in filled]
    known = [value for value in given if value is not None]
    # whole numbers that hardly repeat are ids
    repeats = len(distinct) <= MOST_DISTINCT * len(filled)
    counts_up = days is None and not repeats and all(value.is_integer() for value in known)
    if len(known) < MOSTLY * len(filled) or counts_up:
        return None
    middle = float(np.median(known))
    values = iter(given)
    read = [next(values) if cell.lower() not in BLANK else None for cell in cells]
    return numbers([middle if value is None else value for value in read])


def as_number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def as_dates(cells: Sequence[str]) -> list[float | None] | None:
    """Days since 1 January of the year 1, of the first way of writing that nearly all follow."""
    for way in DATES:
        days = [as_day(cell, way) for cell in cells]
        if sum(day is not None for day in days) >= MOSTLY * len(cells):
            return days
    return None


def as_day(cell: str, way: str) -> float | None:
    """The day that a cell says, None where it says none or one that no picture was taken on."""
    try:
        day = datetime.strptime(cell, way) if way else datetime.fromisoformat(cell)
    except ValueError:
        return None
    return float(day.toordinal()) if 1895 < day.year < 2100 else None


def beginnings(cells: Sequence[str]) -> list[str] | None:
    """The leading parts of texts that are the fewest to differ (the host of addresses, the letters
    of ids); blank where the cell is. None where they are all the same, or too many.
    """
    cut = [[] if cell.lower() in BLANK else PARTS.findall(cell) for cell in cells]
    filled = sum(bool(parts) for parts in cut)
    if filled < len(cells) / 2:
        return None
    for count in range(1, 1 + max(len(parts) for parts in cut)):
        start = ["".join(parts[:count]) for parts in cut]
        distinct = len(set(start) - {""})
        if distinct > 1:
            return start if distinct <= min(MOST_VALUES, filled / 2) else None
    return None


def last_words(texts: Sequence[str]) -> list[str]:
    """The last run of letters and digits of each."""
    return [(WORDS.findall(text) or [""])[-1] for text in texts]


def numbers(values: Sequence[float]) -> np.ndarray:
    """Float32[N, 1]."""
    return np.array(values, dtype=np.float32).reshape(-1, 1)


def categories(values: Sequence[str]) -> np.ndarray:
    """Float32[N, k] of 0 and 1, a column a value."""
    codes = np.unique(values, return_inverse=True)[1]
    return np.eye(int(codes.max()) + 1, dtype=np.float32)[codes]


# -- classifiers -----------------------------------------------------------------------------------


def forest() -> object:
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(TREES, min_samples_leaf=5, class_weight="balanced", random_state=0)


def tree() -> object:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(
        max_leaf_nodes=8, min_samples_leaf=5, class_weight="balanced", random_state=0
    )


def mean_auroc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Float[D]: the mean AUROC of one class against the rest; NaN where a draw lacks a class.

    Args:
        labels: Int[N], 0..K-1.
        probabilities: Float[N, K].
        weights: Float[D, N], how often each image counts in each of D draws.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return np.mean([auroc_of(labels == k, probabilities[:, k], weights) for k in classes], axis=0)


def auroc_of(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Float[D]: the share of pairs in which the positive one has the higher score, ties half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    sorted_weights = weights[:, order].astype(np.float64)
    sick = np.add.reduceat(sorted_weights * positive[order], starts, axis=1)
    well = np.add.reduceat(sorted_weights * ~positive[order], starts, axis=1)
    below = np.cumsum(well, axis=1) - well / 2
    with np.errstate(invalid="ignore"):
        return (sick * below).sum(axis=1) / (sick.sum(axis=1) * well.sum(axis=1))
