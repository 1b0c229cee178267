"""Runs side by side: which can be compared, and paired tests on the samples they share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from medimg.core.errors import InputError, MedimgError
from medimg.core.report import read_report
from medimg.core.runs import Predictions, Run, read_predictions, read_run
from medimg.core.types import Finding

# settings that say where things lie, or who asked, not how the network was trained
# images of each kind, or on which two runs differ, below which large-sample formulas are not used
SMALL = 25
NOT_SETTINGS = {"dataset", "splits", "split_ratios", "layout", "options", "allow", "parent"}


@dataclass(frozen=True)
class Entry:
    """A run with its evaluation on the part that is compared.

    Args:
        key: (sha256, label) of each sample in `order`, the same for all entries of a comparison.
        order: Int[N], rows of the predictions sorted by key.
    """

    run: Run
    report: dict[str, Any]
    predictions: Predictions
    keys: tuple[tuple[str, str], ...]
    order: np.ndarray

    @property
    def name(self) -> str:
        return self.run.name

    def probabilities(self) -> np.ndarray:
        """Float64[N, K] in the shared order."""
        return self.predictions.probabilities[self.order]

    def labels(self) -> np.ndarray:
        """Int[N] in the shared order."""
        return self.predictions.label_numbers()[self.order]

    def groups(self) -> list[str] | None:
        """The patients in the shared order."""
        names = self.predictions.group_names()
        return None if names is None else [names[i] for i in self.order]

    def threshold(self) -> float | None:
        cut = self.report["result"]["threshold"]
        return cut["value"] if cut else None

    def rule(self) -> str | None:
        """How the threshold came about: `youden`, `sensitivity=0.95`, or the value given."""
        cut = self.report["result"]["threshold"]
        if not cut:
            return None
        return cut["rule"] if cut["chosen_on"] else f"{cut['value']:g}"


def latest_evaluation(run: Run, split: str) -> Path:
    """The folder of the run's newest evaluation of its own data's part, else of other data's.

    Raises:
        InputError: there is none.
    """
    own = run.card["dataset"]["fingerprint"]
    found: list[tuple[bool, str, float, Path]] = []
    for file in run.folder.glob("evaluate/*/report.json"):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            if report["result"]["split"] == split:
                is_own = report["dataset"]["fingerprint"] == own
                found.append((is_own, report["created"], file.stat().st_mtime, file.parent))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    if not found:
        raise InputError(
            f"it has not been evaluated on {split}",
            f"medimg evaluate {quote(str(run.folder))} --split {split}",
        )
    return max(found)[-1]


def read_entry(folder: Path, split: str) -> Entry:
    """A run and its evaluation.

    Raises:
        MedimgError: why it can't be compared.
    """
    run = read_run(folder)
    place = latest_evaluation(run, split)
    report = read_report(place / "report.json")
    predictions = read_predictions(place / "predictions.csv")
    keys = list(zip(predictions.sha256, predictions.labels, strict=True))
    # equal pictures keep their order by path, so that pairs are pairs
    order = np.array(
        sorted(range(len(keys)), key=lambda i: (keys[i], predictions.paths[i])), dtype=np.int64
    )
    return Entry(run, report, predictions, tuple(keys[i] for i in order), order)


def gather(
    folders: Sequence[Path], split: str, baseline: str | None = None
) -> tuple[list[Entry], list[dict[str, str]]]:
    """(entries that share their samples, refused runs with why).

    The samples compared are the baseline's, else those that most runs were evaluated on (the
    first run's where that is a draw).
    """
    entries: list[Entry] = []
    refused: list[dict[str, str]] = []
    for folder in folders:
        try:
            entries.append(read_entry(folder, split))
        except MedimgError as error:
            why = error.message if not error.hint else f"{error.message}; {error.hint}"
            refused.append({"run": folder.name, "why": why})
    if not entries:
        return [], refused
    reference = reference_of(entries, baseline)
    same = []
    for entry in entries:
        why = difference(reference, entry, split)
        if why:
            refused.append({"run": entry.name, "why": why})
        else:
            same.append(entry)
    return same, refused


def reference_of(entries: list[Entry], baseline: str | None) -> Entry:
    for entry in entries:
        if baseline is not None and entry.name == Path(baseline).name:
            return entry
    commonest = Counter(entry.keys for entry in entries).most_common(1)[0][0]
    return next(entry for entry in entries if entry.keys == commonest)


def difference(reference: Entry, other: Entry, split: str) -> str:
    """Why two runs can't be compared; empty where they can."""
    if other.predictions.classes != reference.predictions.classes:
        return (
            f"its classes are {', '.join(other.predictions.classes)}, those of {reference.name} "
            f"are {', '.join(reference.predictions.classes)}"
        )
    if other.report["result"]["positive"] != reference.report["result"]["positive"]:
        return f"its positive class is not that of {reference.name}"
    if other.keys == reference.keys:
        return ""
    ours, theirs = Counter(reference.keys), Counter(other.keys)
    missing, extra = (ours - theirs).total(), (theirs - ours).total()
    pictures = {digest for digest, _ in reference.keys}
    relabelled = sum(1 for digest, label in extra_keys(theirs - ours) if digest in pictures)
    note = f", {relabelled} of them the same picture with another label" if relabelled else ""
    return (
        f"its {split} samples are not those of {reference.name}: {missing} are missing, "
        f"{extra} are others{note}"
    )


