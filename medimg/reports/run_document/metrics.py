"""Metrics with intervals: of the images, of each class, of patients; the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medimg.reports.document import Block, Figure, Table, Text
from medimg.reports.drawings import Bar, forest
from medimg.reports.language import Words
from medimg.reports.run_document.discrimination import discrimination
from medimg.reports.run_document.intervals import how_computed, how_each, interval_or_why
from medimg.reports.study import Study

# in the order that readers look for them
SHOWN = (
    "auroc",
    "average_precision",
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "f1",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "weighted_f1",
    "mcc",
    "cohen_kappa",
    "brier",
    "log_loss",
    "ece",
)
DRAWN = SHOWN[:10]
FEWEST_PATIENTS = 10


def metrics(study: Study, words: Words) -> Iterator[Block]:
    if not study.evaluation:
        yield Text(words("say.not_evaluated"), "warning")
        yield validation_table(study, words)
        return
    result = study.evaluated
    names = [n for n in SHOWN if n in result["metrics"]]
    names += [n for n in result["metrics"] if n not in names]
    yield metric_table(result, names, words)
    yield from how_computed(result, words)
    yield forest_of(result, [n for n in DRAWN if n in names], words)
    yield from discrimination(study, words)
    yield confusion(result["confusion_matrix"], words)
    yield from per_class(result, words)
    yield from by_patient(result.get("by_group"), names, words)


def validation_table(study: Study, words: Words) -> Table:
    values = study.trained.get("metrics") or {}
    rows = [(words.metric(n), words.number(values[n])) for n in SHOWN if n in values]
    columns = (words("column.metric"), words("column.value"))
    return Table(columns, tuple(rows), words("say.validation_table"), frozenset({1}))


def metric_table(result: Mapping[str, Any], names: Sequence[str], words: Words) -> Table:
    """Value, interval, the majority class, and the same at 0.5."""
    half, base = result.get("metrics_at_half") or {}, result.get("baseline") or {}
    rows = []
    for name in names:
        cell = result["metrics"][name]
        row = [words.metric(name), words.number(cell.get("value")), interval_or_why(cell, words)]
        row += [words.number((half.get(name) or {}).get("value"))] if half else []
        row.append(words.number((base.get(name) or {}).get("value")))
        rows.append(tuple(row))
    columns = [words("column.metric"), words("column.value"), words("column.interval")]
    columns += [words("column.at_half")] if half else []
    columns.append(words("column.majority"))
    caption = words("say.metric_table", split=words.part(result["split"]))
    return Table(tuple(columns), tuple(rows), caption, frozenset(range(1, len(columns))))


def forest_of(result: Mapping[str, Any], names: Sequence[str], words: Words) -> Figure:
    rows = []
    for name in names:
        cell = result["metrics"][name]
        if cell.get("value") is not None:
            low, high = cell.get("ci95") or (None, None)
            told = words.with_interval(cell)
            rows.append(Bar(words.metric(name), cell["value"], low, high, told))
    caption = words("say.chart_metrics")
    return Figure(caption, forest(rows, caption, words.brief) if rows else "")


def confusion(matrix: Mapping[str, Any], words: Words) -> Table:
    labels, counts = matrix["labels"], matrix["counts"]
    rows: list[tuple[str, ...]] = []
    shades: dict[tuple[int, int], float] = {}
    for place, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(1, sum(row))
        cells = [f"{words.count(int(n))} ({words.share(n / total, 0)})" for n in row]
        rows.append((words("column.true", name=label), *cells))
        shades |= {(place, number + 1): n / total for number, n in enumerate(row)}
    columns = ("", *(words("column.said", name=label) for label in labels))
    numeric = frozenset(range(1, len(columns)))
    return Table(columns, tuple(rows), words("say.confusion"), numeric, shades)


def per_class(result: Mapping[str, Any], words: Words) -> Iterator[Block]:
    """Each class against the rest, with intervals where the report holds them."""
    table = result.get("per_class") or {}
    cells = result.get("per_class_intervals") or {}
    names = list(next(iter(table.values()), {}))
    rows = []
    for label, points in table.items():
        known = cells.get(label) or {}
        told = [
            words.count(points[n])  # type: ignore[arg-type]
            if n == "support"
            else words.with_interval(known.get(n) or {"value": points[n]})
            for n in names
        ]
        rows.append((label, *told))
    columns = (words("column.class"), *(words.metric(n) for n in names))
    caption = words("say.per_class" if cells else "say.per_class_points")
    yield Table(columns, tuple(rows), caption, frozenset(range(1, len(columns))))
    yield from how_each(cells, names, words)


def by_patient(
    found: Mapping[str, Any] | None, names: Sequence[str], words: Words
) -> Iterator[Block]:
    if not found or not found.get("metrics"):
        return
    rule = words.phrase(found.get("rule"))
    groups = words.count(found.get("groups"))
    if (found.get("groups") or 0) < FEWEST_PATIENTS:
        yield Text(words("say.by_patient_few", groups=groups))
        return
    yield Text(words("say.by_patient", rule=rule, groups=groups))
    cells = found["metrics"]
    rows = [
        (words.metric(n), words.number(cells[n]["value"]), interval_or_why(cells[n], words))
        for n in names
        if n in cells
    ]
    columns = (words("column.metric"), words("column.value"), words("column.interval"))
    yield Table(columns, tuple(rows), words("column.by_patient"), frozenset({1, 2}))
    yield from how_computed(found, words)
