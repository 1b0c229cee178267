"""Runs side by side: what can be compared, what it was made with, and why the rest can't."""

from __future__ import annotations

import csv
import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from shlex import join, quote
from typing import Any

import numpy as np

from medimg.core.as_typed import filled, words_for
from medimg.core.errors import InputError, MedimgError
from medimg.core.report import check_schema, read_report
from medimg.core.runs import PREDICTION_FIELDS, RECIPE, REPORT, REWRITE, unfinished
from medimg.core.scored import Array, Scored, check_probabilities
from medimg.core.types import Finding
from medimg.statistics.ranking import auroc_or_none

TRAINED = ("train", "finetune")
EVALUATED = "evaluate"
PREDICTIONS = "predictions.csv"
# with this error an evaluation says nothing about new images
SEEN = "training-images-in-test"
# so many evaluations are named in a command that is proposed
SHOWN_PLACES = 8


@dataclass(frozen=True, eq=False)
class Samples:
    """The images of a comparison, sorted by content and label; shared by all runs on them.

    Args:
        keys: (sha256, label) of each of N images.
        labels: Int[N], the place of each label in `classes`.
        groups: the patient of each image, None unless every image has one.
        classes: K names.
    """

    keys: tuple[tuple[str, str], ...]
    labels: Array
    groups: tuple[str, ...] | None
    classes: tuple[str, ...]

    @cached_property
    def counted(self) -> Counter[tuple[str, str]]:
        return Counter(self.keys)


def without(arguments: Sequence[str], *options: str) -> list[str]:
    """A command line less some options and their values.

    >>> without(["evaluate", "--name", "a", "--threshold=0.5", "data"], "--name", "--threshold")
    ['evaluate', 'data']
    """
    values = {place + 1 for place, told in enumerate(arguments) if told in options}
    return [
        told
        for place, told in enumerate(arguments)
        if place not in values and told.split("=")[0] not in options
    ]


@dataclass(frozen=True, eq=False)
class Entry:
    """A run, or predictions made elsewhere, with its evaluation on the part that is compared.

    Args:
        folder: where it lies; `evaluation` is the folder of the evaluation within.
        probabilities: Float64[N, K] in the order of `samples`.
        metrics, baseline: as the evaluation's report gives them.
        recipe: every setting of the training; empty where it was made elsewhere.
        cost: seconds, epochs, images_per_second, parameters, trainable, device; None where unknown.
        looks: how often the part had been looked at, this evaluation included.
        seen: what its evaluation says of training images among the tested, None for nothing.
        asked: the arguments of its evaluation, where that stands alone: predictions made elsewhere.
        temperature: what its logits were divided by, None for nothing.
    """

    name: str
    folder: Path
    evaluation: Path
    samples: Samples
    probabilities: Array
    positive: str | None
    threshold: dict[str, Any] | None
    metrics: dict[str, Any]
    baseline: dict[str, Any]
    model: str | None
    backend: str | None
    recipe: dict[str, Any]
    cost: dict[str, Any]
    looks: int | None
    phantom: bool
    version: str | None
    data: dict[str, str | None] = field(default_factory=dict)
    seen: str | None = None
    asked: tuple[str, ...] | None = None
    temperature: float | None = None

    def rule(self) -> str | None:
        """How the threshold came about: `youden`, `sensitivity=0.95`, or the value given."""
        if not self.threshold:
            return None
        chosen = self.threshold.get("chosen_on")
        return self.threshold["rule"] if chosen else f"{self.threshold['value']:g}"

    def again(self, rule: str | None) -> str:
        """The command that evaluates it at a threshold chosen by another rule."""
        at = ["--threshold", rule] if rule else []
        if self.asked is None:
            return f"medimg evaluate {quote(str(self.folder))} {join(at)}".rstrip()
        return f"medimg {join([*without(self.asked, '--threshold', '--name'), *at])}"

    def place(self) -> int | None:
        """The positive class's column, in a task that has one."""
        return self.samples.classes.index(self.positive) if self.positive else None

    def scored(self) -> Scored:
        """The predictions beside the truth, decided at the run's threshold."""
        cut = self.threshold["value"] if self.threshold else None
        return Scored(
            self.samples.labels, self.probabilities, self.place(), cut, self.samples.classes
        )


# -- reading -------------------------------------------------------------------------------------


