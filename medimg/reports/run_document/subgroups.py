"""The same metrics by columns of the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from medimg.reports.document import Block, Table, Text
from medimg.reports.language import Words
from medimg.reports.run_document.intervals import how_each
from medimg.reports.study import Study

SUBGROUP_METRICS = ("auroc", "accuracy", "balanced_accuracy", "sensitivity", "specificity")


def subgroups(study: Study, words: Words) -> Iterator[Block]:
    found = study.evaluated.get("subgroups") or {}
    if not found:
        folder = study.folder
        yield Text(words("say.no_subgroups"), "plain", f"medimg evaluate {folder} --by COLUMN")
        return
    for column, table in found.items():
        groups = table.get("groups") or table
        yield from subgroup(column, groups, table.get("gap") or {}, words)


def subgroup(
    column: str, groups: Mapping[str, Any], gaps: Mapping[str, Any], words: Words
) -> Iterator[Block]:
    """One column: a row a value, the gaps, and what is not shown."""
    shown = {v: g for v, g in groups.items() if not g.get("suppressed") and g.get("metrics")}
    names = [n for n in SUBGROUP_METRICS if any(n in g["metrics"] for g in shown.values())][:4]
    rows = [
        (
            str(value),
            words.count(group.get("images")),
            words.count(group.get("patients")),
            *(words.with_interval(group["metrics"].get(n), 2) for n in names),
        )
        for value, group in shown.items()
    ]
    columns = (
        words("column.group"),
        words("column.images"),
        words("column.patients"),
        *(words.metric(n) for n in names),
    )
    if rows:
        caption = words("say.subgroup_table", column=column)
        yield Table(columns, tuple(rows), caption, frozenset(range(1, len(columns))))
        yield from how_each({str(v): g["metrics"] for v, g in shown.items()}, names, words)
    for name in names:
        if gap := gaps.get(name):
            bounds = words.interval(gap.get("ci95"))
            by = f"; {words.phrase(gap['method'])}" if gap.get("method") else ""
            chance = bool(gap.get("ci95")) and gap["ci95"][0] <= 0
            told = words(
                "say.gap_chance" if chance else "say.gap",
                metric=words.metric(name),
                highest=gap["highest"],
                lowest=gap["lowest"],
                value=words.number(gap["value"]),
                interval=f" ({bounds}{by})" if bounds else "",
            )
            if (gap.get("differences") or 1) > 1:
                told += " " + words("say.gap_largest", count=words.count(gap["differences"]))
            yield Text(told, "soft")
    hidden = [
        f"{value} ({words.phrase(group['suppressed'])})"
        for value, group in groups.items()
        if group.get("suppressed")
    ]
    if hidden:
        yield Text(words("say.suppressed", names=words.listed(hidden, 12)), "soft")