def extra_keys(counter: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(counter.elements())


def settings_that_differ(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each entry its settings that are not the same in all of them."""
    recipes = [entry.run.recipe for entry in entries]
    names = [
        name
        for name in recipes[0]
        if name not in NOT_SETTINGS and len({json.dumps(r.get(name)) for r in recipes}) > 1
    ]
    return [{name: recipe.get(name) for name in names} for recipe in recipes]


def paired_tests(
    entries: Sequence[Entry],
    baseline: Entry,
    metrics: Sequence[str],
    functions: Mapping[str, Any],
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> list[dict[str, Any]]:
    """Each other run against the baseline, for each metric; Holm within a metric.

    The difference is run minus baseline. Independent rows: DeLong for AUROC (from 25 images of
    each kind up), exact McNemar for accuracy, sensitivity and specificity; where patients are
    known, and for every other metric, the paired bootstrap. A metric that needs a threshold is
    not tested between runs whose thresholds were chosen by different rules.
    """
    from medimg.statistics.holm import holm

    rows: list[dict[str, Any]] = []
    for metric in metrics:
        family = [
            one_test(entry, baseline, metric, functions[metric], seed, resamples)
            for entry in entries
            if entry is not baseline
        ]
        tested = [row for row in family if row["p"] is not None]
        for row, adjusted in zip(tested, holm([r["p"] for r in tested]), strict=True):
            row["p_holm"] = float(adjusted)
        rows += family
    return rows


def rules_differ(entries: Sequence[Entry]) -> Finding | None:
    """The warning that runs were evaluated at thresholds chosen by different rules."""
    rules = {entry.name: entry.rule() for entry in entries}
    if len(set(rules.values())) < 2:
        return None
    told = ", ".join(f"{name}: {rule}" for name, rule in rules.items())
    other = next(e for e in entries if e.rule() != entries[0].rule())
    asked = f" --threshold {entries[0].rule()}" if entries[0].rule() else ""
    return Finding(
        "threshold-rules-differ",
        "warning",
        f"the thresholds were chosen by different rules ({told}): what depends on them is not "
        "tested",
        len(rules),
        tuple({"run": name, "rule": rule} for name, rule in rules.items()),
        f"Evaluate them alike: medimg evaluate {quote(str(other.run.folder))}{asked}",
    )


def scored(entry: Entry) -> Any:
    from medimg.core.scored import Scored

    positive = entry.report["result"]["positive"]
    place = entry.predictions.classes.index(positive) if positive else None
    return Scored(entry.labels(), entry.probabilities(), place, entry.threshold())


def one_test(
    entry: Entry, baseline: Entry, metric: str, function: Any, seed: int, resamples: int
) -> dict[str, Any]:
    """A row of `pairs`."""
    from medimg.core.scored import UndefinedMetric

    row: dict[str, Any] = {
        "a": entry.name,
        "b": baseline.name,
        "metric": metric,
        "difference": None,
        "ci95": None,
        "test": None,
        "p": None,
        "p_holm": None,
        "reason": None,
    }
    free = getattr(function, "threshold_free", False)
    if not free and entry.rule() != baseline.rule():
        row["reason"] = f"thresholds by different rules: {entry.rule()} and {baseline.rule()}"
        return row
    first, second = scored(entry), scored(baseline)
    try:
        row["difference"] = float(function(first)) - float(function(second))
        row.update(tested(first, second, metric, function, baseline.groups(), seed, resamples))
    except UndefinedMetric as error:
        row["reason"] = str(error)
    return row


def tested(
    first: Any,
    second: Any,
    metric: str,
    function: Any,
    groups: list[str] | None,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """The test that fits the metric and the data: interval and p come from one and the same,
    except for shares of right answers in large samples."""
    from medimg.statistics.delong import paired_delong
    from medimg.statistics.mcnemar import mcnemar
    from medimg.statistics.paired_bootstrap import paired_bootstrap

    test = paired_bootstrap(first, second, function, groups=groups, resamples=resamples, seed=seed)
    if groups is None and first.positive is not None and metric == "auroc":
        is_positive = first.labels == first.positive
        if min(is_positive.sum(), (~is_positive).sum()) >= SMALL:
            scores = (s.probabilities[:, first.positive] for s in (first, second))
            test = paired_delong(is_positive, *scores)
    elif groups is None and (rows := rows_about(metric, first)) is not None:
        exact = mcnemar(
            (first.decided == first.labels)[rows], (second.decided == second.labels)[rows]
        )
        apart = int(((first.decided != second.decided)[rows]).sum())
        # below, percentiles of so few steps would be narrower than the test allows
        test = exact if apart < SMALL else replace(test, p=exact.p, method=exact.method)
    return {
        "ci95": test.ci95,
        "test": test.method,
        "p": test.p,
        "reason": test.reason,
    }


def rows_about(metric: str, scored: Any) -> np.ndarray | None:
    """Bool[N], the images that a share of right answers is about; None for other metrics."""
    if metric == "accuracy":
        return np.ones(len(scored), dtype=bool)
    if metric in ("sensitivity", "specificity") and scored.positive is not None:
        is_positive = scored.labels == scored.positive
        return is_positive if metric == "sensitivity" else ~is_positive
    return None