class Shelf:
    """Samples that were read before: a thousand runs of one test part hold it once."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[Samples, Array]] = {}

    def samples(self, columns: Sequence[tuple[str, ...]], classes: tuple[str, ...]) -> Any:
        """(Samples, Int[N] the rows in their order) of the columns path, label, group, sha256."""
        key = (*columns, classes)
        if key not in self._known:
            self._known[key] = self._shared(*as_samples(columns, classes))
        return self._known[key]

    def _shared(self, samples: Samples, order: Array) -> tuple[Samples, Array]:
        for known, _ in self._known.values():
            if (known.keys, known.groups, known.classes) == (
                samples.keys,
                samples.groups,
                samples.classes,
            ):
                return known, order
        return samples, order


def as_samples(
    columns: Sequence[tuple[str, ...]], classes: tuple[str, ...]
) -> tuple[Samples, Array]:
    """Rows of predictions sorted by content and label, and their order.

    Raises:
        InputError: a row that stands twice, or a label without a column of its own.
    """
    paths, labels, groups, digests = columns
    twice = Counter(zip(paths, digests, labels, strict=True)).most_common(1)[0]
    if twice[1] > 1:
        raise InputError(f"its predictions hold {twice[0][0]} {twice[1]} times", REWRITE)
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise InputError(
            f"its predictions hold the label {unknown[0]!r} and no column prob_{unknown[0]}",
            REWRITE,
        )
    keys = list(zip(digests, labels, strict=True))
    # equal pictures keep their order by path, so that pairs are pairs
    order = sorted(range(len(keys)), key=lambda i: (keys[i], paths[i]))
    number = {name: place for place, name in enumerate(classes)}
    return (
        Samples(
            tuple(keys[i] for i in order),
            np.array([number[labels[i]] for i in order], dtype=np.int64),
            tuple(groups[i] for i in order) if all(groups) else None,
            classes,
        ),
        np.array(order, dtype=np.int64),
    )


def read_answers(file: Path, shelf: Shelf) -> tuple[Samples, Array]:
    """The samples of a predictions.csv and their probabilities Float64[N, K].

    Raises:
        InputError: the file is missing or not of that shape, or a row is no distribution.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
            header, *rows = csv.reader(text)
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}", REWRITE) from error
    except ValueError:
        header, rows = [], []
    missing = [name for name in PREDICTION_FIELDS if name not in header]
    classes = tuple(c.removeprefix("prob_") for c in header if c.startswith("prob_"))
    if not rows or missing or not classes:
        what = "holds no rows" if not rows else f"lacks {', '.join(missing) or 'prob_<class>'}"
        raise InputError(f"{file} {what}", REWRITE)
    if set(map(len, rows)) != {len(header)}:
        raise InputError(f"{file} holds a row that was cut short", REWRITE)
    column = dict(zip(header, zip(*rows, strict=True), strict=True))
    samples, order = shelf.samples(
        [column[name] for name in ("path", "label", "group", "sha256")], classes
    )
    try:
        numbers = [np.array(column[f"prob_{c}"], dtype=np.float64) for c in classes]
    except ValueError as error:
        raise InputError(
            f"{file} holds a probability that is no number: {error}", REWRITE
        ) from error
    probabilities = np.stack(numbers, axis=1)[order]
    check_probabilities(probabilities)
    return samples, probabilities


def evaluations(folder: Path, split: str) -> list[tuple[Path, dict[str, Any]]]:
    """The run's evaluations of a part, the newest last; what can't be read is left out."""
    found = []
    for file in folder.glob("evaluate/*/report.json"):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            if report["result"]["split"] == split and report["result"]["metrics"]:
                found.append((str(report["created"]), file.stat().st_mtime, file.parent, report))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [(place, report) for _, _, place, report in sorted(found, key=lambda row: row[:3])]


def latest_evaluation(
    folder: Path, own: str | None, split: str, beside: Sequence[Path] = ()
) -> tuple[Path, dict[str, Any]]:
    """The run's newest evaluation of its own data's part, else of other data's.

    Args:
        own: fingerprint of the data that it was trained on.
        beside: all the runs of the comparison.
    Raises:
        InputError: there is none.
    """
    found = evaluations(folder, split)
    if not found:
        if (folder / "evaluate" / split / REPORT).is_file():
            raise InputError(
                f"{split} is no part of its data but the name of an evaluation",
                of_evaluations([folder, *beside], split),
            )
        raise InputError(
            f"it has not been evaluated on {split}",
            f"medimg evaluate {quote(str(folder))} --split {split}",
        )
    at_home = [row for row in found if (row[1].get("dataset") or {}).get("fingerprint") == own]
    return (at_home or found)[-1]


def of_evaluations(folders: Sequence[Path], name: str) -> str:
    """The command that compares the evaluations of that name, each once."""
    places = [folder / "evaluate" / name for folder in sorted(set(folders))]
    told = [quote(str(place)) for place in places if (place / REPORT).is_file()]
    more = " …" if len(told) > SHOWN_PLACES else ""
    return f"medimg compare {' '.join(told[:SHOWN_PLACES])}{more}"


def read_entry(folder: Path, split: str, shelf: Shelf, beside: Sequence[Path] = ()) -> Entry:
    """A run and its evaluation, or an evaluation that stands alone.

    Args:
        beside: all the runs of the comparison.
    Raises:
        MedimgError: why it can't be compared.
    """
    report = read_own_report(folder)
    if report["command"] == EVALUATED:
        if report["result"].get("split") != split:
            raise InputError(f"it is an evaluation of {report['result'].get('split')}, not {split}")
        return entry_of(folder, None, folder, report, shelf)
    own = (report.get("dataset") or {}).get("fingerprint")
    place, evaluation = latest_evaluation(folder, own, split, beside)
    return entry_of(folder, report, place, evaluation, shelf)


def read_own_report(folder: Path) -> dict[str, Any]:
    """The report of a run, or of an evaluation that stands alone.

    Raises:
        InputError: what else the folder is.
    """
    if not folder.is_dir():
        raise InputError("it is a file, no run folder")
    if not (folder / REPORT).is_file():
        if not (folder / RECIPE).is_file():
            raise InputError("it holds no report.json: it is no run folder")
        raise unfinished(folder)
    report = read_report(folder / REPORT)
    command = report.get("command")
    if not isinstance(command, str) or not isinstance(report.get("result"), dict):
        raise InputError(f"{folder / REPORT} is no medimg report")
    if command not in (*TRAINED, EVALUATED):
        article = "an" if command[:1] in "aeiou" else "a"
        raise InputError(f"it is {article} {command} report, not a trained run")
    return report


def entry_of(
    folder: Path,
    training: dict[str, Any] | None,
    place: Path,
    evaluation: dict[str, Any],
    shelf: Shelf,
) -> Entry:
    """What is compared of a run; older reports lack some of it, which is then None."""
    result = evaluation["result"]
    told = result.get("training") or {}
    seen = (
        f["message"]
        for f in evaluation.get("findings") or ()
        if f["check"] == SEEN and f["severity"] == "error" and result["split"] != "train"
    )
    samples, probabilities = read_answers(place / PREDICTIONS, shelf)
    if result.get("images") not in (None, len(samples.keys)):
        raise InputError(
            f"its predictions hold {len(samples.keys):,} rows, its report speaks of "
            f"{result['images']:,} images",
            REWRITE,
        )
    trained = training["result"] if training else {}
    check_schema(place / REPORT, evaluation)
    environment = ((training or evaluation).get("environment") or {}).get("backend") or {}
    return Entry(
        name=folder.name or folder.resolve().name,
        folder=folder,
        evaluation=place,
        samples=samples,
        probabilities=probabilities,
        positive=result.get("positive"),
        threshold=result.get("threshold"),
        metrics=result["metrics"],
        baseline=result.get("baseline") or {},
        model=trained.get("model") or told.get("model"),
        backend=told.get("backend") or environment.get("name"),
        recipe=told.get("recipe") or recipe_in(folder),
        cost=cost_of(training, environment),
        looks=result.get("test_looks"),
        phantom=bool(result.get("phantom")),
        version=((training or evaluation).get("medimg") or {}).get("version"),
        data=data_of(training),
        seen=next(seen, None),
        temperature=(result.get("temperature") or {}).get("value"),
        asked=tuple((evaluation.get("invocation") or {}).get("arguments") or ())
        if told.get("predictions")
        else None,
    )


def contradicted(entry: Entry) -> str:
    """What a report gives that its predictions don't, accuracy or AUROC; empty where they agree."""
    scored, place = entry.scored(), entry.place()
    told = {"accuracy": float((scored.decided == scored.labels).mean())}
    if place is not None:
        area = auroc_or_none(scored.labels == place, scored.probabilities[:, place])
        told |= {"auroc": area} if area is not None else {}
    for name, value in told.items():
        stated = (entry.metrics.get(name) or {}).get("value")
        if stated is not None and abs(stated - value) > 1e-6:
            return (
                f"its report gives {name} {stated:.3f}, its predictions give {value:.3f}: one of "
                f"the two was changed; {filled(REWRITE, {'RUN': quote(str(entry.folder))})}"
            )
    return ""


def recipe_in(folder: Path) -> dict[str, Any]:
    """The settings in a run folder; none where it has no recipe."""
    from medimg.core.recipe import read_recipe

    file = folder / RECIPE
    return read_recipe(file) if file.is_file() else {}


def cost_of(training: dict[str, Any] | None, environment: dict[str, Any]) -> dict[str, Any]:
    """What the training took."""
    result = training["result"] if training else {}
    weights = result.get("parameters") or {}
    return {
        "seconds": training.get("seconds") if training else None,
        "epochs": result.get("epochs"),
        "images_per_second": result.get("images_per_second"),
        "parameters": weights.get("total"),
        "trainable": weights.get("trainable"),
        "device": environment.get("device") if training else None,
    }


def data_of(training: dict[str, Any] | None) -> dict[str, str | None]:
    """What the run was trained on, in short: the pictures, and how they were split."""
    told = (training or {}).get("dataset") or {}
    return {
        "data": short(told.get("fingerprint"), told.get("name")),
        "split": short(told.get("split_hash")),
    }


def short(digest: str | None, name: str | None = None) -> str | None:
    """Enough of a hash to tell two apart."""
    if not digest:
        return name
    cut = digest.removeprefix("sha256:")[:8]
    return f"{name} {cut}" if name else cut


# -- which of them can be compared ---------------------------------------------------------------


def unique_names(folders: Sequence[Path]) -> list[str]:
    """What the runs are called: the folder's name, its whole path where two are called alike.

    >>> unique_names([Path("a/one"), Path("b/one"), Path("a/two")])
    ['a/one', 'b/one', 'two']
    """
    names = [folder.name or folder.resolve().name for folder in folders]
    times = Counter(names)
    return [n if times[n] == 1 else str(f) for n, f in zip(names, folders, strict=True)]


def gather(
    folders: Sequence[Path], split: str, baseline: str | None = None, on_read: Any = None
) -> tuple[list[Entry], list[dict[str, str]]]:
    """(entries that share their samples, refused runs with why).

    The samples compared are the baseline's, else those that most runs were evaluated on (the
    first run's where that is a draw).

    Args:
        on_read: called with 1 after each folder.
    """
    with uncollected():
        entries, refused = read_all(folders, split, on_read)
    if not entries:
        return [], refused
    reference = reference_of(entries, baseline)
    shared = with_patients(reference, entries)
    same = []
    for entry in entries:
        entry = with_classes_of(reference, entry)
        why = difference(reference, entry, split) or contradicted(entry)
        if why:
            refused.append({"run": entry.name, "why": why})
        else:
            same.append(replace(entry, samples=shared))
    return same, refused


def read_all(
    folders: Sequence[Path], split: str, on_read: Any
) -> tuple[list[Entry], list[dict[str, str]]]:
    """The runs that can be read, and why the others can't."""
    shelf = Shelf()
    entries: list[Entry] = []
    refused: list[dict[str, str]] = []
    for name, folder in zip(unique_names(folders), folders, strict=True):
        try:
            entries.append(replace(read_entry(folder, split, shelf, folders), name=name))
        except MedimgError as error:
            step = filled(error.hint, {"RUN": quote(str(folder))})
            why = error.message if not step else f"{error.message}; {step}"
            refused.append({"run": name, "why": why})
        except (KeyError, TypeError, AttributeError) as error:
            why = f"its report lacks what a comparison needs ({type(error).__name__} {error})"
            refused.append({"run": name, "why": why})
        if on_read:
            on_read(1)
    return entries, refused


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles: rows of tables make none, and millions of them start it often.

    It takes a seventh of the time of reading a thousand runs.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def is_called(name: str, asked: str) -> bool:
    """Whether a run is the one that was asked for, by its name or by its path."""
    return name in (asked, str(Path(asked)), Path(asked).name)


def reference_of(entries: list[Entry], baseline: str | None) -> Entry:
    for entry in entries:
        if baseline is not None and is_called(entry.name, baseline):
            return entry
    commonest = Counter(entry.samples.keys for entry in entries).most_common(1)[0][0]
    return next(entry for entry in entries if entry.samples.keys == commonest)


def with_patients(reference: Entry, entries: list[Entry]) -> Samples:
    """The reference's samples, with the patients that any run knows of these very images."""
    ours = reference.samples
    for entry in entries:
        theirs = entry.samples
        if theirs.groups and (theirs.keys, theirs.classes) == (ours.keys, ours.classes):
            return theirs
    return ours


def with_classes_of(reference: Entry, entry: Entry) -> Entry:
    """The same classes in another order are put in the reference's."""
    ours, theirs = reference.samples.classes, entry.samples.classes
    if ours == theirs or sorted(ours) != sorted(theirs):
        return entry
    places = [theirs.index(name) for name in ours]
    return replace(
        entry,
        probabilities=entry.probabilities[:, places],
        samples=replace(
            entry.samples, classes=ours, labels=np.argsort(places)[entry.samples.labels]
        ),
    )


def difference(reference: Entry, other: Entry, split: str) -> str:
    """Why two runs can't be compared; empty where they can."""
    if other.samples.classes != reference.samples.classes:
        return (
            f"its classes are {', '.join(other.samples.classes)}, those of {reference.name} "
            f"are {', '.join(reference.samples.classes)}"
        )
    if other.positive != reference.positive:
        return (
            f"its positive class is {other.positive}, that of {reference.name} is "
            f"{reference.positive}"
        )
    if other.samples.keys == reference.samples.keys:
        return ""
    ours, theirs = reference.samples.counted, other.samples.counted
    missing, extra = (ours - theirs).total(), (theirs - ours).total()
    pictures = {digest for digest, _ in reference.samples.keys}
    relabelled = sum(1 for digest, _ in (theirs - ours).elements() if digest in pictures)
    note = f", {relabelled} of them the same picture with another label" if relabelled else ""
    return (
        f"its {split} samples are not those of {reference.name}: {missing} are missing, "
        f"{extra} are others{note}"
    )


def rules_differ(entries: Sequence[Entry]) -> Finding | None:
    """The warning that runs were evaluated at thresholds chosen by different rules."""
    rules = {entry.name: entry.rule() for entry in entries}
    if len(set(rules.values())) < 2:
        return None
    told = ", ".join(f"{name}: {rule}" for name, rule in list(rules.items())[:6])
    told += f" and {len(rules) - 6} more" if len(rules) > 6 else ""
    first = entries[0]
    other = next(e for e in entries if e.rule() != first.rule())
    if other.asked is not None and not (other.threshold or {}).get("chosen_on"):
        # without predictions of validation no rule can choose for it
        first, other = other, first
    return Finding(
        "threshold-rules-differ",
        "warning",
        f"the thresholds were chosen by different rules ({told}): what depends on them is not "
        "tested",
        len(rules),
        tuple({"run": name, "rule": rule} for name, rule in rules.items()),
        f"Evaluate them alike: {other.again(first.rule())}",
    )


def trained_on_test(entries: Sequence[Entry]) -> Finding | None:
    """The error that runs are compared on images which they have seen in training.

    The one that remembers more is not the better one; where all have seen the same, only
    the order of the runs may still mean something.
    """
    rows = tuple({"run": e.name, "message": e.seen} for e in entries if e.seen)
    if not rows:
        return None
    first = rows[0]
    return Finding(
        SEEN,
        "error",
        f"{len(rows)} of the {len(entries)} runs were tested on images that they have seen; "
        f"{first['run']}: {first['message']}",
        len(rows),
        rows,
        filled(
            "Leave the copies out and train again: medimg verify DATASET --write-clean clean.csv",
            dataset_of([e for e in entries if e.seen]),
        ),
    )


def dataset_of(entries: Sequence[Entry]) -> dict[str, str]:
    """What stands for DATASET in a command about runs, where they have one."""
    recipes = [e.recipe for e in entries if e.recipe.get("dataset")]
    data = [words_for({**r, "positive": None}) for r in recipes]
    return data[0] if data and all(words == data[0] for words in data) else {}


def versions_differ(entries: Sequence[Entry]) -> Finding | None:
    """The remark that runs were made by different versions of medimg."""
    versions = sorted({str(entry.version) for entry in entries if entry.version})
    if len(versions) < 2:
        return None
    return Finding(
        "versions-differ",
        "info",
        f"the runs were made by medimg {', '.join(versions)}: what changed between these "
        "(CHANGELOG.md) may be part of the differences",
        len(versions),
    )
